package docdb

import (
	"encoding/binary"
	"slices"
	"sync"

	"github.com/latchkey-db/latchkey/internal/store"
)

// lastLSN reads the last sequence number of a range from its log.
func lastLSN(db *store.Store, id containerID, rangeNumber uint32) (lsn uint64, err error) {
	r := below(keyLog, id[:], be32(rangeNumber))
	r.Reverse = true
	for k := range db.Scan(r, &err) {
		lsn = binary.BigEndian.Uint64(k[len(k)-8:])
		break
	}
	return lsn, err
}

// keyLocks is a set of locks that are made when they are wanted and gone when nobody holds them. The
// zero value is ready.
type keyLocks struct {
	mu   sync.Mutex
	held map[string]*keyLock
}

type keyLock struct {
	sync.Mutex
	users int
}

// lock takes the locks of all keys, in key order so that two callers cannot wait for each other, and
// returns what gives them back.
func (l *keyLocks) lock(keys ...string) (unlock func()) {
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	locks := make([]*keyLock, len(keys))
	for i, k := range keys {
		locks[i] = l.use(k)
		locks[i].Lock()
	}
	return func() {
		for i, k := range keys {
			locks[i].Unlock()
			l.drop(k, locks[i])
		}
	}
}

func (l *keyLocks) use(k string) *keyLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]*keyLock{}
	}
	x := l.held[k]
	if x == nil {
		x = new(keyLock)
		l.held[k] = x
	}
	x.users++
	return x
}

func (l *keyLocks) drop(k string, x *keyLock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x.users--; x.users == 0 {
		delete(l.held, k)
	}
}
