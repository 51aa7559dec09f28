package envelope

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// mask hides a key in the test's own memory.
const mask = 0xA5

// masked returns key so that the key itself is nowhere in it.
func masked(key []byte) []byte {
	out := make([]byte, len(key))
	for i, b := range key {
		out[i] = b ^ mask
	}
	return out
}

// TestKeysAreGone looks for an account's keys in the whole memory of the process, after the account was
// used in every way and then locked.
func TestKeysAreGone(t *testing.T) {
	var keys [][]byte
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a", Protection{})
		w.load("a", 20)
		w.flush("a")
		keys = w.maskedKeys()
		must(t, w.rotate(Rotation{AccountKey: true, DataKeys: true}))
		keys = append(keys, w.maskedKeys()...)
		must(t, w.k.Protect(t.Context(), "a", protectedA))
		time.Sleep(time.Minute)
		synctest.Wait()
		keys = append(keys, w.maskedKeys()...)
		w.kek.addVersion(uriA, version2)
		w.hint()
		w.wantLoad("a", 20)
		if found := scan(t, keys[len(keys)-2:]); found == 0 {
			t.Error("the scan does not find the keys of an open account")
		}
		w.kek.fail(refusal)
		w.hint()
		w.refusedWith("a", 4002)
	})
	for range 3 {
		runtime.GC()
	}
	debug.FreeOSMemory()
	reused := reuse()
	clobber()
	if found := scan(t, keys); found > 0 {
		t.Errorf("%d copies of keys are left in memory that is in use", found)
	}
	runtime.KeepAlive(reused)
}

// reuse allocates so much in all small sizes that the free places of the heap are overwritten. What the
// collector has taken back keeps its content until then, which nobody can help (docs/THREATS.md); a key
// that is found afterwards stands in memory that somebody still holds.
func reuse() (all [][]byte) {
	for size := 8; size <= 4096; size += 8 {
		for range max(64, 256<<10/size) {
			b := make([]byte, size)
			b[0] = 1
			all = append(all, b)
		}
	}
	return all
}

// maskedKeys are the account key and the data keys in use.
func (w *world) maskedKeys() [][]byte {
	set := w.k.accounts["a"].keys
	out := [][]byte{masked(set.ak.Reveal())}
	for _, k := range set.dataKeys {
		out = append(out, masked(k.Reveal()))
	}
	return out
}

// clobber overwrites the part of the stack that earlier calls used.
//
//go:noinline
func clobber() {
	var b [64 << 10]byte
	for i := range b {
		b[i] = byte(i)
	}
	runtime.KeepAlive(&b)
}

// scan counts where the keys, which are masked, are in the memory that this process has written.
func scan(t *testing.T, keys [][]byte) (found int) {
	t.Helper()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Skip("no access to the memory:", err)
	}
	defer mem.Close()
	chunk := make([]byte, 1<<20)
	for _, r := range resident(t) {
		for at := r.from; at < r.to; at += int64(len(chunk)) - 31 {
			n, err := mem.ReadAt(chunk[:min(int64(len(chunk)), r.to-at)], at)
			if err != nil || n < 32 {
				break
			}
			for i := range chunk[:n] { // what is read is masked too, so that the buffer holds no key
				chunk[i] ^= mask
			}
			for _, k := range keys {
				if c := bytes.Count(chunk[:n], k); c > 0 {
					found += c
					t.Logf("a key that begins with %x is in %x-%x", k[0]^mask, r.from, r.to)
				}
			}
		}
		clear(chunk)
	}
	return found
}

type memory struct{ from, to int64 }

// resident lists the writable mappings of which something is in memory. The runtime reserves far more.
func resident(t *testing.T) (out []memory) {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Skip("no map of the memory:", err)
	}
	var r memory
	var mode string
	for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x %s", &r.from, &r.to, &mode); n == 3 {
			continue
		}
		if n, _ := fmt.Sscanf(lines.Text(), "Rss: %d kB", &kib); n == 1 && kib > 0 && strings.HasPrefix(mode, "rw") && r.to-r.from < 1<<30 {
			out = append(out, r)
		}
	}
	return out
}
