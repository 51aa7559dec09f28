package pkcs11

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// fakeLibrary is a library with one token, whose sessions can be taken away. Its objects are templates.
type fakeLibrary struct {
	mu      sync.Mutex
	pin     string
	logins  int
	open    map[uint]bool
	objects map[uint]map[uint]any
	next    uint
	fail    []error       // results of the next computations, the first first; nil computes
	hold    chan struct{} // when set, computations wait for it
	made    func() error  // called by generate after the object is there
}

func newFake() *fakeLibrary {
	return &fakeLibrary{pin: "1234", open: map[uint]bool{}, objects: map[uint]map[uint]any{}}
}

func (f *fakeLibrary) handle() uint { f.next++; return f.next }

func (f *fakeLibrary) initialize() error      { return nil }
func (f *fakeLibrary) release() error         { return nil }
func (f *fakeLibrary) slots() ([]uint, error) { return []uint{7}, nil }
func (f *fakeLibrary) tokenInfo(uint) (tokenInfo, error) {
	return tokenInfo{Info: Info{Label: "fake"}, initialized: true}, nil
}

func (f *fakeLibrary) openSession(uint) (uint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.handle()
	f.open[h] = true
	return h, nil
}

func (f *fakeLibrary) closeSession(s uint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open[s] {
		return codeSessionHandle
	}
	delete(f.open, s)
	return nil
}

func (f *fakeLibrary) login(_ uint, pin string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.logins++; pin != f.pin {
		return codePINIncorrect
	}
	return nil
}

func (f *fakeLibrary) find(s uint, template []attribute, limit int) (out []uint, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open[s] {
		return nil, codeSessionHandle
	}
	for h, o := range f.objects {
		match := true
		for _, a := range template {
			match = match && same(o[a.id], a.value)
		}
		if match && len(out) < limit {
			out = append(out, h)
		}
	}
	return out, nil
}

func same(a, b any) bool {
	x, ok := a.([]byte)
	y, also := b.([]byte)
	if ok && also {
		return string(x) == string(y)
	}
	return !ok && !also && a == b
}

func (f *fakeLibrary) attributes(uint, uint, ...uint) ([][]byte, error) {
	return nil, codeFunctionNotSupported
}

func (f *fakeLibrary) create(_ uint, template []attribute) (uint, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := map[uint]any{}
	for _, a := range template {
		o[a.id] = a.value
	}
	h := f.handle()
	f.objects[h] = o
	return h, nil
}

func (f *fakeLibrary) destroy(_, object uint) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.objects, object)
	return nil
}

func (f *fakeLibrary) generate(s uint, _ mechanism, template []attribute) (uint, error) {
	h, err := f.create(s, append(template, attribute{attrClass, objectSecret}))
	if err == nil && f.made != nil {
		err = f.made()
	}
	return h, err
}

func (f *fakeLibrary) generatePair(uint, mechanism, []attribute, []attribute) error {
	return codeFunctionNotSupported
}

func (f *fakeLibrary) compute(s uint, in []byte) ([]byte, error) {
	if f.hold != nil {
		<-f.hold
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.open[s] {
		return nil, codeSessionHandle
	}
	if len(f.fail) > 0 {
		err := f.fail[0]
		f.fail = f.fail[1:]
		return in, err
	}
	return in, nil
}

func (f *fakeLibrary) encrypt(s uint, _ mechanism, _ uint, in []byte) ([]byte, error) {
	return f.compute(s, in)
}
func (f *fakeLibrary) decrypt(s uint, _ mechanism, _ uint, in []byte) ([]byte, error) {
	return f.compute(s, in)
}
func (f *fakeLibrary) sign(s uint, _ mechanism, _ uint, in []byte) ([]byte, error) {
	return f.compute(s, in)
}
func (f *fakeLibrary) wrap(uint, mechanism, uint, uint) ([]byte, error) { return nil, codeMechanism }
func (f *fakeLibrary) unwrap(uint, mechanism, uint, []byte, []attribute) (uint, error) {
	return 0, codeMechanism
}

func openFake(t *testing.T, f *fakeLibrary) *Token {
	t.Helper()
	token, err := newToken(URI{}, secret.From([]byte("1234")), f)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

var fakeID = []byte("id")

func withKey(t *testing.T, token *Token) {
	t.Helper()
	if _, err := token.Generate(t.Context(), fakeID, "", AES256); err != nil {
		t.Fatal(err)
	}
}

func seal(ctx context.Context, token *Token) error {
	_, err := token.SealGCM(ctx, fakeID, make([]byte, 12), []byte("x"), nil)
	return err
}

func TestMeaningOfErrors(t *testing.T) {
	f := newFake()
	token := openFake(t, f)
	withKey(t, token)
	for name, c := range map[string]struct {
		fail []error
		want error // nil: it went well
	}{
		"lost once":             {[]error{codeDeviceRemoved}, nil},
		"lost twice":            {[]error{codeDeviceRemoved, codeSessionHandle}, ErrUnavailable},
		"lost, then refused":    {[]error{codeNotLoggedIn, codeDataInvalid}, ErrInput},
		"refused":               {[]error{codeGeneralError}, ErrInput},
		"wrong tag":             {[]error{codeAEADFailed}, ErrInput},
		"no such mechanism":     {[]error{&startError{codeMechanism}}, ErrMechanism},
		"parameter not known":   {[]error{&startError{codeArgumentsBad}}, ErrMechanism},
		"lost at the beginning": {[]error{&startError{codeKeyHandle}}, nil},
	} {
		f.fail = c.fail
		if err := seal(t.Context(), token); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if len(f.fail) > 0 {
			t.Errorf("%s: %d results were not asked for", name, len(f.fail))
		}
	}
}

func TestWrongPINIsTriedOnce(t *testing.T) {
	f := newFake()
	if _, err := newToken(URI{}, secret.From([]byte("wrong")), f); !errors.Is(err, ErrPIN) || f.logins != 1 {
		t.Errorf("%v after %d logins", err, f.logins)
	}
	token := openFake(t, f)
	withKey(t, token)
	f.pin, f.logins = "changed", 0
	clear(f.open) // the token forgets its sessions
	for range 5 {
		if err := seal(t.Context(), token); !errors.Is(err, ErrPIN) {
			t.Errorf("%v", err)
		}
	}
	if f.logins != 1 {
		t.Errorf("the wrong PIN was shown %d times", f.logins)
	}
}

// TestGenerateLeavesOneKey: the token goes away after it made the key and before it said so.
func TestGenerateLeavesOneKey(t *testing.T) {
	for _, c := range []struct {
		fails int
		want  error
		keys  int
	}{{0, nil, 1}, {1, nil, 1}, {2, ErrUnavailable, 0}} {
		f := newFake()
		token := openFake(t, f)
		fails := c.fails
		f.made = func() error {
			if fails--; fails >= 0 {
				return codeDeviceRemoved
			}
			return nil
		}
		if _, err := token.Generate(t.Context(), fakeID, "", AES256); !errors.Is(err, c.want) {
			t.Errorf("%d failures: %v", c.fails, err)
		}
		if len(f.objects) != c.keys {
			t.Errorf("%d failures: %d keys", c.fails, len(f.objects))
		}
	}
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		token := openFake(t, f)
		withKey(t, token)
		f.hold = make(chan struct{})
		var wg sync.WaitGroup
		for range sessions {
			wg.Go(func() {
				if err := seal(context.Background(), token); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(context.Background())
		late := make(chan error, 1)
		go func() { late <- seal(ctx, token) }()
		synctest.Wait()
		cancel()
		if err := <-late; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		close(f.hold)
		wg.Wait()
		if err := token.Close(); err != nil || len(f.open) != 0 {
			t.Errorf("%v; open: %v", err, maps.Keys(f.open))
		}
		if err := seal(context.Background(), token); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestIdentifiers(t *testing.T) {
	token := openFake(t, newFake())
	for _, id := range [][]byte{nil, make([]byte, maxID+1)} {
		if _, err := token.Generate(t.Context(), id, "", AES256); !errors.Is(err, ErrInput) {
			t.Errorf("Generate with %d bytes: %v", len(id), err)
		}
		if err := token.Destroy(t.Context(), id); !errors.Is(err, ErrInput) { // an empty one would match every key
			t.Errorf("Destroy with %d bytes: %v", len(id), err)
		}
	}
}
