package envelope

import (
	"maps"
	"sync"
	"time"
)

// Stats is what can be measured of all accounts together. It names none of them.
type Stats struct {
	States map[State]int  // accounts by state
	Probes map[int]uint64 // probes since the start by the substatus of their failure; 0 for good ones
	// Locks is how many accounts were closed since the start because their key was denied, and LockTime
	// how long that took in all, from the denial to the wiped keys.
	Locks    uint64
	LockTime time.Duration
	// SilentFor is the longest time for which an open account's key was not confirmed.
	SilentFor       time.Duration
	CacheBytes      int64 // in the caches of all open stores
	ReencryptOld    int64 // bytes under retired data keys, as far as they were looked at
	Reencrypting    int   // accounts that are being re-encrypted
	DataKeysRetired int   // accounts with retired data keys
}

// counters are the parts of Stats that only grow.
type counters struct {
	mu       sync.Mutex
	probes   map[int]uint64
	locks    uint64
	lockTime time.Duration
}

func (c *counters) probed(substatus int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.probes == nil {
		c.probes = map[int]uint64{}
	}
	c.probes[substatus]++
}

func (c *counters) locked(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.locks++
	c.lockTime += took
}

// Stats measures.
func (k *Keeper) Stats() Stats {
	k.counters.mu.Lock()
	out := Stats{States: map[State]int{}, Probes: maps.Clone(k.counters.probes), Locks: k.counters.locks, LockTime: k.counters.lockTime}
	k.counters.mu.Unlock()
	out.CacheBytes = k.shared.CacheBytes()
	now := k.cfg.Now()
	for _, a := range k.all() {
		s := a.status()
		out.States[s.State]++
		if (s.State == StateOpen || s.State == StateGrace) && s.Protection.CustomerManaged() {
			out.SilentFor = max(out.SilentFor, now.Sub(s.LastSuccess))
		}
		out.ReencryptOld += s.Reencryption.BytesOld
		if s.Reencryption.Active {
			out.Reencrypting++
		}
		if s.DataKeys > 1 {
			out.DataKeysRetired++
		}
	}
	return out
}
