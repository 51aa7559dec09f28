package rootkey

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// ids are the keys of a ring by purpose, the current one first.
func ids(r *Ring, p Purpose) (out [][32]byte) {
	out = append(out, [32]byte(r.Current(p).Secret.Reveal()))
	for _, k := range r.Before(p) {
		out = append(out, [32]byte(k.Secret.Reveal()))
	}
	return out
}

func TestStartAndOpen(t *testing.T) {
	for _, p := range protections {
		for _, gcm := range []bool{true, false} {
			w := newWorld(t)
			w.said, w.hsm.gcm = p, gcm
			first := w.start()
			for _, said := range []string{"", p} {
				w.said = said
				if again := w.start(); ids(again, Control)[0] != ids(first, Control)[0] {
					t.Errorf("%s: another key after a restart", p)
				}
				before := maps.Clone(w.files.files)
				if _, err := Open(w.options()); err != nil || !maps.EqualFunc(before, w.files.files, bytes.Equal) {
					t.Errorf("%s: Open: %v", p, err)
				}
			}
			d, err := Describe(w.options())
			if err != nil || !d.Ring || d.Interrupted || d.Created.Unix() != 1_800_000_000 || !strings.HasPrefix(d.Protection, strings.SplitAfter(p, ":")[0]) {
				t.Errorf("%s: %+v, %v", p, d, err)
			}
			if keys := [][32]byte{ids(first, Control)[0], ids(first, Audit)[0], ids(first, Accounts)[0]}; keys[0] == keys[1] || keys[1] == keys[2] {
				t.Errorf("%s: one key for two purposes", p)
			}
		}
	}
}

// TestClearKeyIsNeverOnTheDisk looks at every content that a file ever had, through a start and rotations
// between protections that wrap.
func TestClearKeyIsNeverOnTheDisk(t *testing.T) {
	for _, p := range []string{"passphrase", hardware} {
		w := newWorld(t)
		w.said = p
		r := w.start()
		roots := [][]byte{bytes.Clone(r.root.Reveal())}
		for _, to := range []string{"", "passphrase", hardware, ""} {
			next, err := w.rotate(to, false)
			if err != nil {
				t.Fatal(err)
			}
			roots = append(roots, bytes.Clone(next.root.Reveal()))
			for _, k := range next.keys {
				roots = append(roots, bytes.Clone(k.Secret.Reveal()))
			}
		}
		for content := range w.files.seen {
			for _, root := range roots {
				if strings.Contains(content, string(root)) {
					t.Errorf("%s: a key was on the disk in the clear", p)
				}
			}
		}
	}
}

// TestRefusals: each cause has its own reason, and no refusal writes.
func TestRefusals(t *testing.T) {
	flip := func(name string, at int) func(*world) {
		return func(w *world) {
			raw := w.files.files[name]
			raw[(at+len(raw))%len(raw)] ^= 1
		}
	}
	drop := func(name string) func(*world) { return func(w *world) { delete(w.files.files, name) } }
	for _, c := range []struct {
		name, protection string
		spoil            func(*world)
		want             string
	}{
		{"no root.key", "file", drop("/data/root.key"), ReasonMissing},
		{"damaged root.key", "file", flip("/data/root.key", -40), ReasonDamaged},
		{"root.key cut", "file", func(w *world) { w.files.files["/data/root.key"] = w.files.files["/data/root.key"][:20] }, ReasonDamaged},
		{"root.key empty", "file", func(w *world) { w.files.files["/data/root.key"] = nil }, ReasonDamaged},
		{"no ring", "file", drop("/data/root.ring"), ReasonRingMissing},
		{"damaged ring", "file", flip("/data/root.ring", 40), ReasonDamaged},
		{"ring of another directory", "file", func(w *world) {
			x := newWorld(w.t)
			x.start()
			w.files.files["/data/root.ring"] = x.files.files["/data/root.ring"]
		}, ReasonMismatch},
		{"32 bytes that are another key", "file", func(w *world) { w.files.files["/data/root.key"] = make([]byte, 32) }, ReasonMismatch},
		{"no file elsewhere", elsewhere, drop("/mnt/key"), ReasonFileMissing},
		{"damaged file elsewhere", elsewhere, flip("/mnt/key", -40), ReasonDamaged},
		{"another file elsewhere", elsewhere, func(w *world) { w.files.files["/mnt/key"] = make([]byte, 32) }, ReasonMismatch},
		{"wrong passphrase", "passphrase", func(w *world) { w.passphrase = "something else entirely" }, ReasonPassphrase},
		{"empty passphrase", "passphrase", func(w *world) { w.passphrase = "" }, ReasonPassphrase},
		{"damaged wrapped key", "passphrase", flip("/data/root.key", -40), ReasonDamaged},
		{"no ring under a passphrase", "passphrase", drop("/data/root.ring"), ReasonRingMissing},
		{"no token", hardware, func(w *world) { w.hsm.absent = true }, ReasonToken},
		{"another token", hardware, func(w *world) { clear(w.hsm.keys) }, ReasonTokenKey},
		{"other protection asked for", "file", func(w *world) { w.said = "passphrase" }, ReasonProtection},
		{"file in the directory", "file", func(w *world) { w.said = "file:/data/x" }, ReasonProtection},
	} {
		w := newWorld(t)
		w.said = c.protection
		w.start()
		w.said = ""
		c.spoil(w)
		before := maps.Clone(w.files.files)
		_, err := Start(w.options(), true)
		wantReason(t, c.name, err, c.want)
		if _, err := Open(w.options()); err == nil {
			t.Errorf("%s: Open = nil", c.name)
		}
		if !maps.EqualFunc(before, w.files.files, bytes.Equal) {
			t.Errorf("%s: files were written", c.name)
		}
	}
}

func TestWrongPIN(t *testing.T) {
	w := newWorld(t)
	w.said = hardware
	w.start()
	o := w.options()
	o.PIN = "0000"
	_, err := Open(o)
	wantReason(t, "wrong PIN", err, ReasonTokenPIN)
	o.PIN = ""
	_, err = Open(o)
	wantReason(t, "no PIN", err, ReasonTokenPIN)
}

func TestFirstStartRefuses(t *testing.T) {
	w := newWorld(t)
	w.said, w.passphrase = "passphrase", "short"
	_, err := Start(w.options(), false)
	wantReason(t, "short passphrase", err, ReasonShortPassphrase)
	o := w.options()
	o.Passphrase = nil
	_, err = Start(o, false)
	wantReason(t, "no passphrase", err, ReasonNoPassphrase)
	w.said, w.hsm.absent = hardware, true
	_, err = Start(w.options(), false)
	wantReason(t, "no token", err, ReasonToken)
	w.said = "file:/data/deeper/key"
	_, err = Start(w.options(), false)
	wantReason(t, "inside", err, ReasonProtection)
	if len(w.files.files) != 0 {
		t.Errorf("files were written: %v", slices.Collect(maps.Keys(w.files.files)))
	}
}

// TestGivenKey: a key that somebody put in place before the first start is taken, as 32 bytes too.
func TestGivenKey(t *testing.T) {
	w := newWorld(t)
	w.said = elsewhere
	given := bytes.Repeat([]byte{9}, 32)
	w.files.files["/mnt/key"] = bytes.Clone(given)
	if r := w.start(); !r.root.Equal(given) || !bytes.Equal(w.files.files["/mnt/key"], given) {
		t.Error("the key was not taken")
	}
	w.said = "file:/elsewhere/key" // it was moved
	w.files.files["/elsewhere/key"] = given
	delete(w.files.files, "/mnt/key")
	if _, err := Open(w.options()); err != nil {
		t.Errorf("moved: %v", err)
	}
}

// TestFirstStartCut kills the disk at every change of a first start: the next one begins anew.
func TestFirstStartCut(t *testing.T) {
	for _, p := range protections {
		for n, more := 1, true; more; n++ {
			more = false
			for _, after := range []bool{false, true} {
				w := newWorld(t)
				w.said, w.files.n, w.files.after = p, n, after
				_, err := Start(w.options(), false)
				more = more || w.files.dead
				if w.files.dead && err == nil {
					t.Errorf("%s, change %d: no error", p, n)
				}
				w.files.dead = false
				w.start()
			}
		}
	}
}

// TestRotationCut kills the disk at every change of every rotation between two protections, before and
// after the change, for good and once: afterwards the directory opens with the old protection or the new,
// and with every platform key of before.
func TestRotationCut(t *testing.T) {
	for _, from := range append(slices.Clone(protections), "legacy") {
		for _, to := range append(slices.Clone(protections), "", "file:/mnt/other") {
			for _, reseal := range []bool{false, true} {
				if reseal && to != "" && os.Getenv("LATCHKEY_TORTURE") == "" {
					continue
				}
				for n, more := 1, true; more; n++ {
					more = false
					for i := range 4 {
						c := &cut{from: from, to: to, reseal: reseal, n: n, after: i&1 != 0, once: i&2 != 0}
						more = c.run(t) || more
					}
				}
			}
		}
	}
}

// cut is one rotation and the change at which the disk dies.
type cut struct {
	from, to            string
	reseal, after, once bool
	n                   int
}

func (c *cut) String() string {
	return fmt.Sprintf("from %s to %q, reseal=%v, change %d, after=%v, once=%v", c.from, c.to, c.reseal, c.n, c.after, c.once)
}

// begin makes the directory.
func (c *cut) begin(w *world) *Ring {
	if c.from == "legacy" {
		w.files.files["/data/root.key"] = bytes.Repeat([]byte{3}, 32)
	} else {
		w.said = c.from
	}
	return w.start()
}

func (c *cut) run(t *testing.T) (died bool) {
	w := newWorld(t)
	old := c.begin(w)
	was, oldRoot := ids(old, Control)[0], old.root.Clone()
	w.files.n, w.files.after, w.files.once = c.n, c.after, c.once
	next, err := w.rotate(c.to, c.reseal)
	died = w.files.n == 0
	w.files.n, w.files.dead = 0, false
	if died != (err != nil) {
		t.Errorf("%v: died %v, %v", c, died, err)
	}
	w.said = ""
	r, err := Start(w.options(), true)
	if err != nil {
		t.Errorf("%v: %v", c, err)
		return died
	}
	keys := ids(r, Control)
	if !slices.Contains(keys, was) {
		t.Errorf("%v: the key before is lost", c)
	}
	isNew := !r.root.Equal(oldRoot.Reveal())
	if !died && (!isNew || next == nil || keys[0] != ids(next, Control)[0]) {
		t.Errorf("%v: no error, and the rotation did not take place", c)
	}
	if isNew {
		c.checkNew(t, w, r, oldRoot, keys)
	} else if len(keys) != 1 {
		t.Errorf("%v: the old root key leads to new keys", c)
	}
	if d, err := Describe(w.options()); err != nil || d.Interrupted {
		t.Errorf("%v: a start left it interrupted: %v", c, err)
	}
	return died
}

// checkNew: the old root key opens no ring that ever stood on the disk with the new keys in it.
func (c *cut) checkNew(t *testing.T, w *world, r *Ring, oldRoot *secret.Bytes, keys [][32]byte) {
	if len(keys) != 2 || r.Leaving(Control) != c.reseal {
		t.Errorf("%v: %d keys, leaving: %v", c, len(keys), r.Leaving(Control))
	}
	for content := range w.files.seen {
		entries, err := decodeRing([]byte(content))
		if err != nil {
			continue // no ring
		}
		for _, e := range entries {
			got, err := e.open(oldRoot)
			if err == nil && slices.ContainsFunc(got, func(k Key) bool { return [32]byte(k.Secret.Reveal()) == keys[0] }) {
				t.Errorf("%v: the old root key opens the new keys", c)
			}
		}
	}
}

func TestDrop(t *testing.T) {
	w := newWorld(t)
	w.start()
	if _, err := w.rotate("", false); err != nil {
		t.Fatal(err)
	}
	if _, err := w.rotate("", true); err != nil {
		t.Fatal(err)
	}
	r := w.start()
	if len(ids(r, Control)) != 3 || len(ids(r, Accounts)) != 3 {
		t.Fatalf("%d keys", len(ids(r, Control)))
	}
	w.files.n, w.files.once = 1, true
	if err := r.Drop(Control); !errors.Is(err, errDead) || len(ids(r, Control)) != 3 {
		t.Errorf("a failed Drop: %v", err)
	}
	if err := r.Drop(Control); err != nil {
		t.Error(err)
	}
	again := w.start()
	if len(ids(again, Control)) != 1 || len(ids(again, Accounts)) != 3 || again.Leaving(Control) || !again.Leaving(Accounts) {
		t.Errorf("%d and %d keys", len(ids(again, Control)), len(ids(again, Accounts)))
	}
}

// TestNewFileElsewhereIsNotOverwritten: somebody's file stays what it is.
func TestNewFileElsewhereIsNotOverwritten(t *testing.T) {
	w := newWorld(t)
	w.start()
	w.files.files["/mnt/key"] = []byte("not ours")
	_, err := w.rotate(elsewhere, false)
	wantReason(t, "rotate", err, ReasonExists)
	if string(w.files.files["/mnt/key"]) != "not ours" {
		t.Error("it was overwritten")
	}
	if d, err := Describe(w.options()); err != nil || d.Interrupted || d.Protection != "file" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestParseProtection(t *testing.T) {
	for _, s := range []string{"", "file", "file:/a/b", "passphrase"} {
		if p, err := ParseProtection(s); err != nil || p.String() != s {
			t.Errorf("%q: %q, %v", s, p, err)
		}
	}
	for _, s := range []string{"files", "file:", "file:x", "pkcs11:", "pkcs11:module-path=/x.so", "pkcs11:module-path=/x.so;object=k;pin-value=1"} {
		_, err := ParseProtection(s)
		wantReason(t, s, err, ReasonProtection)
	}
}
