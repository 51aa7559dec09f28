//go:build libcrypto && cgo

package fastrsa

/*
#cgo LDFLAGS: -lcrypto
#cgo noescape lk_new
#cgo nocallback lk_new
#cgo noescape lk_decryption
#cgo nocallback lk_decryption
#cgo noescape lk_signature
#cgo nocallback lk_signature
#cgo noescape lk_end
#cgo nocallback lk_end
#cgo noescape lk_decrypt
#cgo nocallback lk_decrypt
#cgo noescape lk_sign
#cgo nocallback lk_sign
#include "libcrypto.h"
*/
import "C"

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"runtime"
	"sync"
	"unsafe"
)

var newEngine = newLibcrypto

func provider() string { return "libcrypto " + C.GoString(C.lk_version()) }

// libcrypto is OpenSSL's implementation.
type libcrypto struct {
	pkey *C.EVP_PKEY
	size int // of the modulus

	mu   sync.Mutex
	idle map[use]*sync.Pool // of *begun: beginning costs a tenth of an operation of 2048 bits
}

// use is what a key is used for.
type use struct {
	sign    bool
	padding C.int
	hash    int // size of its value, 0 for none
}

// begun is an operation that can be carried out again and again, by one at a time.
type begun struct{ ctx *C.EVP_PKEY_CTX }

var errLibcrypto = errors.New("fastrsa: libcrypto refused")

// newLibcrypto copies the key to where OpenSSL keeps it; the copy on the way is wiped.
func newLibcrypto(k *rsa.PrivateKey) (engine, error) {
	der := x509.MarshalPKCS1PrivateKey(k)
	defer clear(der)
	pkey := C.lk_new(first(der), C.size_t(len(der)))
	if pkey == nil {
		return nil, errLibcrypto
	}
	l := &libcrypto{pkey: pkey, size: k.Size(), idle: map[use]*sync.Pool{}}
	runtime.AddCleanup(l, func(p *C.EVP_PKEY) { C.lk_free(p) }, pkey)
	return l, nil
}

// slots bounds the operations that run at once: each holds a thread of the operating system, of which
// thousands of requests would otherwise make thousands, until the runtime gives up. More than one for each
// processor gains nothing: they take turns.
var slots = make(chan struct{}, runtime.GOMAXPROCS(0))

// first points to the bytes of b, which C reads or writes during a call only. Never nil: some of
// OpenSSL's functions take a null output for a question about its length.
func first(b []byte) *C.uchar {
	if len(b) == 0 {
		b = make([]byte, 1)
	}
	return (*C.uchar)(unsafe.Pointer(unsafe.SliceData(b)))
}

func (l *libcrypto) decryptOAEP(h crypto.Hash, ciphertext []byte) ([]byte, error) {
	return l.decrypt(C.LK_OAEP, h.Size(), ciphertext)
}

func (l *libcrypto) decryptPKCS1v15(ciphertext []byte) ([]byte, error) {
	return l.decrypt(C.LK_PKCS1, 0, ciphertext)
}

func (l *libcrypto) signPKCS1v15(h crypto.Hash, digest []byte) ([]byte, error) {
	return l.sign(C.LK_PKCS1, sizeOf(h), digest)
}

func (l *libcrypto) signPSS(h crypto.Hash, digest []byte) ([]byte, error) {
	return l.sign(C.LK_PSS, h.Size(), digest)
}

func sizeOf(h crypto.Hash) int {
	if h == 0 {
		return 0
	}
	return h.Size()
}

func (l *libcrypto) decrypt(padding C.int, hash int, in []byte) ([]byte, error) {
	return l.run(use{false, padding, hash}, func(ctx *C.EVP_PKEY_CTX, out []byte) C.int {
		return C.lk_decrypt(ctx, first(in), C.size_t(len(in)), first(out), C.size_t(len(out)))
	})
}

func (l *libcrypto) sign(padding C.int, hash int, in []byte) ([]byte, error) {
	return l.run(use{true, padding, hash}, func(ctx *C.EVP_PKEY_CTX, out []byte) C.int {
		return C.lk_sign(ctx, first(in), C.size_t(len(in)), first(out), C.size_t(len(out)))
	})
}

// run carries out one operation. What begun it is kept for the next one, unless it failed.
func (l *libcrypto) run(u use, do func(*C.EVP_PKEY_CTX, []byte) C.int) ([]byte, error) {
	slots <- struct{}{}
	defer func() { <-slots }()
	idle := l.pool(u)
	b, _ := idle.Get().(*begun)
	if b == nil {
		if b = l.begin(u); b == nil {
			return nil, errLibcrypto
		}
	}
	out := make([]byte, l.size)
	n := do(b.ctx, out)
	runtime.KeepAlive(b)
	if n >= 0 {
		idle.Put(b)
	}
	return result(out, n)
}

func (l *libcrypto) pool(u use) *sync.Pool {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.idle[u]
	if p == nil {
		p = &sync.Pool{}
		l.idle[u] = p
	}
	return p
}

// begin sets an operation up; nil when the library refuses it.
func (l *libcrypto) begin(u use) *begun {
	var ctx *C.EVP_PKEY_CTX
	if u.sign {
		ctx = C.lk_signature(l.pkey, u.padding, C.int(u.hash))
	} else {
		ctx = C.lk_decryption(l.pkey, u.padding, C.int(u.hash))
	}
	runtime.KeepAlive(l)
	if ctx == nil {
		return nil
	}
	b := &begun{ctx}
	runtime.AddCleanup(b, func(c *C.EVP_PKEY_CTX) { C.lk_end(c) }, ctx)
	return b
}

// result is the part of out that was written. The rest of it, which OpenSSL may have used, is wiped.
func result(out []byte, n C.int) ([]byte, error) {
	if n < 0 || int(n) > len(out) {
		clear(out)
		return nil, errLibcrypto
	}
	clear(out[n:])
	return out[:n:n], nil
}
