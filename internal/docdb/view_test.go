package docdb

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/store"
)

// TestGap: a snapshot that has a commit, but not the one before it, is told from one that has all up to some
// point.
func TestGap(t *testing.T) {
	db, err := store.Open("db", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	id := newContainerID(1, 1)
	for _, tt := range []struct {
		commit        uint64 // one more that is there
		seen, missing uint64
	}{{1, 0, 0}, {2, 0, 0}, {2, 2, 0}, {4, 1, 3}, {4, 2, 3}, {4, 4, 0}, {6, 4, 5}, {3, 2, 5}, {5, 0, 0}} {
		if err := db.Set(logKey(id, 7, tt.commit), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if err := db.Set(logKey(id, 8, tt.commit+100), []byte("{}")); err != nil { // another range
			t.Fatal(err)
		}
		view, err := db.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if missing, err := gap(view, id, 7, tt.seen); missing != tt.missing || err != nil {
			t.Errorf("%+v: %d is missing, %v", tt, missing, err)
		}
		if err := view.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
