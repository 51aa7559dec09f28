package vault

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/store"
)

// kind is one of the three kinds of objects that a vault holds, with the words of its messages.
type kind struct {
	plural   string // segment of addresses and of access policies
	singular string
	title    string // in operations of the audit log and codes of errors
}

var (
	ofKeys         = kind{"keys", "key", "Key"}
	ofSecrets      = kind{"secrets", "secret", "Secret"}
	ofCertificates = kind{"certificates", "certificate", "Certificate"}
)

func (k kind) notFound(name, version string) error {
	if version != "" {
		name += "/" + version
	}
	return fault.New(fault.NotFound, k.title+"NotFound",
		"A %s with (name/id) %s was not found in this key vault. If you recently deleted this %s you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182", k.singular, name, k.singular)
}

func (k kind) deletedNotFound(name string) error {
	return fault.New(fault.NotFound, k.title+"NotFound", "Deleted %s not found: %s", k.title, name)
}

func (k kind) nameTaken(name string) error {
	return fault.New(fault.Conflict, "ObjectIsDeletedButRecoverable",
		"%s %s is currently in a deleted but recoverable state, and its name cannot be reused; in this state, the %s can only be recovered or purged.", k.title, name, k.singular)
}

// disabled refuses the use of a version whose owner switched it off.
func (k kind) disabled(op string) error {
	return fault.New(fault.Denied, k.title+"Disabled", "Operation %s is not allowed on a disabled %s.", op, k.singular)
}

// managed refuses what only the certificate that an object belongs to may do with it.
func (k kind) managed(name string) error {
	return fault.New(fault.Denied, "ObjectIsManaged", "The %s %s belongs to a certificate: change or delete the certificate.", k.singular, name)
}

// state is what versions of every kind have in common. Times are Unix seconds, 0 for none.
type state struct {
	ID        string // 32 hex digits
	Enabled   bool
	NotBefore int64
	Expires   int64
	Created   int64
	Updated   int64
	Tags      map[string]string
}

// newState is the state of a version that is made now.
func newState(now time.Time) state {
	return state{ID: newVersionID(), Enabled: true, Created: now.Unix(), Updated: now.Unix()}
}

// attributes are the bounds as callers see them.
func (s state) attributes() Attributes {
	return Attributes{Enabled: s.Enabled, NotBefore: instant(s.NotBefore), Expires: instant(s.Expires)}
}

func (s state) common() state { return s }

// object is a name with its versions, in the order in which they were made.
type object[V interface{ common() state }] struct {
	Name     string
	Versions []V
	Deletion *Deletion
	Managed  bool `json:",omitempty"` // it belongs to the certificate of the same name
}

func (o object[V]) name() string       { return o.Name }
func (o object[V]) deleted() *Deletion { return o.Deletion }
func (o object[V]) managed() bool      { return o.Managed }

// version returns the version of an id, or the current one for "".
func (o object[V]) version(id string) (v V, ok bool) {
	if len(o.Versions) == 0 {
		return v, false
	}
	if id == "" {
		return o.Versions[len(o.Versions)-1], true
	}
	i := slices.IndexFunc(o.Versions, func(v V) bool { return strings.EqualFold(v.common().ID, id) })
	if i < 0 {
		return v, false
	}
	return o.Versions[i], true
}

// with returns a copy of o with v added, or in the place of the version of the same id.
func (o object[V]) with(v V) object[V] {
	o.Versions = slices.Clone(o.Versions)
	if i := slices.IndexFunc(o.Versions, func(x V) bool { return x.common().ID == v.common().ID }); i >= 0 {
		o.Versions[i] = v
		return o
	}
	o.Versions = append(o.Versions, v)
	return o
}

// Properties are what callers see of every object: the name, one version, and its state.
type Properties struct {
	Name            string
	Version         string
	Attributes      Attributes
	Created         time.Time
	Updated         time.Time
	Tags            map[string]string
	RecoveryLevel   string
	RecoverableDays int
	Managed         bool      // it belongs to the certificate of the same name
	Deletion        *Deletion // nil while the object lives
}

func (o object[V]) properties(vault Vault, v V) Properties {
	s := v.common()
	return Properties{
		Name: o.Name, Version: s.ID, Attributes: s.attributes(), Tags: maps.Clone(s.Tags),
		Created: time.Unix(s.Created, 0).UTC(), Updated: time.Unix(s.Updated, 0).UTC(),
		RecoveryLevel: vault.RecoveryLevel(), RecoverableDays: vault.RetentionDays, Managed: o.Managed, Deletion: o.Deletion,
	}
}

// Attributes are what an owner sets on a version. Times are nil when there is no bound.
type Attributes struct {
	Enabled   bool
	NotBefore *time.Time
	Expires   *time.Time
}

func instant(seconds int64) *time.Time {
	if seconds == 0 {
		return nil
	}
	t := time.Unix(seconds, 0).UTC()
	return &t
}

// record is what a shelf needs to know of what it holds.
type record[R any] interface {
	name() string
	deleted() *Deletion
	managed() bool
	// marked returns a copy that is deleted, or lives when d is nil.
	marked(d *Deletion) R
	states() []state // of the versions, the current one last
	notifyBefore() Duration
}

// shelf holds the objects of one kind of all vaults: durable in a table, and in memory by the lower-case
// names of vault and object. What is in memory is immutable: a change publishes a new record.
type shelf[R record[R]] struct {
	kind  kind
	table *store.Table[R]
	now   func() time.Time

	mu      sync.RWMutex
	byVault map[string]map[string]R
}

// openShelf loads a table; parse completes what is read.
func openShelf[R record[R]](db *store.Store, k kind, now func() time.Time, parse func(*R) error) (*shelf[R], error) {
	h := &shelf[R]{kind: k, table: store.NewTable[R](db, "vault/"+k.plural), now: now, byVault: map[string]map[string]R{}}
	all, err := h.table.All()
	if err != nil {
		return nil, err
	}
	for id, rec := range all {
		if err := parse(&rec); err != nil {
			return nil, fmt.Errorf("vault: stored %s %q: %w", k.singular, id, err)
		}
		vault, _, _ := strings.Cut(id, "/")
		h.publish(vault, rec)
	}
	return h, nil
}

func (h *shelf[R]) publish(vault string, rec R) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byVault[vault] == nil {
		h.byVault[vault] = map[string]R{}
	}
	h.byVault[vault][strings.ToLower(rec.name())] = rec
}

func (h *shelf[R]) withdraw(vault, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.byVault[vault], name)
}

// find returns an object, live or deleted, unless its retention is over.
func (h *shelf[R]) find(vault, name string) (rec R, ok bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	rec, ok = h.byVault[strings.ToLower(vault)][strings.ToLower(name)]
	return rec, ok && !rec.deleted().over(h.now())
}

// live returns an object that is not deleted.
func (h *shelf[R]) live(vault, name string) (R, error) {
	rec, ok := h.find(vault, name)
	if !ok || rec.deleted() != nil {
		return rec, h.kind.notFound(name, "")
	}
	return rec, nil
}

// recoverable returns an object that is deleted and can be recovered.
func (h *shelf[R]) recoverable(vault, name string) (R, error) {
	rec, ok := h.find(vault, name)
	if !ok || rec.deleted() == nil {
		return rec, h.kind.deletedNotFound(name)
	}
	return rec, nil
}

// free refuses the name of a deleted object.
func (h *shelf[R]) free(vault, name string) error {
	if rec, ok := h.find(vault, name); ok && rec.deleted() != nil {
		return h.kind.nameTaken(rec.name())
	}
	return nil
}

// all returns the live or the deleted objects of a vault by name.
func (h *shelf[R]) all(vault string, deleted bool) []R {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var out []R
	for _, rec := range h.byVault[strings.ToLower(vault)] {
		if (rec.deleted() != nil) == deleted && !rec.deleted().over(h.now()) {
			out = append(out, rec)
		}
	}
	slices.SortFunc(out, func(a, b R) int { return strings.Compare(strings.ToLower(a.name()), strings.ToLower(b.name())) })
	return out
}

// any returns an object, whatever its state.
func (h *shelf[R]) any(vault, name string) R {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.byVault[strings.ToLower(vault)][strings.ToLower(name)]
}

// everything returns all objects of a vault, whatever their state.
func (h *shelf[R]) everything(vault string) []R {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Collect(maps.Values(h.byVault[strings.ToLower(vault)]))
}

// overdue returns the names of a vault's objects whose retention is over.
func (h *shelf[R]) overdue(vault string, now time.Time) (names []string) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, rec := range h.byVault[strings.ToLower(vault)] {
		if rec.deleted().over(now) {
			names = append(names, rec.name())
		}
	}
	return names
}

// putIn and eraseIn add a change of one object to c.
func (h *shelf[R]) putIn(c *changes, vault string, rec R) {
	old, existed := h.find(vault, rec.name())
	compared(c, h.kind, vault, old, existed, rec)
	vault = strings.ToLower(vault)
	c.do(h.table.PutIn(c.batch, vault+"/"+strings.ToLower(rec.name()), rec), func() { h.publish(vault, rec) })
}

func (h *shelf[R]) eraseIn(c *changes, vault, name string) {
	vault, name = strings.ToLower(vault), strings.ToLower(name)
	h.table.DeleteIn(c.batch, vault+"/"+name)
	c.do(nil, func() { h.withdraw(vault, name) })
}

// emptyIn adds the end of all objects of a vault to c.
func (h *shelf[R]) emptyIn(c *changes, vault string) {
	vault = strings.ToLower(vault)
	h.mu.RLock()
	defer h.mu.RUnlock()
	for name := range h.byVault[vault] {
		h.table.DeleteIn(c.batch, vault+"/"+name)
	}
	c.do(nil, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.byVault, vault)
	})
}

// changes are edits of several objects that become durable together and visible after that.
type changes struct {
	vault   string // of a change that concerns one
	batch   *store.Batch
	publish []func()
	events  []happened
	err     error
}

func (c *changes) do(err error, publish func()) {
	if c.err == nil {
		c.err = err
	}
	c.publish = append(c.publish, publish)
}

// commit makes what edit collects durable and then visible. The caller holds changing.
func (s *Service) commit(edit func(c *changes)) error {
	c := &changes{batch: s.cfg.DB.NewBatch()}
	edit(c)
	s.tell(c)
	if c.err != nil {
		c.batch.Discard()
		return c.err
	}
	if err := s.cfg.DB.Commit(c.batch); err != nil {
		return err
	}
	for _, publish := range c.publish {
		publish()
	}
	if len(c.events) > 0 {
		s.cfg.Told()
	}
	return nil
}
