package keyvault_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"

	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// importBody is the body that imports a fresh key.
var importBody = func() string {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	b := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	raw, err := json.Marshal(map[string]any{"key": map[string]any{"kty": "RSA", "n": b(k.N), "e": b(big.NewInt(int64(k.E))),
		"d": b(k.D), "p": b(k.Primes[0]), "q": b(k.Primes[1])}})
	if err != nil {
		panic(err)
	}
	return string(raw)
}()

// keyWithRSA is a fresh RSA key in parts.
func keyWithRSA() (material.JWK, error) {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return material.JWK{}, err
	}
	return material.JWK{N: k.N.Bytes(), E: big.NewInt(int64(k.E)).Bytes(), D: k.D.Bytes(), P: k.Primes[0].Bytes(), Q: k.Primes[1].Bytes()}, nil
}
