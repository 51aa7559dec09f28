package docdb

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// DatabaseSpec is what a caller says about a new database.
type DatabaseSpec struct {
	ID         string
	Throughput int // manual request units per second, shared by its containers; 0 for none
	Autoscale  int // the maximum of autoscale; 0 for none
}

func (s DatabaseSpec) throughput() Throughput {
	return Throughput{Manual: s.Throughput, Autoscale: s.Autoscale}
}

// Database is a database as its readers see it.
type Database struct {
	ID   string
	RID  string
	Self string // link by resource id
	ETag string // with quotes
	TS   int64  // Unix seconds
}

// JSON returns the database as clients see it.
func (d Database) JSON() []byte {
	return mustJSON(struct {
		ID    string `json:"id"`
		RID   string `json:"_rid"`
		Self  string `json:"_self"`
		ETag  string `json:"_etag"`
		Colls string `json:"_colls"`
		Users string `json:"_users"`
		TS    int64  `json:"_ts"`
	}{d.ID, d.RID, d.Self, d.ETag, "colls/", "users/", d.TS})
}

// databaseRecord is the stored form.
type databaseRecord struct {
	Number uint32 `json:"number"`
	Name   string `json:"name"`
	ETag   string `json:"etag"`
	TS     int64  `json:"ts"`
}

func (r databaseRecord) view() Database {
	rid := databaseRID(r.Number)
	return Database{ID: r.Name, RID: rid, Self: "dbs/" + rid + "/", ETag: r.ETag, TS: r.TS}
}

// newETag returns a fresh etag with its quotes.
func newETag() string { return `"` + uuid.NewString() + `"` }

// database finds a database by name or, failing that, by resource id. A missing one is reported as
// the thing that was asked for; callers that looked for something inside use owner.
func (a *account) database(name string) (databaseRecord, error) {
	return recall(&a.lookups, "d"+name, func() (databaseRecord, error) { return a.readDatabase(name) })
}

func (a *account) readDatabase(name string) (databaseRecord, error) {
	number, err := a.db.Get(key(keyDatabaseName, []byte(name)))
	if errors.Is(err, store.ErrNotFound) && looksLikeRID(name, 4) {
		number, _ = decodeRID(name)
		err = nil
	}
	if err != nil {
		return databaseRecord{}, translate(err)
	}
	return record[databaseRecord](a.db, key(keyDatabase, number))
}

// owner turns "not found" into "the owner is not found": 404 with sub-status 1003.
func owner[T any](v T, err error) (T, error) {
	if errors.Is(err, errMissing) {
		err = ownerNotFound()
	}
	return v, err
}

// errMissing is the not-found error of lookups, so that owner can tell it from others.
var errMissing = notFound()

func translate(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return errMissing
	}
	return err
}

// record reads a JSON record.
func record[T any](db *store.Store, k []byte) (rec T, err error) {
	raw, err := db.Get(k)
	if err != nil {
		return rec, translate(err)
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		return rec, fmt.Errorf("docdb: record %x: %w", k, err)
	}
	return rec, nil
}

// records reads all JSON records of a range.
func records[T any](db *store.Store, r store.Range) (out []T, err error) {
	for k, v := range db.Scan(r, &err) {
		var rec T
		if e := json.Unmarshal(v, &rec); e != nil {
			return nil, fmt.Errorf("docdb: record %x: %w", k, e)
		}
		out = append(out, rec)
	}
	return out, err
}

// putRecord adds a JSON record to a batch.
func putRecord(b *store.Batch, k []byte, rec any) error {
	raw, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("docdb: record %x: %w", k, err)
	}
	b.Set(k, raw)
	return nil
}

// next takes the next number of a kind and keeps it in b. The caller holds the schema lock, and
// commits b before it takes another one.
func (a *account) next(b *store.Batch, kind byte) (uint32, error) {
	k := []byte{keyCounter, kind}
	var n uint32
	switch v, err := a.db.Get(k); {
	case errors.Is(err, store.ErrNotFound):
	case err != nil:
		return 0, err
	default:
		n = binary.BigEndian.Uint32(v)
	}
	n++
	b.Set(k, be32(n))
	return n, nil
}

// commit fills a batch and commits it, or discards it when fill fails.
func (a *account) commit(fill func(b *store.Batch) error) error {
	b := a.db.NewBatch()
	if err := fill(b); err != nil {
		b.Discard()
		return err
	}
	defer a.forgetRates()
	defer a.lookups.forget()
	return a.db.Commit(b)
}

// CreateDatabase makes a database. It fails with a conflict when the name is taken.
func (s *Service) CreateDatabase(ctx context.Context, c principal.Caller, accountID string, spec DatabaseSpec) (Database, error) {
	r, err := s.guard(ctx, c, accountID, "sqlDatabases/write", spec.ID, "")
	if err != nil {
		return Database{}, err
	}
	defer r.release()
	if err := checkName(spec.ID); err != nil {
		return Database{}, err
	}
	if err := spec.throughput().check(); err != nil {
		return Database{}, err
	}
	r.schema.Lock()
	defer r.schema.Unlock()
	if _, err := r.db.Get(key(keyDatabaseName, []byte(spec.ID))); !errors.Is(err, store.ErrNotFound) {
		return Database{}, errors.Join(err, conflictIf(err == nil))
	}
	rec := databaseRecord{Name: spec.ID, ETag: newETag(), TS: r.now.Unix()}
	err = r.commit(func(b *store.Batch) error {
		if rec.Number, err = r.next(b, 'd'); err != nil {
			return err
		}
		b.Set(key(keyDatabaseName, []byte(rec.Name)), be32(rec.Number))
		if spec.throughput().set() {
			if err := r.putNewOffer(b, rec.view().RID, rec.view().Self, spec.throughput(), r.now); err != nil {
				return err
			}
		}
		return putRecord(b, key(keyDatabase, be32(rec.Number)), rec)
	})
	return rec.view(), err
}

func conflictIf(exists bool) error {
	if exists {
		return conflict()
	}
	return nil
}

// Database returns one database.
func (s *Service) Database(ctx context.Context, c principal.Caller, accountID, name string) (Database, error) {
	r, err := s.guard(ctx, c, accountID, "readMetadata", name, "")
	if err != nil {
		return Database{}, err
	}
	defer r.release()
	rec, err := r.database(name)
	return rec.view(), err
}

// AdmitAccount decides whether the caller may see what an account is, which clients ask for first: with a
// right on its metadata, or with any token for something in it. The account's key must be usable.
func (s *Service) AdmitAccount(ctx context.Context, c principal.Caller, accountID string) error {
	if c.Grant != nil {
		return s.decide(ctx, c, accountID, "readMetadata", "", "") // its proof has used the store already
	}
	r, err := s.guard(ctx, c, accountID, "readMetadata", "", "")
	if err != nil {
		return err
	}
	r.release()
	return nil
}

// Databases returns all databases in the order of their creation.
func (s *Service) Databases(ctx context.Context, c principal.Caller, accountID string) ([]Database, error) {
	r, err := s.guard(ctx, c, accountID, "readMetadata", "", "")
	if err != nil {
		return nil, err
	}
	defer r.release()
	recs, err := records[databaseRecord](r.db, below(keyDatabase))
	out := make([]Database, len(recs))
	for i, rec := range recs {
		out[i] = rec.view()
	}
	return out, err
}

// DeleteDatabase removes a database with all that is in it.
func (s *Service) DeleteDatabase(ctx context.Context, c principal.Caller, accountID, name string) error {
	r, err := s.guard(ctx, c, accountID, "sqlDatabases/delete", name, "")
	if err != nil {
		return err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	rec, err := r.database(name)
	if err != nil {
		return err
	}
	inside, err := records[containerRecord](r.db, below(keyContainer, be32(rec.Number)))
	if err != nil {
		return err
	}
	ids := make([]containerID, len(inside))
	for i, inner := range inside {
		ids[i] = inner.id()
	}
	return r.retire(ids, func() error {
		return r.commit(func(b *store.Batch) error { return r.deleteDatabaseIn(b, rec, inside) })
	})
}

func (a *account) deleteDatabaseIn(b *store.Batch, rec databaseRecord, inside []containerRecord) error {
	for _, inner := range inside {
		deleteContainerIn(b, inner)
		if err := a.deleteOffersOf(b, inner.id().rid()); err != nil {
			return err
		}
	}
	b.Delete(key(keyDatabaseName, []byte(rec.Name)))
	b.Delete(key(keyDatabase, be32(rec.Number)))
	deleteResourcesIn(b, be32(rec.Number), Users, Permissions, ClientEncryptionKeys)
	return a.deleteOffersOf(b, databaseRID(rec.Number))
}

// matches reports whether an If-Match header lets a change of something with that etag go on.
func matches(ifMatch, etag string) bool {
	return ifMatch == "" || ifMatch == "*" || sameETag(ifMatch, etag)
}

// sameETag compares etags without regard to quotes, which some clients leave out.
func sameETag(a, b string) bool { return unquoted(a) == unquoted(b) }

func unquoted(etag string) string {
	if n := len(etag); n >= 2 && etag[0] == '"' && etag[n-1] == '"' {
		return etag[1 : n-1]
	}
	return etag
}
