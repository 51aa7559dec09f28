package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/store"
)

// note is an entry that writes its place.
type note struct{ fail error }

func (n note) Apply(b *store.Batch, seq uint64) error {
	b.Set(fmt.Appendf(nil, "%08d", seq), nil)
	return n.fail
}

// TestLocalLog: whoever saw a place sees everything before it, also when some entries fail or are given
// up, and what was appended is in the store.
func TestLocalLog(t *testing.T) {
	s := open(t, vfs.NewMem(), "/db")
	defer s.Close()
	l := store.NewLocalLog(s, 10)
	refused := errors.New("refused")
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			seq := l.Reserve()
			switch i % 10 {
			case 3:
				l.Abandon(seq)
			case 7:
				if err := l.Append(seq, note{refused}); !errors.Is(err, refused) {
					t.Errorf("Append = %v", err)
				}
			default:
				if err := l.Append(seq, note{}); err != nil {
					t.Error(err)
				}
			}
			if v := l.Visible(); v < seq {
				t.Errorf("place %d has ended, visible is %d", seq, v)
			}
		})
	}
	wg.Wait()
	if v := l.Visible(); v != 210 {
		t.Errorf("visible %d", v)
	}
	n := 0
	var err error
	for range s.Scan(store.Range{}, &err) {
		n++
	}
	if err != nil || n != 160 {
		t.Errorf("%d entries, %v", n, err)
	}
}
