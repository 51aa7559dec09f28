package store

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Table is a typed collection of JSON records below one key prefix of a store. It is meant for
// control data: small records, read far more often than written.
type Table[T any] struct {
	store  *Store
	prefix string
}

// NewTable returns the table of s whose keys are name, a zero byte, and the record's id. Names must
// not contain a zero byte and must differ between the tables of one store.
func NewTable[T any](s *Store, name string) *Table[T] {
	return &Table[T]{store: s, prefix: name + "\x00"}
}

func (t *Table[T]) key(id string) []byte { return []byte(t.prefix + id) }

// Get returns the record with the given id; ok is false when there is none.
func (t *Table[T]) Get(id string) (rec T, ok bool, err error) {
	raw, err := t.store.Get(t.key(id))
	if errors.Is(err, ErrNotFound) {
		return rec, false, nil
	}
	if err != nil {
		return rec, false, err
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		return rec, false, fmt.Errorf("store: record in table %q: %w", t.prefix, err)
	}
	return rec, true, nil
}

// Put stores rec durably under id.
func (t *Table[T]) Put(id string, rec T) error {
	b := t.store.NewBatch()
	if err := t.PutIn(b, id, rec); err != nil {
		b.Discard()
		return err
	}
	return t.store.Commit(b)
}

// PutIn adds the change to b instead of committing it.
func (t *Table[T]) PutIn(b *Batch, id string, rec T) error {
	raw, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("store: record for table %q: %w", t.prefix, err)
	}
	b.Set(t.key(id), raw)
	return nil
}

// Delete removes the record durably; it need not exist.
func (t *Table[T]) Delete(id string) error { return t.store.Delete(t.key(id)) }

// DeleteIn adds the removal to b instead of committing it.
func (t *Table[T]) DeleteIn(b *Batch, id string) { b.Delete(t.key(id)) }

// All returns every record by id.
func (t *Table[T]) All() (map[string]T, error) {
	out := map[string]T{}
	var err error
	for k, v := range t.store.Scan(Prefix([]byte(t.prefix)), &err) {
		var rec T
		if e := json.Unmarshal(v, &rec); e != nil {
			return nil, fmt.Errorf("store: record in table %q: %w", t.prefix, e)
		}
		out[string(k[len(t.prefix):])] = rec
	}
	return out, err
}
