package envelope

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// disk is a copy of everything that is below one directory, and of the keyrings.
type disk struct {
	data     map[string][]byte
	keyrings map[string][]byte
}

const accountDir = "accounts/a"

// copyDisk copies an account's directory, as a thief or a backup would.
func (w *world) copyDisk() disk {
	d := disk{data: map[string][]byte{}, keyrings: map[string][]byte{}}
	names, err := w.fs.List(accountDir + "/data")
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range names {
		d.data[n] = w.content(accountDir + "/data/" + n)
	}
	for n, c := range w.files.files {
		d.keyrings[n] = bytes.Clone(*c)
	}
	return d
}

// putData makes the copy the account's store.
func (w *world) putData(d disk) {
	w.t.Helper()
	dir := accountDir + "/data"
	if err := w.fs.RemoveAll(dir); err != nil {
		w.t.Fatal(err)
	}
	if err := w.fs.MkdirAll(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	for n, c := range d.data {
		f, err := w.fs.Create(dir+"/"+n, vfs.WriteCategoryUnspecified)
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := f.Write(bytes.Clone(c)); err != nil {
			w.t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) putKeyrings(d disk) {
	w.files.files = map[string]*[]byte{}
	for n, c := range d.keyrings {
		c := bytes.Clone(c)
		w.files.files[n] = &c
	}
}

// TestReplacedFiles: whoever can write the account's directory cannot bring back an older state, nor
// another account's, nor lose a part, without being seen.
func TestReplacedFiles(t *testing.T) {
	rows := []struct {
		name   string
		tamper func(w *world, older disk) // the server is stopped
		want   string                     // reason; "" when the account must serve
	}{
		{"nothing", func(*world, disk) {}, ""},
		{"older data", func(w *world, older disk) { w.putData(older) }, reasonReplaced},
		{"older keyring", func(w *world, older disk) { w.putKeyrings(older) }, reasonReplaced},
		{"older data and keyring", func(w *world, older disk) { w.putData(older); w.putKeyrings(older) }, reasonReplaced},
		{"a log is gone", func(w *world, _ disk) { w.removeNewest(".log") }, reasonReplaced},
		{"a table is gone", func(w *world, _ disk) { w.removeNewest(".sst") }, reasonReplaced},
		{"the data is gone", func(w *world, _ disk) { w.putData(disk{}) }, reasonReplaced},
		{"a file more", func(w *world, _ disk) { d := w.copyDisk(); d.data["note"] = []byte("x"); w.putData(d) }, reasonReplaced},
		{"a bit of a log", func(w *world, _ disk) {
			d := w.copyDisk()
			for n, c := range d.data {
				if len(n) > 4 && n[len(n)-4:] == ".log" && len(c) > 200 {
					c[len(c)/3] ^= 1
				}
			}
			w.putData(d)
		}, reasonReplaced},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.create("a", protectedA)
				w.put("a", "k", "old")
				w.flush("a")
				w.restart()
				w.put("a", "k", "older")
				w.restart()
				older := w.copyDisk()
				if err := w.rotate(Rotation{AccountKey: true}); err != nil {
					t.Fatal(err)
				}
				w.put("a", "k", "v")
				w.flush("a")
				w.put("a", "k2", "v2")
				w.stop()
				row.tamper(w, older)
				w.start()
				if row.want == "" {
					w.want("a", "k", "v")
					return
				}
				_, _, err := w.k.Acquire(context.Background(), "a")
				if !fault.Is(err, row.want) {
					t.Fatalf("Acquire = %v", err)
				}
				w.wantState("a", StateQuarantined)
			})
		})
	}
}

// removeNewest removes the account's newest file with that ending.
func (w *world) removeNewest(ending string) {
	d, newest := w.copyDisk(), ""
	for n := range d.data {
		if len(n) > len(ending) && n[len(n)-len(ending):] == ending && n > newest {
			newest = n
		}
	}
	if newest == "" {
		w.t.Fatalf("no %s", ending)
	}
	delete(d.data, newest)
	w.putData(d)
}

// TestReplacedAfterCrash: without a clean close the last run's end is not known, but its beginning is.
func TestReplacedAfterCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.put("a", "k", "old")
		w.restart()
		older := w.copyDisk()
		w.put("a", "k", "v")
		synctest.Wait()
		live := w.copyDisk() // a crash leaves this
		w.stop()
		w.putData(live)
		if err := w.anchors.Save("a", forgetClose(w.anchors.all["a"])); err != nil {
			t.Fatal(err)
		}
		w.start()
		w.want("a", "k", "v")
		w.stop()
		if err := w.anchors.Save("a", forgetClose(w.anchors.all["a"])); err != nil {
			t.Fatal(err)
		}
		w.putData(older)
		w.start()
		if _, _, err := w.k.Acquire(context.Background(), "a"); !fault.Is(err, reasonReplaced) {
			t.Fatalf("Acquire = %v", err)
		}
	})
}

func forgetClose(x Anchor) Anchor {
	x.Closed = ""
	return x
}

// TestForeignStore: a store that an attacker made himself under the victim's key, which anyone can
// wrap with, is not taken for the victim's.
func TestForeignStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.put("a", "k", "v")
		w.stop()
		attacker := newWorld(t)
		attacker.kek = w.kek
		attacker.restart()
		attacker.create("a", protectedA)
		attacker.put("a", "k", "forged")
		attacker.stop()
		forged := attacker.copyDisk()
		attacker.start()
		w.putData(forged)
		w.start()
		if _, _, err := w.k.Acquire(context.Background(), "a"); err == nil {
			t.Fatal("a foreign store under the own keyring was opened")
		}
		w.stop()
		w.putKeyrings(forged)
		w.start()
		if _, _, err := w.k.Acquire(context.Background(), "a"); !fault.Is(err, reasonReplaced) {
			t.Fatalf("a foreign store with its keyring: %v", err)
		}
	})
}

// TestAccept: an operator takes an older copy as right, and only such a one.
func TestAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		w := newWorld(t)
		w.create("a", protectedA)
		w.put("a", "k", "old")
		w.stop()
		older := w.copyDisk()
		w.start()
		w.put("a", "k", "v")
		if err := w.k.Accept(ctx, "a"); !fault.Is(err, "NothingToAccept") {
			t.Errorf("Accept of a serving account: %v", err)
		}
		w.stop()
		w.putData(older)
		w.putKeyrings(older)
		w.start()
		if _, _, err := w.k.Acquire(ctx, "a"); !fault.Is(err, reasonReplaced) {
			t.Fatalf("Acquire = %v", err)
		}
		w.audit.events = nil
		if err := w.k.Accept(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		w.want("a", "k", "old")
		if got := w.audit.operations(); got != "AccountAccepted AccountOpened" {
			t.Errorf("audit = %q", got)
		}
		w.restart()
		w.want("a", "k", "old")
	})
}

// TestNoAnchorYet: an account from before there were anchors is taken as it is, once.
func TestNoAnchorYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", protectedA)
		w.put("a", "k", "v")
		w.stop()
		older := w.copyDisk()
		delete(w.anchors.all, "a")
		w.start()
		w.want("a", "k", "v")
		w.put("a", "k", "v2")
		w.stop()
		w.putData(older)
		w.start()
		if _, _, err := w.k.Acquire(context.Background(), "a"); !fault.Is(err, reasonReplaced) {
			t.Fatalf("Acquire = %v", err)
		}
	})
}
