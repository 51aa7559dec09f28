package docdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// ContainerSpec is what a caller says about a container.
type ContainerSpec struct {
	Properties json.RawMessage // a JSON object: id, partitionKey and policies
	Throughput int             // of a new container: manual request units per second; 0 for none
	Autoscale  int             // of a new container: the maximum of autoscale; 0 for none
	IfMatch    string          // of a replacement: an etag, or "" for any
}

func (s ContainerSpec) throughput() Throughput {
	return Throughput{Manual: s.Throughput, Autoscale: s.Autoscale}
}

// Container is a container as its readers see it.
type Container struct {
	ID         string
	RID        string
	Self       string
	ETag       string
	TS         int64
	LSN        uint64          // sequence number of its range, for the session token
	Properties json.RawMessage // the whole resource, as clients see it
	// IndexProgress is how far a change of the indexing policy has come, in percent; 100 when there is none.
	IndexProgress int
}

// containerRecord is the stored form.
type containerRecord struct {
	Database uint32     `json:"database"`
	Number   uint32     `json:"number"`
	Spec     definition `json:"spec"`
	ETag     string     `json:"etag"`
	TS       int64      `json:"ts"`
	// Ranges are all partition key ranges that the container ever had; none stands for [whole].
	Ranges []rangeRecord `json:"ranges,omitempty"`
	// Index is nil in records from before there were indexes.
	Index *indexRecord `json:"index,omitempty"`
}

func (r containerRecord) id() containerID { return newContainerID(r.Database, r.Number) }

func (r containerRecord) view(lsn uint64) Container {
	id := r.id()
	c := Container{ID: r.Spec.ID, RID: id.rid(), Self: id.self(), ETag: r.ETag, TS: r.TS, LSN: lsn, IndexProgress: 100}
	o, err := jsonx.Split(mustJSON(r.Spec))
	if err != nil {
		panic("docdb: container record: " + err.Error()) // we have just written it
	}
	for _, m := range []struct{ name, value string }{
		{"_rid", c.RID}, {"_self", c.Self}, {"_etag", c.ETag}, {"_docs", "docs/"}, {"_sprocs", "sprocs/"},
		{"_triggers", "triggers/"}, {"_udfs", "udfs/"}, {"_conflicts", "conflicts/"},
	} {
		o = append(o, jsonx.NewMember(m.name, jsonx.Quote(m.value)))
	}
	c.Properties = append(o, jsonx.NewMember("_ts", strconv.AppendInt(nil, c.TS, 10))).Join()
	return c
}

// container is a container in memory: its definition, its partitions and the locks of its items. It is
// made by load and ends with the account that it belongs to.
type container struct {
	id    containerID
	life  sync.RWMutex // see the package comment
	gone  bool         // guarded by life
	rec   containerRecord
	parts []*partition // in the order of their bounds
	lock  keyLocks
	// committing is held for reading by commits of items, for writing by what must be between them.
	committing sync.RWMutex
	erasures   erasures
	// indexes are guarded by life. building tells without it that one of them is not complete.
	indexes  generations
	building atomic.Bool
}

// unique returns the unique keys of the container. The caller holds life.
func (c *container) unique() []UniqueKey { return c.rec.Spec.UniqueKeyPolicy.keys() }

// containerKey finds a container of a database by name or resource id.
func (a *account) containerKey(d databaseRecord, name string) (containerID, error) {
	return recall(&a.lookups, "c"+string(be32(d.Number))+name, func() (containerID, error) { return a.readContainerKey(d, name) })
}

func (a *account) readContainerKey(d databaseRecord, name string) (containerID, error) {
	v, err := a.db.Get(key(keyContainerName, be32(d.Number), []byte(name)))
	if errors.Is(err, store.ErrNotFound) && looksLikeRID(name, 8) {
		v, _ = decodeRID(name)
		if containerID(v).database() != d.Number {
			return containerID{}, errMissing
		}
		err = nil
	}
	if err != nil {
		return containerID{}, translate(err)
	}
	if len(v) != len(containerID{}) {
		return containerID{}, fmt.Errorf("docdb: container name record has %d bytes", len(v))
	}
	return containerID(v), nil
}

func (a *account) containerRecord(d databaseRecord, name string) (containerRecord, error) {
	id, err := a.containerKey(d, name)
	if err != nil {
		return containerRecord{}, err
	}
	return record[containerRecord](a.db, key(keyContainer, id[:]))
}

// load returns the container with that id, from memory or from the store.
func (a *account) load(id containerID) (*container, error) {
	secret, err := a.pathSecret()
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.containers[id]; c != nil {
		return c, nil
	}
	rec, err := record[containerRecord](a.db, key(keyContainer, id[:]))
	if err != nil {
		return nil, err
	}
	parts, err := openPartitions(a.db, rec)
	if err != nil {
		return nil, err
	}
	c := &container{id: id, parts: parts}
	if c.indexes, err = a.openIndexes(&rec, secret); err != nil {
		return nil, err
	}
	c.rec = rec
	if err := a.openErasures(c); err != nil {
		return nil, err
	}
	c.building.Store(c.indexes.building != nil)
	a.containers[id] = c
	return c, nil
}

// open returns the container at a path, held for reading: the caller must call its life.RUnlock.
func (a *account) open(database, name string) (*container, error) {
	d, err := owner(a.database(database))
	if err != nil {
		return nil, err
	}
	id, err := a.containerKey(d, name)
	if err != nil {
		return nil, err
	}
	c, err := a.load(id)
	if err != nil {
		return nil, err
	}
	c.life.RLock()
	if c.gone {
		c.life.RUnlock()
		return nil, errMissing
	}
	return c, nil
}

// retire holds containers for writing while commit removes them.
func (a *account) retire(ids []containerID, commit func() error) error {
	var held []*container
	defer func() {
		for _, c := range held {
			c.life.Unlock()
		}
	}()
	for _, id := range ids {
		c, err := a.load(id)
		if err != nil {
			return err
		}
		c.life.Lock()
		held = append(held, c)
	}
	if err := commit(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range held {
		c.gone = true
		delete(a.containers, c.id)
		a.forgetBudgets(c.id.rid())
	}
	return nil
}

// CreateContainer makes a container. Without a throughput of its own or of its database it gets the
// smallest manual one, as in the service.
func (s *Service) CreateContainer(ctx context.Context, c principal.Caller, accountID, database string, spec ContainerSpec) (Container, error) {
	r, err := s.guard(ctx, c, accountID, "sqlDatabases/containers/write", database, specName(spec.Properties))
	if err != nil {
		return Container{}, err
	}
	defer r.release()
	def, err := parseDefinition(spec.Properties)
	if err != nil {
		return Container{}, err
	}
	if err := def.normalize(); err != nil {
		return Container{}, err
	}
	if err := spec.throughput().check(); err != nil {
		return Container{}, err
	}
	return r.createContainer(database, def, spec.throughput())
}

func (r *session) createContainer(database string, def definition, t Throughput) (Container, error) {
	r.schema.Lock()
	defer r.schema.Unlock()
	d, err := owner(r.database(database))
	if err != nil {
		return Container{}, err
	}
	if _, err := r.db.Get(key(keyContainerName, be32(d.Number), []byte(def.ID))); !errors.Is(err, store.ErrNotFound) {
		return Container{}, errors.Join(err, conflictIf(err == nil))
	}
	if !t.set() {
		if _, err := r.offerOf(databaseRID(d.Number)); errors.Is(err, errMissing) {
			t.Manual = minManual
		}
	}
	rec := containerRecord{Database: d.Number, Spec: def, ETag: newETag(), TS: r.now.Unix(), Ranges: divided(t, *def.PartitionKey),
		Index: &indexRecord{Last: 1, Serving: 1}}
	if err := r.commit(func(b *store.Batch) error { return r.putNewContainer(b, &rec, t) }); err != nil {
		return Container{}, err
	}
	return rec.view(0), nil
}

func (r *session) putNewContainer(b *store.Batch, rec *containerRecord, t Throughput) (err error) {
	if rec.Number, err = r.next(b, 'c'); err != nil {
		return err
	}
	id := rec.id()
	if t.set() {
		if err := r.putNewOffer(b, id.rid(), id.self(), t, r.now); err != nil {
			return err
		}
	}
	b.Set(key(keyContainerName, be32(rec.Database), []byte(rec.Spec.ID)), id[:])
	return putRecord(b, key(keyContainer, id[:]), rec)
}

// Container returns one container.
func (s *Service) Container(ctx context.Context, c principal.Caller, accountID, database, name string) (Container, error) {
	r, err := s.guard(ctx, c, accountID, "readMetadata", database, name)
	if err != nil {
		return Container{}, err
	}
	defer r.release()
	state, err := r.open(database, name)
	if err != nil {
		return Container{}, err
	}
	defer state.life.RUnlock()
	out := state.rec.view(state.parts[0].log.Visible())
	out.IndexProgress, err = r.progress(state)
	return out, err
}

// Containers returns the containers of a database in the order of their creation.
func (s *Service) Containers(ctx context.Context, c principal.Caller, accountID, database string) ([]Container, error) {
	r, err := s.guard(ctx, c, accountID, "readMetadata", database, "")
	if err != nil {
		return nil, err
	}
	defer r.release()
	d, err := owner(r.database(database))
	if err != nil {
		return nil, err
	}
	recs, err := records[containerRecord](r.db, below(keyContainer, be32(d.Number)))
	out := make([]Container, len(recs))
	for i, rec := range recs {
		out[i] = rec.view(0)
	}
	return out, err
}

// ReplaceContainer changes what can be changed of a container: not its id, partition key or unique
// keys. What spec leaves out gets its default again.
func (s *Service) ReplaceContainer(ctx context.Context, c principal.Caller, accountID, database, name string, spec ContainerSpec) (Container, error) {
	r, err := s.guard(ctx, c, accountID, "sqlDatabases/containers/write", database, name)
	if err != nil {
		return Container{}, err
	}
	defer r.release()
	def, err := parseDefinition(spec.Properties)
	if err != nil {
		return Container{}, err
	}
	r.schema.Lock()
	defer r.schema.Unlock()
	state, err := r.open(database, name)
	if err != nil {
		return Container{}, err
	}
	state.life.RUnlock() // the schema lock keeps it from going away
	state.life.Lock()
	defer state.life.Unlock()
	rec := state.rec
	if err := rec.replace(def, spec.IfMatch); err != nil {
		return Container{}, err
	}
	rec.ETag, rec.TS = newETag(), r.now.Unix()
	indexes, replaced, err := r.transform(state, &rec)
	if err != nil {
		return Container{}, err
	}
	err = r.commit(func(b *store.Batch) error {
		replaced(b)
		return putRecord(b, key(keyContainer, state.id[:]), rec)
	})
	if err != nil {
		return Container{}, err
	}
	state.rec, state.indexes = rec, indexes
	state.building.Store(indexes.building != nil)
	return rec.view(state.parts[0].log.Visible()), nil
}

func (r *containerRecord) replace(def definition, ifMatch string) error {
	if def.PartitionKey == nil {
		def.PartitionKey = r.Spec.PartitionKey
	}
	if def.UniqueKeyPolicy == nil {
		def.UniqueKeyPolicy = r.Spec.UniqueKeyPolicy
	}
	if p := string(def.ConflictResolutionPolicy); p == "" || p == "null" {
		def.ConflictResolutionPolicy = r.Spec.ConflictResolutionPolicy
	}
	if err := def.normalize(); err != nil {
		return err
	}
	_ = r.Spec.normalizeConflicts() // of a container from before policies were checked
	if what := r.Spec.immutableChanged(&def); what != "" {
		return fault.New(fault.Invalid, "ContainerImmutable", "The property '%s' of a container cannot be changed.", what)
	}
	if !matches(ifMatch, r.ETag) {
		return precondition()
	}
	r.Spec = def
	return nil
}

// DeleteContainer removes a container with all its items. A container that is made under the same
// name later has another resource id.
func (s *Service) DeleteContainer(ctx context.Context, c principal.Caller, accountID, database, name string) error {
	r, err := s.guard(ctx, c, accountID, "sqlDatabases/containers/delete", database, name)
	if err != nil {
		return err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	d, err := owner(r.database(database))
	if err != nil {
		return err
	}
	rec, err := r.containerRecord(d, name)
	if err != nil {
		return err
	}
	return r.retire([]containerID{rec.id()}, func() error {
		return r.commit(func(b *store.Batch) error {
			deleteContainerIn(b, rec)
			return r.deleteOffersOf(b, rec.id().rid())
		})
	})
}

// deleteContainerIn removes every key of a container.
func deleteContainerIn(b *store.Batch, rec containerRecord) {
	id := rec.id()
	b.Delete(key(keyContainerName, be32(rec.Database), []byte(rec.Spec.ID)))
	b.Delete(key(keyContainer, id[:]))
	deleteResourcesIn(b, id[:], StoredProcedures, Triggers, Functions)
	for _, kind := range []byte{keyItem, keyOrder, keyPartition, keyUnique, keyChange, keyLog, keyVersion, keyTrimmed, keyErase,
		keyTerm, keyShape, keyShaped, keyComposite, keyBuilt, keyCell} {
		r := below(kind, id[:])
		b.DeleteRange(r.Lower, r.Upper)
	}
}

// receipt describes an operation on c that saw p at lsn. The caller holds life.
func (r *session) receipt(c *container, p *partition, lsn uint64, charge float64) (Receipt, error) {
	d, err := recall(&r.lookups, "n"+string(be32(c.id.database())), func() (databaseRecord, error) {
		return record[databaseRecord](r.db, key(keyDatabase, be32(c.id.database())))
	})
	return Receipt{
		ContainerRID: c.id.rid(), AltPath: strings.TrimPrefix(scope(d.Name, c.rec.Spec.ID), "/"),
		LSN: lsn, Charge: charge, RangeID: p.id(),
	}, err
}

// check compares what a request asks of the container and of its state with what is there.
func (q Consistency) check(c *container) error {
	if q.ContainerRID != "" && q.ContainerRID != c.id.rid() {
		return fault.New(fault.Invalid, reasonContainerMismatch, "The container that the name leads to is not the one that the request means.")
	}
	wanted, err := requestedLSNs(q.SessionToken)
	if err != nil {
		return err
	}
	for id, want := range wanted {
		if seen, ok := c.visible(id); ok && want > seen {
			return fault.New(fault.NotFound, reasonSessionAhead, "The read session is not available for the input session token.")
		}
	}
	return nil
}

// requestedLSNs returns the sequence numbers that a session token asks for, by range id. Forms:
// {range}:{lsn} and {range}:{version}#{lsn}[#{region}={lsn}…], several joined by commas.
func requestedLSNs(token string) (map[string]uint64, error) {
	wanted := map[string]uint64{}
	for part := range strings.SplitSeq(token, ",") {
		id, rest, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			continue
		}
		fields := strings.Split(rest, "#")
		number := fields[0]
		if len(fields) > 1 {
			number = fields[1]
		}
		n, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			return nil, badRequest("The session token '%s' is invalid.", token)
		}
		wanted[id] = max(wanted[id], n)
	}
	return wanted, nil
}
