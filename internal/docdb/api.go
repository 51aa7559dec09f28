package docdb

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// Stores lends the store of an account. While the customer's key is denied, Acquire fails with a
// [*fault.Error] of kind KeyDenied whose reason is the protocol's sub-status. release must be called
// when the request is done; the store must not be used after it.
type Stores interface {
	Acquire(ctx context.Context, accountID string) (db *store.Store, release func(), err error)
}

// Authorizer decides about actions inside an account. action is a suffix below
// Microsoft.DocumentDB/databaseAccounts/, scope is "/", "/dbs/d" or "/dbs/d/colls/c" in names.
type Authorizer interface {
	AuthorizeDocuments(ctx context.Context, c principal.Caller, accountID, action, scope string) error
}

// Auditor keeps the record of decisions about changes of databases, containers and throughput.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// AccountView is what the data plane shows of an account.
type AccountView struct {
	ID                 string
	Name               string
	Location           string // display name, such as "East US"
	DefaultConsistency string // Strong, BoundedStaleness, Session, ConsistentPrefix, Eventual
	LocalAuthDisabled  bool
	TenantID           string
}

// Config says what a [Service] works with. Stores, Authorizer and Audit are required.
type Config struct {
	Stores     Stores
	Authorizer Authorizer
	Audit      Auditor
	Enforce    bool             // throughput: refuse what it does not allow
	Now        func() time.Time // nil: time.Now
	Log        *slog.Logger     // nil: nothing is logged
	RangeBytes int64            // what a range holds before it is split; 0: 50 GiB
}

// Service answers for the documents of all accounts. It is safe for concurrent use.
type Service struct {
	cfg Config

	mu       sync.Mutex
	accounts map[string]*account // by account id; of the opening that is in use
}

// New returns a service without any state: it is all in the stores.
func New(cfg Config) *Service {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.RangeBytes <= 0 {
		cfg.RangeBytes = defaultRangeBytes
	}
	return &Service{cfg: cfg, accounts: map[string]*account{}}
}

// Forget drops everything that is remembered about an account. It is called when the account is
// locked. Requests that are under way keep what they hold until they end.
func (s *Service) Forget(accountID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.accounts[accountID]; a != nil {
		if a.forgotten = true; a.users == 0 {
			delete(s.accounts, accountID)
		}
	}
}

// ContainerPath names a container. Database and Container are names or resource ids.
type ContainerPath struct {
	Account   string // storage id of the account
	Database  string
	Container string
}

// Receipt is what every operation on a container tells about where it took place.
type Receipt struct {
	ContainerRID string
	AltPath      string  // dbs/d/colls/c by names
	LSN          uint64  // the range's sequence number that the answer reflects
	Charge       float64 // request units
	RangeID      string
}

// Consistency is what a request asks of the state that it sees.
type Consistency struct {
	// SessionToken is the header as it was sent; "" for none.
	SessionToken string
	// ContainerRID, when it is not "", must be the container that the path leads to.
	ContainerRID string
}
