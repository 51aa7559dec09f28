package account

import (
	"context"
	"encoding/json"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Operator does with an account's keys and files what its operators ask for. Reports encode as JSON.
type Operator interface {
	// Show tells how the account stands.
	Show(accountID string) any
	// Verify authenticates everything that is on the disk.
	Verify(ctx context.Context, accountID string) (report any, err error)
	// Digest returns a hash over the content.
	Digest(ctx context.Context, accountID string) (string, error)
	// Lock keeps the account closed until Unlock.
	Lock(ctx context.Context, accountID string) error
	Unlock(ctx context.Context, accountID string) error
	// Retry lets a quarantined account be opened again; Accept does so with files that were replaced.
	Retry(ctx context.Context, accountID string) error
	Accept(ctx context.Context, accountID string) error
	// Rotate renews the account key, the data keys, or both.
	Rotate(ctx context.Context, accountID string, accountKey, dataKeys bool) error
	// Backup writes the account to a directory, with what about says of it.
	Backup(ctx context.Context, accountID, dir string, about []byte) (report any, err error)
	// Restore makes an account out of a backup, Clone out of another account. keyURI "" is the key that
	// the backup or the other account is under. about is what Backup was given.
	Restore(ctx context.Context, accountID, dir, keyURI, identity string) (report any, about []byte, err error)
	Clone(ctx context.Context, fromID, accountID, keyURI, identity string) error
	// Shred destroys the account so that nobody can read it again.
	Shred(ctx context.Context, accountID string) (proof any, err error)
}

// Operation is what an operator asks for. Verb is one of show, verify, digest, lock, unlock, retry,
// accept, rotate, backup, shred, drilled, why; restore and clone make the account.
type Operation struct {
	Verb       string `json:"-"`
	Directory  string `json:"directory"`  // backup, restore: on the server's machine, absolute
	From       string `json:"from"`       // clone: the resource id of the other account
	Location   string `json:"location"`   // restore, clone
	KeyURI     string `json:"keyUri"`     // restore, clone
	AccountKey bool   `json:"accountKey"` // rotate
	DataKeys   bool   `json:"dataKeys"`   // rotate
	Note       string `json:"note"`       // drilled: the report, for the audit log
	// why: the question; without a principal it is about the account's own way to its key.
	access.Question
}

// done is the report of an operation that has no other.
type done struct {
	Status string `json:"status"`
}

// verb carries out one operation on an account that is there.
type verb func(s *Service, ctx context.Context, c principal.Caller, rec *record, o Operation) (any, error)

var verbs = map[string]verb{
	"show": (*Service).show, "verify": (*Service).verify, "digest": (*Service).digest,
	"lock": simple(Operator.Lock), "unlock": simple(Operator.Unlock), "retry": simple(Operator.Retry), "accept": simple(Operator.Accept),
	"rotate": (*Service).rotate, "backup": (*Service).backup, "shred": (*Service).shred, "drilled": (*Service).drilled,
	"why": (*Service).why,
}

// simple is the verb of an operation that has no report.
func simple(f func(Operator, context.Context, string) error) verb {
	return func(s *Service, ctx context.Context, _ principal.Caller, rec *record, _ Operation) (any, error) {
		return done{"Succeeded"}, f(s.cfg.Operator, ctx, rec.ID)
	}
}

// Operate carries out an operation on the account id, whose right is named like the verb.
func (s *Service) Operate(ctx context.Context, c principal.Caller, id uri.ResourceID, o Operation) (any, error) {
	if err := s.guard(ctx, c, "latchkey/"+o.Verb+"/action", id); err != nil {
		return nil, err
	}
	if o.Verb == "restore" || o.Verb == "clone" {
		return s.makeFrom(ctx, c, id, o)
	}
	f := verbs[o.Verb]
	if f == nil {
		return nil, fault.New(fault.NotFound, "UnknownVerb", "There is no operation '%s'.", o.Verb)
	}
	rec, err := s.find(id)
	if err != nil {
		return nil, err
	}
	return f(s, ctx, c, rec, o)
}

func (s *Service) show(_ context.Context, _ principal.Caller, rec *record, _ Operation) (any, error) {
	return s.cfg.Operator.Show(rec.ID), nil
}

func (s *Service) verify(ctx context.Context, _ principal.Caller, rec *record, _ Operation) (any, error) {
	return s.cfg.Operator.Verify(ctx, rec.ID)
}

func (s *Service) digest(ctx context.Context, _ principal.Caller, rec *record, _ Operation) (any, error) {
	sum, err := s.cfg.Operator.Digest(ctx, rec.ID)
	return map[string]string{"content": sum}, err
}

func (s *Service) rotate(ctx context.Context, _ principal.Caller, rec *record, o Operation) (any, error) {
	if !o.AccountKey && !o.DataKeys {
		return nil, badRequest("Say which keys are to be renewed.")
	}
	if err := s.cfg.Operator.Rotate(ctx, rec.ID, o.AccountKey, o.DataKeys); err != nil {
		return nil, err
	}
	return s.cfg.Operator.Show(rec.ID), nil
}

// about is what a backup says of its account.
type about struct {
	Name       string            `json:"name"`
	ResourceID string            `json:"resourceId"`
	Location   string            `json:"location"`
	Kind       string            `json:"kind"`
	Tags       map[string]string `json:"tags,omitempty"`
	Settings   Settings          `json:"settings,omitempty"`
}

func (r *record) about() about {
	c := r.clone()
	return about{c.Name, c.ResourceID().String(), c.Location, c.Kind, c.Tags, c.Settings}
}

func (s *Service) backup(ctx context.Context, _ principal.Caller, rec *record, o Operation) (any, error) {
	raw, err := json.Marshal(rec.about())
	if err != nil {
		return nil, err
	}
	return s.cfg.Operator.Backup(ctx, rec.ID, o.Directory, raw)
}

// drilled records the report of a rehearsal. Whoever may do so could write it otherwise: it is kept
// under his name.
func (s *Service) drilled(ctx context.Context, c principal.Caller, rec *record, o Operation) (any, error) {
	e := audit.By(c, s.cfg.Now(), "RevocationDrilled", rec.ResourceID().String()).Done(nil)
	e.Detail = o.Note
	return done{"Succeeded"}, s.cfg.Audit.Record(ctx, e)
}

// why answers why a principal may change the account or not, or whether the account can use its key.
func (s *Service) why(ctx context.Context, c principal.Caller, rec *record, o Operation) (any, error) {
	if s.cfg.Why == nil {
		return nil, fault.New(fault.NotImplemented, "NotOffered", "This server does not answer questions.")
	}
	return s.cfg.Why(ctx, c, rec.clone().Account, o.Question)
}

// shred destroys the account's keys and then the account.
func (s *Service) shred(ctx context.Context, _ principal.Caller, rec *record, _ Operation) (any, error) {
	rec, unlock, err := s.lockByID(rec.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rec.State = Deleting
	if err := s.save(rec); err != nil {
		return nil, err
	}
	proof, err := s.cfg.Operator.Shred(ctx, rec.ID)
	if err != nil {
		return nil, err
	}
	return proof, s.erase(context.WithoutCancel(ctx), rec)
}

// makeFrom makes a new account with the content of a backup or of another account. It asks for the
// same right as a creation; a clone also for the right to back the other account up.
func (s *Service) makeFrom(ctx context.Context, c principal.Caller, id uri.ResourceID, o Operation) (any, error) {
	if err := s.guard(ctx, c, "write", id); err != nil {
		return nil, err
	}
	var from *record
	if o.Verb == "clone" {
		other, err := uri.ParseResourceID(o.From)
		if err != nil || len(other.Segments) != 1 {
			return nil, badRequest("'from' must be the resource id of an account.")
		}
		if err := s.guard(ctx, c, "latchkey/backup/action", other); err != nil {
			return nil, err
		}
		if from, err = s.find(other); err != nil {
			return nil, err
		}
	}
	if err := s.cfg.RequireGroup(id.ResourceGroup); err != nil {
		return nil, err
	}
	return s.reserveAndFill(ctx, id, o, from)
}

func (s *Service) reserveAndFill(ctx context.Context, id uri.ResourceID, o Operation, from *record) (any, error) {
	if _, err := s.find(id); err == nil {
		return nil, fault.New(fault.Conflict, "DatabaseAccountAlreadyExists", "The account name '%s' is already in use.", id.Segments[0].Name)
	}
	a, _, err := s.beginCreate(id, Change{Location: o.Location})
	if err != nil {
		return nil, err
	}
	rec, unlock, err := s.lockByID(a.ID)
	if err != nil {
		return nil, err
	}
	defer unlock()
	report, err := s.bringIn(ctx, rec, o, from)
	if err != nil {
		if e := s.erase(context.WithoutCancel(ctx), rec); e != nil {
			s.cfg.Log.Error("account creation could not be undone", "account", rec.ID, "error", e)
		}
		return nil, err
	}
	return report, nil
}

func (s *Service) bringIn(ctx context.Context, rec *record, o Operation, from *record) (report any, err error) {
	who, err := s.vaultIdentity(rec)
	if err != nil {
		return nil, err
	}
	was := about{}
	report = done{"Succeeded"}
	if from != nil {
		was = from.about()
		err = s.cfg.Operator.Clone(ctx, from.ID, rec.ID, o.KeyURI, who)
	} else {
		var raw []byte
		if report, raw, err = s.cfg.Operator.Restore(ctx, rec.ID, o.Directory, o.KeyURI, who); err == nil {
			err = json.Unmarshal(raw, &was)
		}
	}
	if err != nil {
		return nil, err
	}
	rec.Kind, rec.Tags, rec.Settings = was.Kind, was.Tags, Settings{}.with(was.Settings)
	if rec.Location == "" {
		rec.Location = was.Location
	}
	rec.KeyURI, rec.State = s.cfg.Encryption.Status(rec.ID).KeyURI, Succeeded
	return report, s.save(rec)
}
