//go:build libcrypto && cgo

package fastrsa

/*
#cgo LDFLAGS: -lcrypto
#cgo noescape lk_new
#cgo nocallback lk_new
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
	"unsafe"
)

var newEngine = newLibcrypto

func provider() string { return "libcrypto " + C.GoString(C.lk_version()) }

// libcrypto is OpenSSL's implementation.
type libcrypto struct {
	pkey *C.EVP_PKEY
	size int // of the modulus
}

var errLibcrypto = errors.New("fastrsa: libcrypto refused")

// newLibcrypto copies the key to where OpenSSL keeps it; the copy on the way is wiped.
func newLibcrypto(k *rsa.PrivateKey) (engine, error) {
	der := x509.MarshalPKCS1PrivateKey(k)
	defer clear(der)
	pkey := C.lk_new(first(der), C.size_t(len(der)))
	if pkey == nil {
		return nil, errLibcrypto
	}
	l := &libcrypto{pkey: pkey, size: k.Size()}
	runtime.AddCleanup(l, func(p *C.EVP_PKEY) { C.lk_free(p) }, pkey)
	return l, nil
}

// slots bounds the operations that run at once: each holds a thread of the operating system, of which
// thousands of requests would otherwise make thousands, until the runtime gives up. Twice the number of
// processors keeps all of them busy while results are handed back.
var slots = make(chan struct{}, 2*runtime.GOMAXPROCS(0))

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
	slots <- struct{}{}
	defer func() { <-slots }()
	out := make([]byte, l.size)
	n := C.lk_decrypt(l.pkey, padding, C.int(hash), first(in), C.size_t(len(in)), first(out), C.size_t(len(out)))
	runtime.KeepAlive(l)
	return result(out, n)
}

func (l *libcrypto) sign(padding C.int, hash int, in []byte) ([]byte, error) {
	slots <- struct{}{}
	defer func() { <-slots }()
	out := make([]byte, l.size)
	n := C.lk_sign(l.pkey, padding, C.int(hash), first(in), C.size_t(len(in)), first(out), C.size_t(len(out)))
	runtime.KeepAlive(l)
	return result(out, n)
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
