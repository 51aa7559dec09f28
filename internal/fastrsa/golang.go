package fastrsa

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
)

// golang is the standard library's implementation.
type golang struct{ key *rsa.PrivateKey }

func newGolang(k *rsa.PrivateKey) (engine, error) { return golang{k}, nil }

func (g golang) decryptOAEP(h crypto.Hash, ciphertext []byte) ([]byte, error) {
	return rsa.DecryptOAEP(h.New(), nil, g.key, ciphertext, nil)
}

func (g golang) decryptPKCS1v15(ciphertext []byte) ([]byte, error) {
	//lint:ignore SA1019 RSA1_5 is part of the protocol; the caller chooses it
	return rsa.DecryptPKCS1v15(nil, g.key, ciphertext)
}

func (g golang) signPKCS1v15(h crypto.Hash, digest []byte) ([]byte, error) {
	return rsa.SignPKCS1v15(nil, g.key, h, digest)
}

func (g golang) signPSS(h crypto.Hash, digest []byte) ([]byte, error) {
	return rsa.SignPSS(rand.Reader, g.key, h, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
}
