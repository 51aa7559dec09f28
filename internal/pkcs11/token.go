package pkcs11

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// sessions is how many calls one Token makes at the same time. More wait.
const sessions = 8

// Info says which token it is. It holds no secret.
type Info struct{ Manufacturer, Model, Label, Serial string }

// Token is one token, logged in as its user. All methods are safe for concurrent use.
type Token struct {
	uri  URI
	pin  *secret.Bytes
	lib  library
	pool chan *session // every session that is not in use

	// generation counts how often all sessions were given up.
	generation atomic.Uint64
	// opening is held by who opens a session; slot, info and refused are its.
	opening chan struct{}
	slot    uint
	info    Info
	refused error // the PIN was refused: it is not tried again

	mu      sync.Mutex
	objects map[object]uint // handles of the present generation
	at      uint64          // that generation

	rawOAEP   atomic.Bool // the token cannot take off the padding of OAEP with SHA-256
	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// session is a place for one session; it is open when generation is that of the token.
type session struct {
	handle     uint
	open       bool
	generation uint64
}

// object names an object of the token.
type object struct {
	class uint
	id    string
}

// Open loads the library that u names, finds the token and logs in. It keeps a copy of pin.
func Open(u URI, pin *secret.Bytes) (*Token, error) {
	if pin == nil || pin.Len() == 0 {
		return nil, fmt.Errorf("%w: there is none", ErrPIN)
	}
	lib, err := openLibrary(u.Module)
	if err != nil {
		return nil, err
	}
	t, err := newToken(u, pin, lib)
	if err != nil {
		return nil, errors.Join(err, lib.release())
	}
	return t, nil
}

func newToken(u URI, pin *secret.Bytes, lib library) (*Token, error) {
	t := &Token{uri: u, pin: pin.Clone(), lib: lib, pool: make(chan *session, sessions),
		opening: make(chan struct{}, 1), objects: map[object]uint{}}
	for range sessions {
		t.pool <- &session{}
	}
	err := t.do(context.Background(), func(*session) error { return nil })
	if err != nil {
		t.pin.Wipe()
		return nil, err
	}
	return t, nil
}

// Describe says which token it is.
func (t *Token) Describe() Info {
	t.opening <- struct{}{}
	defer func() { <-t.opening }()
	return t.info
}

// Close waits for the calls that run, closes all sessions and gives the library up. It is safe to call twice.
func (t *Token) Close() error {
	t.closeOnce.Do(func() {
		t.closed.Store(true)
		for range sessions {
			if s := <-t.pool; s.open {
				t.closeErr = errors.Join(t.closeErr, harmless(t.lib.closeSession(s.handle)))
			}
		}
		for range sessions {
			t.pool <- &session{} // who waits learns that the token is closed
		}
		t.closeErr = errors.Join(t.closeErr, t.lib.release())
		t.pin.Wipe()
	})
	return t.closeErr
}

// harmless is nil for a session that is gone already.
func harmless(err error) error {
	if is(err, lostCodes...) {
		return nil
	}
	return err
}

// do calls f with a session, and once more with another when the token lost the first.
func (t *Token) do(ctx context.Context, f func(*session) error) error {
	err := t.once(ctx, f)
	if is(err, lostCodes...) {
		err = t.once(ctx, f)
	}
	return explain(err)
}

func (t *Token) once(ctx context.Context, f func(*session) error) error {
	var s *session
	select {
	case <-ctx.Done():
		return ctx.Err()
	case s = <-t.pool:
	}
	defer func() { t.pool <- s }()
	err := t.ready(ctx, s)
	if err == nil {
		err = f(s)
	}
	if is(err, lostCodes...) {
		t.generation.CompareAndSwap(s.generation, s.generation+1)
	}
	return err
}

// ready opens the session when it is not open, or from before the token was lost.
func (t *Token) ready(ctx context.Context, s *session) error {
	if t.closed.Load() {
		return ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.open && s.generation == t.generation.Load() {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case t.opening <- struct{}{}:
	}
	defer func() { <-t.opening }()
	if s.open {
		_ = t.lib.closeSession(s.handle) // it is gone, or will not be missed
	}
	*s = session{generation: t.generation.Load()}
	return t.openSession(s)
}

// openSession finds the token, opens a session and logs in. It is called with opening held.
func (t *Token) openSession(s *session) error {
	if t.refused != nil {
		return t.refused
	}
	if err := t.findSlot(); err != nil {
		return err
	}
	handle, err := t.lib.openSession(t.slot)
	if err != nil {
		return err
	}
	if err := t.login(handle); err != nil {
		return errors.Join(err, harmless(t.lib.closeSession(handle)))
	}
	s.handle, s.open = handle, true
	return nil
}

// login logs the process in; that it is already is as good.
func (t *Token) login(handle uint) error {
	err := t.lib.login(handle, string(t.pin.Reveal()))
	switch {
	case is(err, codeAlreadyLoggedIn):
		return nil
	case is(err, codePINLocked), is(err, pinCodes...):
		t.refused = explain(err)
		return t.refused
	}
	return err
}

// findSlot looks for the one token that the URI means.
func (t *Token) findSlot() error {
	slots, err := t.lib.slots()
	if is(err, codeNotInitialized) {
		if err := t.lib.initialize(); err != nil {
			return err
		}
		slots, err = t.lib.slots()
	}
	if err != nil {
		return err
	}
	found := 0
	for _, slot := range slots {
		i, err := t.lib.tokenInfo(slot)
		if err == nil && t.uri.matches(slot, i) {
			t.slot, t.info, found = slot, i.Info, found+1
		}
	}
	if found != 1 {
		return fmt.Errorf("%w %s: %d found", ErrNoToken, t.uri, found)
	}
	return nil
}

// handle finds the object of a class with an identifier.
func (t *Token) handle(s *session, class uint, id []byte) (uint, error) {
	o := object{class, string(id)}
	if h, ok := t.remembered(s, o); ok {
		return h, nil
	}
	found, err := t.lib.find(s.handle, []attribute{{attrClass, class}, {attrID, id}}, 1)
	if err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, ErrNotFound
	}
	t.remember(s, o, found[0])
	return found[0], nil
}

func (t *Token) remembered(s *session, o object) (uint, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h, ok := t.objects[o]
	return h, ok && t.at == s.generation
}

// maxRemembered bounds how many objects are remembered.
const maxRemembered = 4096

func (t *Token) remember(s *session, o object, h uint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.at < s.generation || len(t.objects) >= maxRemembered {
		clear(t.objects)
		t.at = s.generation
	}
	if t.at == s.generation {
		t.objects[o] = h
	}
}

// forget forgets what was remembered of an identifier.
func (t *Token) forget(id []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for o := range t.objects {
		if o.id == string(id) {
			delete(t.objects, o)
		}
	}
}
