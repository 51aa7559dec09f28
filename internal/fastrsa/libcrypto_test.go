//go:build libcrypto

package fastrsa

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
)

func TestProviderIsOpenSSL(t *testing.T) {
	if !strings.HasPrefix(Provider(), "libcrypto 3") {
		t.Errorf("%q", Provider())
	}
}

// TestThreadsAreBounded: many operations at once take a few threads; what nobody bounds takes dozens.
func TestThreadsAreBounded(t *testing.T) {
	const many = 300
	p := newPair(t, generate(t, 4096))
	msg := []byte("0123456789abcdef")
	ciphertext, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &p.private.PublicKey, msg, nil)
	if err != nil {
		t.Fatal(err)
	}
	before := pprof.Lookup("threadcreate").Count()
	start := make(chan struct{})
	var wg sync.WaitGroup
	for range many {
		wg.Go(func() {
			<-start
			if got, err := p.ours.DecryptOAEP(crypto.SHA256, ciphertext); err != nil || !bytes.Equal(got, msg) {
				t.Errorf("%x, %v", got, err)
			}
		})
	}
	close(start)
	wg.Wait()
	if made := pprof.Lookup("threadcreate").Count() - before; made > 4*cap(slots) {
		t.Errorf("%d threads for %d operations", made, many)
	}
}
