package material_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"strings"
	"testing"

	. "github.com/latchkey-db/latchkey/internal/vault/material"
)

// vector is a published signature; binary members are base64url, those of the key as in a JWK.
type vector struct {
	Source, Alg, Digest, Signature string
	Key                            map[string]string
	Valid                          bool
}

func (v vector) jwk(t *testing.T) JWK {
	return JWK{
		Type: Type(v.Key["kty"]), Curve: v.Key["crv"], N: raw(t, v.Key["n"]), E: raw(t, v.Key["e"]), D: raw(t, v.Key["d"]),
		P: raw(t, v.Key["p"]), Q: raw(t, v.Key["q"]), DP: raw(t, v.Key["dp"]), DQ: raw(t, v.Key["dq"]), QI: raw(t, v.Key["qi"]),
		X: raw(t, v.Key["x"]), Y: raw(t, v.Key["y"]), K: raw(t, v.Key["k"]),
	}
}

func raw(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSignatureVectors: signatures of NIST, RFC 4868, RFC 7520 and others verify, or do not, as published;
// where a signature has one value only, it is made again.
func TestSignatureVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, v := range all {
		k, err := Import(v.jwk(t))
		if err != nil {
			t.Fatalf("%d (%s): %v", i, v.Source, err)
		}
		seen[v.Alg] = true
		digest, signature := raw(t, v.Digest), raw(t, v.Signature)
		out, err := k.Run(Verify, Input{Algorithm: v.Alg, Digest: digest, Value: signature})
		if err != nil || out.Valid != v.Valid {
			t.Errorf("%d (%s) %s: %v, %v; want %v", i, v.Source, v.Alg, out.Valid, err, v.Valid)
		}
		if !v.Valid || !strings.HasPrefix(v.Alg, "RS") && !strings.HasPrefix(v.Alg, "HS") {
			continue
		}
		if out, err = k.Run(Sign, Input{Algorithm: v.Alg, Value: digest}); err != nil || !bytes.Equal(out.Value, signature) {
			t.Errorf("%d (%s) %s: signed %x, %v", i, v.Source, v.Alg, out.Value, err)
		}
	}
	for _, alg := range strings.Fields("RS256 RS384 RS512 PS384 ES256 ES256K ES384 ES512 HS256") {
		if !seen[alg] {
			t.Errorf("no vector of %s", alg)
		}
	}
}
