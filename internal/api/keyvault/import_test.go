package keyvault_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
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
