package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/latchkey-db/latchkey/internal/store"
)

// TestLogRotationFails: a disk that fails when one log ends and the next begins poisons the store. It
// does not end the process, as the engine by itself would.
func TestLogRotationFails(t *testing.T) {
	for what, kinds := range map[string][]errorfs.OpKind{
		"create":   {errorfs.OpCreate, errorfs.OpReuseForWrite},
		"write":    {errorfs.OpFileWrite},
		"sync":     {errorfs.OpFileSync, errorfs.OpFileSyncData},
		"anything": nil,
	} {
		t.Run(what, func(t *testing.T) {
			var broken atomic.Bool
			inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
				if !broken.Load() || !(strings.HasSuffix(op.Path, ".log") || op.Path == "/sick") {
					return nil
				}
				if kinds == nil || slices.Contains(kinds, op.Kind) {
					return errorfs.ErrInjected
				}
				return nil
			})
			base := vfs.NewCrashableMem()
			sick, err := store.Open("/sick", store.Options{FS: sealed(t, errorfs.Wrap(base, inject))})
			if err != nil {
				t.Fatal(err)
			}
			set(t, sick, "a")
			broken.Store(true)
			if err := sick.Flush(); !errors.Is(err, store.ErrPoisoned) || !errors.Is(err, errorfs.ErrInjected) {
				t.Errorf("Flush: %v", err)
			}
			checkRefuses(t, sick)
			crashed := base.CrashClone(vfs.CrashCloneCfg{})
			if err := sick.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
			again := open(t, sealed(t, crashed), "/sick")
			if v, err := again.Get([]byte("a")); err != nil || string(v) != "va" {
				t.Errorf("after a restart: %q, %v", v, err)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestOpenFails: while the store is opened, an error of the disk is an error of Open, which can be
// tried again.
func TestOpenFails(t *testing.T) {
	base := vfs.NewMem()
	var broken atomic.Bool
	inject := errorfs.InjectorFunc(func(op errorfs.Op) error {
		if broken.Load() && op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".log") {
			return errorfs.ErrInjected
		}
		return nil
	})
	fs := sealed(t, errorfs.Wrap(base, inject))
	broken.Store(true)
	if _, err := store.Open("/db", store.Options{FS: fs}); !errors.Is(err, errorfs.ErrInjected) {
		t.Fatalf("Open: %v", err)
	}
	broken.Store(false)
	s := open(t, fs, "/db")
	set(t, s, "a")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
