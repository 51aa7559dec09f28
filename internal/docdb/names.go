package docdb

import "sync"

// nameCache remembers what names of databases and containers lead to. Every change of the schema forgets all
// of it, before it is acknowledged; what was read before such a change and comes after it is not remembered. It is
// the account's, and goes with it.
type nameCache struct {
	mu    sync.RWMutex
	epoch uint64
	known map[string]any
}

// maxNames bounds the cache; when it is full, all is forgotten.
const maxNames = 4096

func (n *nameCache) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.epoch++
	n.known = nil
}

// recall returns what is remembered under a key, or what read gives. Errors are not remembered.
func recall[T any](n *nameCache, key string, read func() (T, error)) (T, error) {
	n.mu.RLock()
	v, ok := n.known[key].(T)
	epoch := n.epoch
	n.mu.RUnlock()
	if ok {
		return v, nil
	}
	v, err := read()
	if err == nil {
		n.remember(key, v, epoch)
	}
	return v, err
}

func (n *nameCache) remember(key string, v any, epoch uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if epoch != n.epoch {
		return
	}
	if n.known == nil || len(n.known) >= maxNames {
		n.known = map[string]any{}
	}
	n.known[key] = v
}
