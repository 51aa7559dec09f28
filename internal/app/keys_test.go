package app

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/latchkey-db/latchkey/internal/config"
	"github.com/latchkey-db/latchkey/internal/envelope"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/rootkey"
	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/secret"
)

func testConfig(dir string) config.Config {
	c := config.Default(func(string) string { return "" })
	c.DataDir, c.Listen, c.ProxyListen = dir, "127.0.0.1:0", "127.0.0.1:0"
	return c
}

// serve starts a server, lets f use it, and stops it.
func serve(t *testing.T, cfg config.Config, f func(s *Server)) {
	t.Helper()
	s, err := Start(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	f(s)
	if err := s.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// keysOf are the ids of the keys in a directory's ring.
func keysOf(t *testing.T, cfg config.Config, p rootkey.Purpose) (current sealfs.KeyID, before int) {
	t.Helper()
	r, err := openKeys(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Wipe()
	return sealfs.KeyID(r.Current(p).ID), len(r.Before(p))
}

func rotateKeys(t *testing.T, cfg config.Config, x RootKeyRotation) {
	t.Helper()
	if _, err := RotateRootKey(t.Context(), cfg, x); err != nil {
		t.Fatal(err)
	}
}

func TestRotationOfADirectoryWithoutARing(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "root.key"), secret.Random(32).Reveal(), 0o600); err != nil {
		t.Fatal(err)
	}
	var admin Credentials
	serve(t, cfg, func(s *Server) {
		admin = s.Administrator()
		if err := s.keeper.Create(t.Context(), "acct", envelope.Protection{}); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "root.ring")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory from before there was a ring got one: %v", err)
	}
	keyring := func() []byte {
		raw, err := os.ReadFile(filepath.Join(cfg.DataDir, "accounts", "acct", "keyring"))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	before := keyring()
	for i, want := range []int{1, 2} {
		rotateKeys(t, cfg, RootKeyRotation{})
		if _, n := keysOf(t, cfg, rootkey.Accounts); n != want {
			t.Errorf("rotation %d: %d keys before", i, n)
		}
		serve(t, cfg, func(s *Server) {
			if s.Administrator() != admin {
				t.Error("another administrator")
			}
			if _, release, err := s.keeper.Acquire(t.Context(), "acct"); err != nil {
				t.Errorf("the account does not open: %v", err)
			} else {
				release()
			}
		})
		if after := keyring(); bytes.Equal(before, after) {
			t.Errorf("rotation %d: the account stands under the key before", i)
		} else {
			before = after
		}
	}
	if v, err := Verify(cfg); err != nil || len(v.Problems) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestReseal: afterwards no file stands under a key before, and there is none; the one of the accounts goes
// with the next start.
func TestReseal(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	serve(t, cfg, func(s *Server) {
		if err := s.keeper.Create(t.Context(), "acct", envelope.Protection{}); err != nil {
			t.Fatal(err)
		}
	})
	rotateKeys(t, cfg, RootKeyRotation{}) // so that files stand under three keys
	serve(t, cfg, func(*Server) {})
	rotateKeys(t, cfg, RootKeyRotation{Reseal: true})
	for purpose, name := range platformDirs {
		current, n := keysOf(t, cfg, purpose)
		old, err := underOtherKeys(filepath.Join(cfg.DataDir, name), current)
		if err != nil || len(old) != 0 || n != 0 {
			t.Errorf("%s: %d keys before, files %v, %v", name, n, old, err)
		}
	}
	if _, n := keysOf(t, cfg, rootkey.Accounts); n != 2 {
		t.Errorf("%d keys of accounts before", n)
	}
	serve(t, cfg, func(*Server) {})
	if _, n := keysOf(t, cfg, rootkey.Accounts); n != 0 {
		t.Errorf("%d keys of accounts before, after a start", n)
	}
	if v, err := Verify(cfg); err != nil || len(v.Problems) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestLockedAccountKeepsItsKey: what cannot be moved keeps the key that it needs, until it can.
func TestLockedAccountKeepsItsKey(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	serve(t, cfg, func(s *Server) {
		if err := s.keeper.Create(t.Context(), "acct", envelope.Protection{}); err != nil {
			t.Fatal(err)
		}
		if err := s.keeper.Lock(t.Context(), "acct"); err != nil {
			t.Fatal(err)
		}
	})
	rotateKeys(t, cfg, RootKeyRotation{Reseal: true})
	serve(t, cfg, func(s *Server) {
		if err := s.keeper.Unlock(t.Context(), "acct"); err != nil {
			t.Fatal(err)
		}
		_, release, err := s.keeper.Acquire(t.Context(), "acct")
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
	if _, n := keysOf(t, cfg, rootkey.Accounts); n != 1 {
		t.Errorf("%d keys before, of a locked account", n)
	}
	serve(t, cfg, func(*Server) {})
	if _, n := keysOf(t, cfg, rootkey.Accounts); n != 0 {
		t.Errorf("%d keys before, of an unlocked account", n)
	}
}

// TestInterruptedReseal: a start ends what a rotation began.
func TestInterruptedReseal(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	serve(t, cfg, func(*Server) {})
	o, err := keyOptions(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rootkey.Start(o, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Rotate(rootkey.Rotation{Reseal: true}); err != nil {
		t.Fatal(err)
	}
	serve(t, cfg, func(*Server) {})
	for purpose := range platformDirs {
		if _, n := keysOf(t, cfg, purpose); n != 0 {
			t.Errorf("%s: %d keys before", purpose, n)
		}
	}
}

func TestRotationRefuses(t *testing.T) {
	cfg := testConfig(filepath.Join(t.TempDir(), "data"))
	if _, err := RotateRootKey(t.Context(), cfg, RootKeyRotation{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := os.Stat(cfg.DataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory was made: %v", err)
	}
	serve(t, cfg, func(*Server) {
		if _, err := RotateRootKey(t.Context(), cfg, RootKeyRotation{}); !fault.Is(err, ReasonLocked) {
			t.Errorf("beside a server: %v", err)
		}
	})
	if _, err := RotateRootKey(t.Context(), cfg, RootKeyRotation{To: "cloud"}); !fault.Is(err, rootkey.ReasonProtection) {
		t.Errorf("no such protection: %v", err)
	}
}

// TestPassphraseSources: a file wins over the environment, which wins over a person.
func TestPassphraseSources(t *testing.T) {
	file := func(content string) string {
		name := filepath.Join(t.TempDir(), "p")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	value := secret.From([]byte("value"))
	ask := func() (*secret.Bytes, error) { return secret.From([]byte("asked")), nil }
	for _, c := range []struct {
		file  string
		value *secret.Bytes
		ask   func() (*secret.Bytes, error)
		want  string // "": refused
	}{
		{file("first line\nsecond"), value, ask, "first line"},
		{file("no end of line"), nil, nil, "no end of line"},
		{"", value, ask, "value"},
		{"", nil, ask, "asked"},
		{"", nil, nil, ""},
		{filepath.Join(t.TempDir(), "missing"), value, ask, ""},
		{file(string(make([]byte, maxPassphrase+1))), value, ask, ""},
	} {
		got, err := passphrase(c.file, c.value, c.ask)()
		if c.want == "" && !fault.Is(err, rootkey.ReasonNoPassphrase) || c.want != "" && (err != nil || !got.Equal([]byte(c.want))) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
