package docdb

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// account is one opening of one account's store with what is remembered about it.
type account struct {
	id string
	db *store.Store

	// Guarded by Service.mu.
	users     int
	forgotten bool
	touched   bool // used since the last sweep

	schema sync.Mutex  // see the package comment
	erases atomic.Bool // there may be items that are hidden and not removed

	mu          sync.Mutex
	containers  map[containerID]*container
	secret      []byte             // authenticates continuation tokens; nil until it is needed
	tokenSecret []byte             // authenticates resource tokens; nil until it is needed
	rates       map[string]float64 // throughput by resource id; nil when it has to be read
	budgets     map[string]*budget

	plans   planCache
	lookups nameCache
}

// acquire borrows the account's store for a request.
func (s *Service) acquire(ctx context.Context, accountID string) (a *account, release func(), err error) {
	db, giveBack, err := s.cfg.Stores.Acquire(ctx, accountID)
	if err != nil {
		return nil, nil, err
	}
	if a = s.use(accountID, db); a == nil {
		if err := checkLayout(db); err != nil {
			giveBack()
			return nil, nil, err
		}
		a = s.remember(accountID, db)
	}
	return a, func() { s.release(a); giveBack() }, nil
}

// use returns the account when this opening of its store is known.
func (s *Service) use(accountID string, db *store.Store) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[accountID]
	if a == nil || a.db != db {
		return nil
	}
	a.users++
	a.touched = true
	return a
}

// remember makes the account for an opening, unless another request has done so in the meantime.
func (s *Service) remember(accountID string, db *store.Store) *account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[accountID]
	if a == nil || a.db != db {
		a = &account{id: accountID, db: db, containers: map[containerID]*container{}}
		a.erases.Store(true)
		s.accounts[accountID] = a
	}
	a.users++
	return a
}

func (s *Service) release(a *account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.users--; a.users == 0 && a.forgotten && s.accounts[a.id] == a {
		delete(s.accounts, a.id)
	}
}

// checkLayout refuses a store of a layout that this code does not know, and marks a new one.
func checkLayout(db *store.Store) error {
	v, err := db.Get([]byte{keyLayout})
	switch {
	case errors.Is(err, store.ErrNotFound):
		return db.Set([]byte{keyLayout}, []byte{layoutVersion})
	case err != nil:
		return err
	case len(v) == 1 && v[0] == oldestLayout:
		return db.Set([]byte{keyLayout}, []byte{layoutVersion}) // indexes are built as containers are used
	case len(v) != 1 || v[0] != layoutVersion:
		return fmt.Errorf("docdb: the account's store has layout %x, this program knows %d", v, layoutVersion)
	}
	return nil
}

// continuationSecret returns the account's secret for continuation tokens.
func (a *account) continuationSecret() ([]byte, error) { return a.secretAt(keySecret, &a.secret) }

// secretAt returns one of the account's secrets, made on first use and remembered at known.
func (a *account) secretAt(kind byte, known *[]byte) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if *known != nil {
		return *known, nil
	}
	secret, err := a.db.Get([]byte{kind})
	if errors.Is(err, store.ErrNotFound) {
		secret = make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
		err = a.db.Set([]byte{kind}, secret)
	}
	if err != nil {
		return nil, err
	}
	*known = secret
	return secret, nil
}

// session is one authorised request in one account.
type session struct {
	*account
	ctx     context.Context
	now     time.Time
	enforce bool             // throughput
	grant   *principal.Grant // of a resource token; nil behind other doors
	release func()
	refuse  func(error) error // records a refusal that comes after the guard's decision
}

// guard is the first line of every method: it decides whether the caller may do action at the place
// and only then lends the account's store. Places are given in names or resource ids; because rights
// stand on names, a resource id is looked up before the decision, which shows nothing of it.
func (s *Service) guard(ctx context.Context, c principal.Caller, accountID, action, database, containerName string) (*session, error) {
	if c.Grant != nil || !looksLikeRID(database, 4) && !looksLikeRID(containerName, 8) {
		if err := s.decide(ctx, c, accountID, action, database, containerName); err != nil {
			return nil, err
		}
	}
	a, release, err := s.acquire(ctx, accountID)
	if err != nil {
		return nil, err
	}
	if c.Grant == nil && (looksLikeRID(database, 4) || looksLikeRID(containerName, 8)) {
		database, containerName = a.names(database, containerName)
		if err := s.decide(ctx, c, accountID, action, database, containerName); err != nil {
			release()
			return nil, byRID(err)
		}
	}
	refuse := func(err error) error { return s.audited(ctx, c, accountID, action, database, containerName, err) }
	if err := a.opens(c.Grant, action, database, containerName); err != nil {
		release()
		return nil, refuse(err)
	}
	return &session{refuse: refuse, account: a, ctx: ctx, now: s.cfg.Now(), enforce: s.cfg.Enforce, grant: c.Grant, release: release}, nil
}

// byRID gives a refusal by data roles the sub-status for requests that name resources by their ids.
func byRID(err error) error {
	f := fault.As(err)
	if f == nil || f.Kind != fault.Denied || f.Reason != reasonRoleByName {
		return err
	}
	c := *f
	c.Reason = reasonRoleByRID
	return &c
}

// names translates resource ids to the names that they stand for, as far as they do.
func (a *account) names(database, containerName string) (string, string) {
	d, err := a.database(database)
	if err != nil {
		return database, containerName
	}
	if containerName != "" {
		if c, err := a.containerRecord(d, containerName); err == nil {
			containerName = c.Spec.ID
		}
	}
	return d.Name, containerName
}

// decide asks the authorizer.
func (s *Service) decide(ctx context.Context, c principal.Caller, accountID, action, database, containerName string) error {
	decision := s.cfg.Authorizer.AuthorizeDocuments(ctx, c, accountID, action, scope(database, containerName))
	return s.audited(ctx, c, accountID, action, database, containerName, decision)
}

// audited writes refusals, and whatever is decided about changes of the schema and about giving tokens
// out, to the audit log. When the log fails, the operation is refused.
func (s *Service) audited(ctx context.Context, c principal.Caller, accountID, action, database, containerName string, decision error) error {
	if decision == nil && !changesSchema(action) && action != actionReadPermission {
		return nil
	}
	at := scope(database, containerName)
	e := audit.By(c, s.cfg.Now(), "Microsoft.DocumentDB/databaseAccounts/"+action, accountID+at).Decided(decision)
	if err := s.cfg.Audit.Record(ctx, e); err != nil {
		return errors.Join(err, decision)
	}
	return decision
}

func scope(database, containerName string) string {
	switch {
	case database == "":
		return "/"
	case containerName == "":
		return "/dbs/" + database
	}
	return "/dbs/" + database + "/colls/" + containerName
}

// changesSchema reports whether action changes a database, a container or throughput.
func changesSchema(action string) bool {
	changes := strings.HasSuffix(action, "/write") || strings.HasSuffix(action, "/delete") || strings.HasSuffix(action, "/action")
	return !strings.Contains(action, "/items/") && changes
}
