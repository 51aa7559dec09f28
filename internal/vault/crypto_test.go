package vault_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// TestOpenSSL: OpenSSL opens what the vault wraps, and the vault what OpenSSL wraps; the same for signatures.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	w.key("kv1", "k1")
	dir := t.TempDir()
	der, err := x509.MarshalPKCS8PrivateKey(testKey())
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := file("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	openssl := func(in []byte, args ...string) []byte {
		cmd := exec.Command("openssl", append([]string{"pkeyutl", "-inkey", key, "-in", file("in", in)}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("openssl %v: %v: %s", args, err, out)
		}
		return out
	}
	plain := []byte("0123456789abcdef0123456789abcdef")
	for alg, options := range map[string]string{
		"RSA-OAEP":     "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1",
		"RSA-OAEP-256": "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256",
		"RSA1_5":       "-pkeyopt rsa_padding_mode:pkcs1",
	} {
		ours, err := w.svc.Crypt(ctx, user, "kv1", "k1", "", material.Wrap, material.Input{Algorithm: alg, Value: plain})
		if err != nil {
			t.Fatal(alg, err)
		}
		if got := openssl(ours.Value, append([]string{"-decrypt"}, strings.Fields(options)...)...); !bytes.Equal(got, plain) {
			t.Errorf("%s: openssl opens %q", alg, got)
		}
		theirs := openssl(plain, append([]string{"-encrypt"}, strings.Fields(options)...)...)
		got, err := w.svc.Crypt(ctx, user, "kv1", "k1", "", material.Unwrap, material.Input{Algorithm: alg, Value: theirs})
		if err != nil || !bytes.Equal(got.Value, plain) {
			t.Errorf("%s: we open %q %v", alg, got.Value, err)
		}
	}
	for alg, options := range map[string]string{
		"RS256": "-pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pkcs1",
		"PS256": "-pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pss -pkeyopt rsa_pss_saltlen:32",
	} {
		signed := openssl(plain, append([]string{"-sign"}, strings.Fields(options)...)...)
		ok, err := w.svc.Crypt(ctx, user, "kv1", "k1", "", material.Verify, material.Input{Algorithm: alg, Digest: plain, Value: signed})
		if err != nil || !ok.Valid {
			t.Errorf("%s: openssl's signature: %v %v", alg, ok.Valid, err)
		}
	}
}

// TestSignatures: each algorithm verifies what it signed, with its own digest length only.
func TestSignatures(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	w.key("kv1", "k1")
	run := func(op material.Operation, in material.Input) (vault.Result, error) {
		return w.svc.Crypt(ctx, user, "kv1", "k1", "", op, in)
	}
	for alg, size := range map[string]int{"RS256": 32, "RS384": 48, "RS512": 64, "PS256": 32, "PS384": 48, "PS512": 64, "RSNULL": 51} {
		digest := bytes.Repeat([]byte{7}, size)
		s, err := run(material.Sign, material.Input{Algorithm: alg, Value: digest})
		if err != nil {
			t.Fatal(alg, err)
		}
		v, err := run(material.Verify, material.Input{Algorithm: alg, Digest: digest, Value: s.Value})
		if err != nil || !v.Valid {
			t.Errorf("%s: %v %v", alg, v.Valid, err)
		}
		s.Value[0] ^= 1
		if v, err = run(material.Verify, material.Input{Algorithm: alg, Digest: digest, Value: s.Value}); err != nil || v.Valid {
			t.Errorf("%s, changed: %v %v", alg, v.Valid, err)
		}
		if alg == "RSNULL" {
			continue
		}
		_, err = run(material.Sign, material.Input{Algorithm: alg, Value: digest[1:]})
		want(t, err, "BadParameter")
		_, err = run(material.Verify, material.Input{Algorithm: alg, Digest: digest[1:], Value: s.Value})
		want(t, err, "BadParameter")
	}
}

// TestDecryptSaysNothing: whatever is wrong with a cipher text, the answer is the same.
func TestDecryptSaysNothing(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	w.key("kv1", "k1")
	for _, alg := range []string{"RSA-OAEP", "RSA-OAEP-256", "RSA1_5"} {
		good, err := w.svc.Crypt(ctx, user, "kv1", "k1", "", material.Encrypt, material.Input{Algorithm: alg, Value: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		flipped := bytes.Clone(good.Value)
		flipped[100] ^= 1
		answers := map[string]bool{}
		for _, value := range [][]byte{nil, {1}, flipped, good.Value[1:], append(bytes.Clone(good.Value), 0), make([]byte, 256), bytes.Repeat([]byte{0xff}, 256)} {
			_, err := w.svc.Crypt(ctx, user, "kv1", "k1", "", material.Decrypt, material.Input{Algorithm: alg, Value: value})
			want(t, err, "BadParameter")
			answers[fmt.Sprint(err)] = true
		}
		if len(answers) != 1 {
			t.Errorf("%s: %d different answers: %v", alg, len(answers), answers)
		}
	}
}

// TestRefusedParameters: types, sizes, algorithms and values that are not served.
func TestRefusedParameters(t *testing.T) {
	w := newWorld(t)
	w.put("kv1", spec(policy(alice, "all")))
	w.key("kv1", "k1")
	tags := map[string]string{}
	for i := range 16 {
		tags[fmt.Sprint(i)] = ""
	}
	for _, s := range []vault.KeySpec{
		{}, {KTY: "XYZ"}, {KTY: "RSA", Size: 1024}, {KTY: "RSA", Size: 2049}, {KTY: "RSA", Size: -1}, {KTY: "RSA", PublicExponent: 3},
		{KTY: "EC", Curve: "P-224"}, {KTY: "EC", Ops: []string{"wrapKey"}}, {KTY: "oct", Size: 64},
		{KTY: "RSA", Ops: []string{"fly"}}, {KTY: "RSA", Ops: []string{"WRAPKEY"}}, {KTY: "RSA", Exportable: ptr(true)}, {KTY: "RSA", Release: &vault.ReleasePolicy{}},
		{KTY: "RSA", Change: vault.Change{Tags: tags}}, {KTY: "RSA", Change: vault.Change{Tags: map[string]string{"a": strings.Repeat("x", 257)}}},
		{KTY: "RSA", Change: vault.Change{NotBefore: ptr(int64(5)), Expires: ptr(int64(5))}}, {KTY: "RSA", Change: vault.Change{NotBefore: ptr(int64(-1))}},
	} {
		_, err := w.svc.CreateKey(ctx, user, "kv1", "k2", s)
		want(t, err, "BadParameter")
	}
	for _, name := range []string{"a b", "ä", "a_b", strings.Repeat("a", 128), "a/b"} {
		_, err := w.svc.CreateKey(ctx, user, "kv1", name, vault.KeySpec{KTY: "RSA"})
		want(t, err, "BadParameter")
	}
	for _, in := range []material.Input{{Algorithm: "", Value: []byte("x")}, {Algorithm: "A128KW"}, {Algorithm: "rsa-oaep"}, {Algorithm: "RSA-OAEP", Value: make([]byte, 215)}, {Algorithm: "RSA1_5", Value: make([]byte, 246)}} {
		_, err := w.svc.Crypt(ctx, user, "kv1", "k1", "", material.Encrypt, in)
		want(t, err, "BadParameter")
	}
	_, err := w.svc.ImportKey(ctx, user, "kv1", "k2", vault.KeySpec{KTY: "RSA"}, material.JWK{})
	want(t, err, "BadParameter")
	broken := testJWK()
	broken.E = []byte{5}
	_, err = w.svc.ImportKey(ctx, user, "kv1", "k2", vault.KeySpec{KTY: "RSA"}, broken)
	want(t, err, "BadParameter")
	_, err = w.svc.Key(ctx, user, "kv1", "k1", "not-a-version")
	want(t, err, "BadParameter")
	_, err = w.svc.Key(ctx, user, "kv1", "k1", strings.Repeat("0", 32))
	want(t, err, "KeyNotFound")
}
