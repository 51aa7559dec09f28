package docdb

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/store"
)

// ResourcePath says where resources of a kind are: in a database, in a container of it, or in a user of
// it. Places are given in names or resource ids.
type ResourcePath struct {
	Account   string // storage id of the account
	Database  string
	Container string // of scripts
	User      string // of permissions
	Kind      ResourceKind
}

// ResourceRequest is what a change of a resource, or a read of one, says besides its place and body.
type ResourceRequest struct {
	IfMatch string
	Upsert  bool          // of a creation: replace what is there
	Expiry  time.Duration // of a permission: the life of the token in the answer; 0 for the usual one
}

// Resource is a resource as its readers see it.
type Resource struct {
	ID   string
	RID  string
	ETag string // with quotes
	JSON []byte // the whole resource
}

// resourceRecord is the stored form.
type resourceRecord struct {
	Number uint32          `json:"number"`
	Name   string          `json:"name"`
	Body   json.RawMessage `json:"body"` // an object: what the client said besides the id
	ETag   string          `json:"etag"`
	TS     int64           `json:"ts"`
	Opens  *opening        `json:"opens,omitempty"` // of a permission
}

// place is where resources of one kind are, found.
type place struct {
	kind *resourceKind
	id   []byte // of the parent: 4 bytes of a database, 8 of a container or a user
	self string // link of the parent
	user resourceRecord
}

// rid is the resource id of the resource with that number.
func (p place) rid(number uint32) string {
	switch {
	case len(p.id) == 4:
		return encodeRID(append(slices.Clone(p.id), be32(number)...))
	default:
		return containerID(p.id).child(uint64(number), p.kind.nibble)
	}
}

// number is the number in a resource id of this place.
func (p place) number(rid string) (uint32, bool) {
	b, ok := decodeRID(rid)
	if !ok || len(b) < len(p.id)+4 {
		return 0, false
	}
	n := binary.BigEndian.Uint32(b[len(p.id):])
	if len(p.id) == 8 && len(b) == 16 {
		n = uint32(binary.BigEndian.Uint64(b[8:]) >> 8)
	}
	return n, p.rid(n) == rid
}

func (p place) nameKey(name string) []byte {
	return key(keyResourceName, []byte{byte(p.kind.kind)}, p.id, []byte(name))
}
func (p place) recordKey(number uint32) []byte {
	return key(keyResource, []byte{byte(p.kind.kind)}, p.id, be32(number))
}

// view is a record as clients see it; extra members come behind those of the client.
func (p place) view(rec resourceRecord, extra ...jsonx.Member) Resource {
	out := Resource{ID: rec.Name, RID: p.rid(rec.Number), ETag: rec.ETag}
	o, err := jsonx.Split(rec.Body)
	if err != nil {
		panic("docdb: resource record: " + err.Error()) // it was checked when it was written
	}
	o = append(jsonx.Object{jsonx.NewMember("id", jsonx.Quote(rec.Name))}, o...)
	o = append(o, jsonx.NewMember("_rid", jsonx.Quote(out.RID)), jsonx.NewMember("_self", jsonx.Quote(p.self+p.kind.segment+"/"+out.RID+"/")),
		jsonx.NewMember("_etag", jsonx.Quote(rec.ETag)))
	if p.kind.kind == Users {
		o = append(o, jsonx.NewMember("_permissions", jsonx.Quote("permissions/")))
	}
	o = append(append(o, extra...), jsonx.NewMember("_ts", strconv.AppendInt(nil, rec.TS, 10)))
	out.JSON = o.Join()
	return out
}

// guardResources authorises what is done with resources of a kind, and finds their place.
func (s *Service) guardResources(ctx context.Context, c principal.Caller, at ResourcePath, verb string) (*session, place, error) {
	kind := kindOf(at.Kind)
	if kind == nil {
		return nil, place{}, badRequest("The request does not name a kind of resource.")
	}
	if kind.nibble == 0 {
		at.Container = "" // users and keys are in no container
	}
	r, err := s.guard(ctx, c, at.Account, kind.action(verb), at.Database, at.Container)
	if err != nil {
		return nil, place{}, err
	}
	p, err := owner(r.place(at, kind))
	if err != nil {
		r.release()
	}
	return r, p, err
}

// place finds the parent of a path.
func (a *account) place(at ResourcePath, kind *resourceKind) (place, error) {
	d, err := a.database(at.Database)
	if err != nil {
		return place{}, err
	}
	inDatabase := place{kind: kind, id: be32(d.Number), self: d.view().Self}
	switch {
	case kind.nibble != 0:
		id, err := a.containerKey(d, at.Container)
		return place{kind: kind, id: id[:], self: id.self()}, err
	case kind.kind != Permissions:
		return inDatabase, nil
	}
	inDatabase.kind = kindOf(Users)
	user, err := a.resource(inDatabase, at.User)
	rid := inDatabase.rid(user.Number)
	return place{kind: kind, id: append(be32(d.Number), be32(user.Number)...), self: inDatabase.self + "users/" + rid + "/", user: user}, err
}

// resource finds a resource by name or, failing that, by resource id.
func (a *account) resource(p place, name string) (resourceRecord, error) {
	number, err := a.db.Get(p.nameKey(name))
	if errors.Is(err, store.ErrNotFound) {
		n, ok := p.number(name)
		if !ok {
			return resourceRecord{}, errMissing
		}
		number, err = be32(n), nil
	}
	if err != nil {
		return resourceRecord{}, err
	}
	return record[resourceRecord](a.db, p.recordKey(binary.BigEndian.Uint32(number)))
}

// Resources returns all resources of a kind in the order of their creation.
func (s *Service) Resources(ctx context.Context, c principal.Caller, at ResourcePath, q ResourceRequest) (out []Resource, parent string, err error) {
	r, p, err := s.guardResources(ctx, c, at, verbRead)
	if err != nil {
		return nil, "", err
	}
	defer r.release()
	if err := r.coversScript(p.kind, ""); err != nil {
		return nil, "", err
	}
	recs, err := records[resourceRecord](r.db, below(keyResource, []byte{byte(at.Kind)}, p.id))
	if err != nil {
		return nil, "", err
	}
	for _, rec := range recs {
		one, err := r.shown(p, rec, q)
		if err != nil {
			return nil, "", err
		}
		out = append(out, one)
	}
	return out, encodeRID(p.id), nil
}

// Resource returns one resource.
func (s *Service) Resource(ctx context.Context, c principal.Caller, at ResourcePath, name string, q ResourceRequest) (Resource, error) {
	r, p, err := s.guardResources(ctx, c, at, verbRead)
	if err != nil {
		return Resource{}, err
	}
	defer r.release()
	rec, err := r.resource(p, name)
	if err != nil && r.grant == nil {
		return Resource{}, err
	}
	if err := errors.Join(r.coversScript(p.kind, p.rid(rec.Number)), err); err != nil {
		return Resource{}, err // a token tells nothing about its neighbours, nor whether they are there
	}
	return r.shown(p, rec, q)
}

// shown is a record as its reader gets it: a permission with a token.
func (r *session) shown(p place, rec resourceRecord, q ResourceRequest) (Resource, error) {
	if p.kind.kind != Permissions {
		return p.view(rec), nil
	}
	token, err := r.issue(p, rec, q.Expiry)
	return p.view(rec, jsonx.NewMember("_token", jsonx.Quote(token))), err
}

// CreateResource stores a resource from its body. created is false when an upsert replaced one.
func (s *Service) CreateResource(ctx context.Context, c principal.Caller, at ResourcePath, body []byte, q ResourceRequest) (res Resource, created bool, err error) {
	r, p, err := s.guardResources(ctx, c, at, verbWrite)
	if err != nil {
		return Resource{}, false, err
	}
	defer r.release()
	next, err := p.kind.parse(body)
	if err != nil {
		return Resource{}, false, err
	}
	r.schema.Lock()
	defer r.schema.Unlock()
	if p, err = owner(r.place(at, p.kind)); err != nil { // it may have gone meanwhile
		return Resource{}, false, err
	}
	switch old, err := r.resource(p, next.Name); {
	case err == nil && !q.Upsert:
		return Resource{}, false, conflict()
	case err == nil:
		res, err = r.putResource(p, old, next, q)
		return res, false, err
	case !errors.Is(err, errMissing):
		return Resource{}, false, err
	}
	res, err = r.newResource(p, next, q)
	return res, true, err
}

// newResource stores a resource under the next number. Users and keys share theirs, so that a resource id
// below a database means one thing. The caller holds the schema lock.
func (r *session) newResource(p place, rec resourceRecord, q ResourceRequest) (Resource, error) {
	rec.ETag, rec.TS = newETag(), r.now.Unix()
	if err := r.open1(p, &rec); err != nil {
		return Resource{}, err
	}
	err := r.commit(func(b *store.Batch) (err error) {
		if rec.Number, err = r.next(b, p.kind.counter); err != nil {
			return err
		}
		b.Set(p.nameKey(rec.Name), be32(rec.Number))
		return putRecord(b, p.recordKey(rec.Number), rec)
	})
	if err != nil {
		return Resource{}, err
	}
	return r.shown(p, rec, q)
}

// open1 fixes what a permission opens.
func (r *session) open1(p place, rec *resourceRecord) (err error) {
	if p.kind.kind == Permissions {
		rec.Opens, err = r.opening(p, rec.Body)
	}
	return err
}

// ReplaceResource stores another version of a resource; its name may change too.
func (s *Service) ReplaceResource(ctx context.Context, c principal.Caller, at ResourcePath, name string, body []byte, q ResourceRequest) (Resource, error) {
	r, p, err := s.guardResources(ctx, c, at, verbWrite)
	if err != nil {
		return Resource{}, err
	}
	defer r.release()
	next, err := p.kind.parse(body)
	if err != nil {
		return Resource{}, err
	}
	r.schema.Lock()
	defer r.schema.Unlock()
	old, err := r.resource(p, name)
	if err != nil {
		return Resource{}, err
	}
	return r.putResource(p, old, next, q)
}

// putResource replaces a record. The caller holds the schema lock.
func (r *session) putResource(p place, old, rec resourceRecord, q ResourceRequest) (Resource, error) {
	if !matches(q.IfMatch, old.ETag) {
		return Resource{}, precondition()
	}
	if old.Name != rec.Name {
		if _, err := r.db.Get(p.nameKey(rec.Name)); !errors.Is(err, store.ErrNotFound) {
			return Resource{}, errors.Join(err, conflictIf(err == nil))
		}
	}
	rec.Number, rec.ETag, rec.TS = old.Number, newETag(), r.now.Unix()
	if err := r.open1(p, &rec); err != nil {
		return Resource{}, err
	}
	err := r.commit(func(b *store.Batch) error {
		b.Delete(p.nameKey(old.Name))
		b.Set(p.nameKey(rec.Name), be32(rec.Number))
		return putRecord(b, p.recordKey(rec.Number), rec)
	})
	if err != nil {
		return Resource{}, err
	}
	return r.shown(p, rec, q)
}

// DeleteResource removes a resource, a user with its permissions.
func (s *Service) DeleteResource(ctx context.Context, c principal.Caller, at ResourcePath, name string, q ResourceRequest) error {
	r, p, err := s.guardResources(ctx, c, at, verbDelete)
	if err != nil {
		return err
	}
	defer r.release()
	r.schema.Lock()
	defer r.schema.Unlock()
	rec, err := r.resource(p, name)
	if err != nil {
		return err
	}
	if !matches(q.IfMatch, rec.ETag) {
		return precondition()
	}
	return r.commit(func(b *store.Batch) error {
		b.Delete(p.nameKey(rec.Name))
		b.Delete(p.recordKey(rec.Number))
		if p.kind.kind == Users {
			deleteResourcesIn(b, append(slices.Clone(p.id), be32(rec.Number)...), Permissions)
		}
		return nil
	})
}

// deleteResourcesIn removes all resources of some kinds whose parents' ids begin with id.
func deleteResourcesIn(b *store.Batch, id []byte, kinds ...ResourceKind) {
	for _, kind := range kinds {
		for _, k := range []byte{keyResourceName, keyResource} {
			r := below(k, []byte{byte(kind)}, id)
			b.DeleteRange(r.Lower, r.Upper)
		}
	}
}

// ExecuteStoredProcedure would run one. Scripts are kept here and do not run yet, which is said only to
// callers who might run them, and only of procedures that are there.
func (s *Service) ExecuteStoredProcedure(ctx context.Context, c principal.Caller, at ResourcePath, name string) error {
	r, err := s.guard(ctx, c, at.Account, "sqlDatabases/containers/executeStoredProcedure", at.Database, at.Container)
	if err != nil {
		return err
	}
	defer r.release()
	p, err := owner(r.place(at, kindOf(StoredProcedures)))
	if err != nil {
		return err
	}
	rec, err := r.resource(p, name)
	if err != nil && r.grant == nil {
		return err
	}
	if err := errors.Join(r.coversScript(p.kind, p.rid(rec.Number)), err); err != nil {
		return err
	}
	return fault.New(fault.NotImplemented, "ScriptsNotSupported", "This server keeps stored procedures and does not run them yet.")
}
