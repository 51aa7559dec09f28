package sealfs_test

import (
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/store"
)

// TestErrorsOfTheDisk lets one operation of the disk fail, another one each time: each in turn under
// torture, otherwise every so many. Whatever the store makes of it, the process lives, and what was
// acknowledged is there after a crash, with a disk that works again.
func TestErrorsOfTheDisk(t *testing.T) {
	t.Parallel()
	refused, last := 0, 0
	for k := 0; ; k += times(7, 1) {
		base := vfs.NewCrashableMem()
		var count atomic.Int64
		var failed atomic.Pointer[string]
		broken := errorfs.Wrap(base, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if count.Add(1) != int64(k)+1 {
				return nil
			}
			what := fmt.Sprintf("operation %d, %d on %s", k, op.Kind, op.Path)
			failed.Store(&what)
			return errors.New("injected")
		}))
		model, uncertain, err := liveWithErrors(seal(t, broken, nil))
		if failed.Load() == nil {
			break
		}
		if err != nil {
			refused++
		}
		last = k
		checkAcknowledged(t, *failed.Load(), base.CrashClone(vfs.CrashCloneCfg{}), model, uncertain)
	}
	t.Logf("%d operations, %d errors reached the caller", last, refused)
	if refused == 0 {
		t.Error("no error ever reached the caller")
	}
}

// liveWithErrors writes until something fails. It returns what was acknowledged, and what it would be
// with the commit that failed.
func liveWithErrors(fs vfs.FS) (model, uncertain map[string]string, err error) {
	model = map[string]string{}
	s, err := store.Open("/db", store.Options{FS: fs, MemTableBytes: 64 << 10})
	if err != nil {
		return model, model, err
	}
	defer s.Close()
	for i := range 30 {
		k, v := fmt.Sprint("key-", i%12), string(value(uint64(i), 500))
		uncertain = maps.Clone(model)
		uncertain[k] = v
		if err := s.Set([]byte(k), []byte(v)); err != nil {
			return model, uncertain, err
		}
		model = uncertain
		if i%10 == 9 {
			if err := s.Flush(); err != nil {
				return model, uncertain, err
			}
		}
	}
	return model, uncertain, s.Close()
}

func checkAcknowledged(t *testing.T, what string, disk vfs.FS, model, uncertain map[string]string) {
	t.Helper()
	fs := seal(t, disk, nil)
	got, err := contents(fs, "/db")
	if err != nil {
		t.Errorf("%s: the store does not open any more: %v", what, err)
		return
	}
	if !maps.Equal(got, model) && !maps.Equal(got, uncertain) {
		t.Errorf("%s: %d keys, acknowledged were %d", what, len(got), len(model))
	}
}
