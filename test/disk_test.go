package test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/demo"
)

// files returns every regular file of the data directory.
func (s *server) files() []string {
	s.t.Helper()
	var out []string
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return out
}

// TestNoPlaintextOnDisk greps the data directory and the log for 1,000 random markers out of
// documents, ids, partition keys and names, while the server runs and after it stopped.
func TestNoPlaintextOnDisk(t *testing.T) {
	s := tutorial(t)
	var markers []string
	marker := func() string {
		b := make([]byte, 10)
		rand.Read(b)
		markers = append(markers, hex.EncodeToString(b))
		return markers[len(markers)-1]
	}
	c := s.newContainer("db"+marker(), "coll"+marker())
	for len(markers) < 1000 {
		if err := put(t.Context(), c, doc{ID: marker(), City: marker(), Text: marker()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.op.CreateKey(t.Context()); err != nil { // a rotation on the way
		t.Fatal(err)
	}
	s.grep(markers)
	s.restart(s.stop)
	s.grep(markers)
}

func (s *scenario) grep(markers []string) {
	s.t.Helper()
	for _, path := range s.files() {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // removed meanwhile
		}
		for _, m := range markers {
			if bytes.Contains(raw, []byte(m)) || strings.Contains(path, m) {
				s.t.Errorf("%s holds the marker %s", path, m)
			}
		}
	}
	for _, m := range markers {
		if strings.Contains(s.log.String(), m) {
			s.t.Errorf("the log holds the marker %s", m)
		}
	}
}

// TestFlippedBit flips one random bit in each file of the data directory, starts the server, and
// reads: the server refuses to start, or the answer is the right data or an error; never other data.
func TestFlippedBit(t *testing.T) {
	s := tutorial(t)
	c := s.newContainer("db1", "c1")
	docs := someDocs(200)
	s.putAll(c, docs)
	key := s.masterKey()
	s.stop()
	for _, path := range s.files() {
		t.Run(strings.TrimPrefix(path, s.dir), func(t *testing.T) { s.flipAndRead(t, path, key, docs) })
	}
}

func (s *scenario) flipAndRead(t *testing.T, path, key string, docs []doc) {
	raw, err := os.ReadFile(path)
	if err != nil || len(raw) == 0 {
		t.Skip("empty or gone")
	}
	saved := t.TempDir()
	if err := os.CopyFS(saved, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.stop()
		if err := errorsJoin(os.RemoveAll(s.dir), os.CopyFS(s.dir, os.DirFS(saved))); err != nil {
			t.Fatal(err)
		}
	}()
	bit, err := rand.Int(rand.Reader, big.NewInt(int64(len(raw))*8))
	if err != nil {
		t.Fatal(err)
	}
	n := bit.Int64()
	raw[n/8] ^= 1 << (n % 8)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.tryStart(); err != nil {
		t.Logf("bit %d of %d bytes: the server does not start", n, len(raw))
		return
	}
	s.http = s.client()
	cosmos, err := demo.Cosmos(s.http, demo.Account, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cosmos.NewContainer("db1", "c1")
	if err != nil {
		t.Fatal(err)
	}
	served, refused := 0, 0
	for _, d := range docs {
		err := get(t.Context(), c, d)
		switch {
		case err == nil:
			served++
		case strings.Contains(err.Error(), "came back as"):
			t.Fatalf("bit %d: wrong data: %v", n, err)
		default:
			refused++
		}
	}
	t.Logf("bit %d of %d bytes: %d served, %d refused", n, len(raw), served, refused)
}

func errorsJoin(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("restore the directory: %w", err)
		}
	}
	return nil
}
