package material_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/latchkey-db/latchkey/internal/vault/material"
)

// openSSL runs the program in a directory of its own.
type openSSL struct {
	*testing.T
	dir string
}

func newOpenSSL(t *testing.T) openSSL {
	t.Helper()
	out, err := exec.Command("openssl", "version").Output()
	if err != nil || !strings.HasPrefix(string(out), "OpenSSL 3.") {
		t.Skipf("OpenSSL 3 is not installed: %s%v", out, err)
	}
	return openSSL{t, t.TempDir()}
}

// file writes a file and returns its path.
func (o openSSL) file(name string, content []byte) string {
	o.Helper()
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		o.Fatal(err)
	}
	return path
}

// run gives in to a command, whose words are separated by blanks, and returns what it says.
func (o openSSL) run(in []byte, format string, args ...any) []byte {
	o.Helper()
	out, err := o.try(in, format, args...)
	if err != nil {
		o.Fatalf("openssl "+format+": %v", append(args, err)...)
	}
	return out
}

func (o openSSL) try(in []byte, format string, args ...any) ([]byte, error) {
	cmd := exec.Command("openssl", strings.Fields(fmt.Sprintf(format, args...))...)
	cmd.Dir, cmd.Stdin = o.dir, bytes.NewReader(in)
	return cmd.Output()
}

// must carries out an operation.
func (o openSSL) must(k Key, op Operation, in Input) Output {
	o.Helper()
	out, err := k.Run(op, in)
	if err != nil {
		o.Fatalf("%s %s: %v", op, in.Algorithm, err)
	}
	return out
}

// TestOpenSSLRSA: each side opens what the other encrypts, and verifies what it signs, for every algorithm.
func TestOpenSSLRSA(t *testing.T) {
	o := newOpenSSL(t)
	o.run(nil, "genrsa -out rsa.pem 2048")
	key := o.importRSA("rsa.pem")
	for alg, options := range map[string]string{
		"RSA-OAEP":     "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha1 -pkeyopt rsa_mgf1_md:sha1",
		"RSA-OAEP-256": "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256",
		"RSA1_5":       "-pkeyopt rsa_padding_mode:pkcs1",
	} {
		plain := []byte("plain " + alg)
		sealed := o.must(key, Encrypt, Input{Algorithm: alg, Value: plain}).Value
		if got := o.run(sealed, "pkeyutl -decrypt -inkey rsa.pem %s", options); !bytes.Equal(got, plain) {
			t.Errorf("%s: openssl opens %q", alg, got)
		}
		if got := o.must(key, Decrypt, Input{Algorithm: alg, Value: o.run(plain, "pkeyutl -encrypt -inkey rsa.pem %s", options)}).Value; !bytes.Equal(got, plain) {
			t.Errorf("%s: we open %q", alg, got)
		}
	}
	for alg, size := range map[string]int{"RS256": 32, "RS384": 48, "RS512": 64, "PS256": 32, "PS384": 48, "PS512": 64, "RSNULL": 20} {
		options := "-pkeyopt rsa_padding_mode:pkcs1"
		if bits, ok := strings.CutPrefix(alg, "RS"); ok && bits != "NULL" {
			options += " -pkeyopt digest:sha" + bits
		}
		if bits, ok := strings.CutPrefix(alg, "PS"); ok {
			options = fmt.Sprintf("-pkeyopt rsa_padding_mode:pss -pkeyopt digest:sha%s -pkeyopt rsa_pss_saltlen:%d", bits, size)
		}
		o.signatures(key, "rsa.pem", alg, size, options, func(s []byte) []byte { return s }, func(s []byte) []byte { return s })
	}
	digest := bytes.Repeat([]byte{7}, 32)
	salted := o.run(digest, "pkeyutl -sign -inkey rsa.pem -pkeyopt rsa_padding_mode:pss -pkeyopt digest:sha256 -pkeyopt rsa_pss_saltlen:20")
	if o.must(key, Verify, Input{Algorithm: "PS256", Digest: digest, Value: salted}).Valid {
		t.Error("PS256: a salt of another length than the hash's is accepted")
	}
}

// signatures: each side verifies what the other signs; neither verifies it for another digest. raw and
// der change openssl's form of a signature into ours and back.
func (o openSSL) signatures(key Key, file, alg string, size int, options string, raw, der func([]byte) []byte) {
	o.Helper()
	digest, other := bytes.Repeat([]byte{7}, size), bytes.Repeat([]byte{8}, size)
	o.file("signature", der(o.must(key, Sign, Input{Algorithm: alg, Value: digest}).Value))
	o.run(digest, "pkeyutl -verify -inkey %s -sigfile signature %s", file, options)
	if out, err := o.try(other, "pkeyutl -verify -inkey %s -sigfile signature %s", file, options); err == nil {
		o.Errorf("%s: openssl verifies it for another digest: %s", alg, out)
	}
	theirs := raw(o.run(digest, "pkeyutl -sign -inkey %s %s", file, options))
	if !o.must(key, Verify, Input{Algorithm: alg, Digest: digest, Value: theirs}).Valid {
		o.Errorf("%s: openssl's signature is not good", alg)
	}
	if o.must(key, Verify, Input{Algorithm: alg, Digest: other, Value: theirs}).Valid {
		o.Errorf("%s: openssl's signature is good for another digest", alg)
	}
}

// importRSA imports the key in a file, with the least members that an import needs.
func (o openSSL) importRSA(file string) Key {
	o.Helper()
	parsed, err := x509.ParsePKCS8PrivateKey(o.run(nil, "pkcs8 -topk8 -nocrypt -in %s -outform DER", file))
	if err != nil {
		o.Fatal(err)
	}
	k := parsed.(*rsa.PrivateKey)
	return o.imported(JWK{Type: RSA, N: k.N.Bytes(), E: big.NewInt(int64(k.E)).Bytes(), D: k.D.Bytes()})
}

func (o openSSL) imported(j JWK) Key {
	o.Helper()
	k, err := Import(j)
	if err != nil {
		o.Fatal(err)
	}
	return k
}

// sec1 is a private key on a curve (RFC 5915).
type sec1 struct {
	Version    int
	PrivateKey []byte
	Curve      asn1.ObjectIdentifier `asn1:"optional,explicit,tag:0"`
	PublicKey  asn1.BitString        `asn1:"optional,explicit,tag:1"`
}

// TestOpenSSLEC: openssl's keys are imported, its signatures verify here, and ours there; keys that are made
// here are openssl's too.
func TestOpenSSLEC(t *testing.T) {
	o := newOpenSSL(t)
	for _, c := range []struct {
		curve, name, alg string
		size, hash       int
	}{
		{P256, "prime256v1", "ES256", 32, 32}, {P256K, "secp256k1", "ES256K", 32, 32}, {P384, "secp384r1", "ES384", 48, 48}, {P521, "secp521r1", "ES512", 66, 64},
	} {
		raw := func(der []byte) []byte {
			var s struct{ R, S *big.Int }
			if _, err := asn1.Unmarshal(der, &s); err != nil {
				t.Fatal(err)
			}
			out := make([]byte, 2*c.size)
			s.R.FillBytes(out[:c.size])
			s.S.FillBytes(out[c.size:])
			return out
		}
		der := func(raw []byte) []byte {
			out, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:c.size]), new(big.Int).SetBytes(raw[c.size:])})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		theirs := o.run(nil, "ecparam -name %s -genkey -noout -outform DER", c.name)
		var parsed sec1
		if _, err := asn1.Unmarshal(theirs, &parsed); err != nil {
			t.Fatal(err)
		}
		point := parsed.PublicKey.Bytes
		key := o.imported(JWK{Type: EC, Curve: c.curve, D: parsed.PrivateKey, X: point[1 : 1+c.size], Y: point[1+c.size:]})
		o.file("theirs.der", theirs)
		o.signatures(key, "theirs.der", c.alg, c.hash, "", raw, der)

		made, err := Generate(Params{Type: EC, Curve: c.curve})
		if err != nil {
			t.Fatal(err)
		}
		o.file("ours.der", o.sec1(made, parsed.Curve))
		o.signatures(made, "ours.der", c.alg, c.hash, "", raw, der)
	}
}

// sec1 is a key that was made here in openssl's form, without its public part: openssl finds that itself.
func (o openSSL) sec1(k Key, curve asn1.ObjectIdentifier) []byte {
	o.Helper()
	scalar, err := k.Private()
	if err != nil {
		o.Fatal(err)
	}
	if parsed, err := x509.ParsePKCS8PrivateKey(scalar); err == nil {
		if scalar, err = parsed.(*ecdsa.PrivateKey).Bytes(); err != nil {
			o.Fatal(err)
		}
	}
	out, err := asn1.Marshal(sec1{Version: 1, PrivateKey: scalar, Curve: curve})
	if err != nil {
		o.Fatal(err)
	}
	return out
}

// TestOpenSSLAES: key wrap, CBC and HMAC give the same bytes on both sides; GCM opens in both directions.
func TestOpenSSLAES(t *testing.T) {
	o := newOpenSSL(t)
	for _, size := range []int{128, 192, 256} {
		secret := make([]byte, size/8)
		rand.Read(secret)
		key := oct(t, secret)
		name := func(form string) string { return fmt.Sprintf(form, size) }
		iv := "000102030405060708090a0b0c0d0e0f"
		for _, c := range []struct {
			alg       string
			seal      Operation
			mode, iv  string // openssl's
			ours      []byte // the iv of Input
			text      string
			alternate string // another name of the algorithm
		}{
			{alg: name("A%dKW"), seal: Wrap, mode: name("id-aes%d-wrap"), iv: "a6a6a6a6a6a6a6a6", text: "a key with twenty-four b", alternate: "CKM_AES_KEY_WRAP"},
			{alg: "CKM_AES_KEY_WRAP_PAD", seal: Wrap, mode: name("id-aes%d-wrap-pad"), iv: "a65959a6", text: "odd"},
			{alg: "CKM_AES_KEY_WRAP_PAD", seal: Wrap, mode: name("id-aes%d-wrap-pad"), iv: "a65959a6", text: "longer than two semiblocks"},
			{alg: name("A%dCBC"), seal: Encrypt, mode: name("aes-%d-cbc -nopad"), iv: iv, ours: unhex(t, iv), text: "sixteen bytes...and sixteen more"},
			{alg: name("A%dCBCPAD"), seal: Encrypt, mode: name("aes-%d-cbc"), iv: iv, ours: unhex(t, iv), text: "any number of bytes"},
		} {
			open := map[Operation]Operation{Wrap: Unwrap, Encrypt: Decrypt}[c.seal]
			theirs := o.run([]byte(c.text), "enc -%s -K %x -iv %s", c.mode, secret, c.iv)
			for _, alg := range []string{c.alg, c.alternate} {
				if alg == "" {
					continue
				}
				if got := o.must(key, c.seal, Input{Algorithm: alg, Value: []byte(c.text), IV: c.ours}).Value; !bytes.Equal(got, theirs) {
					t.Errorf("%s: %x, openssl %x", alg, got, theirs)
				}
				if got := o.must(key, open, Input{Algorithm: alg, Value: theirs, IV: c.ours}).Value; string(got) != c.text {
					t.Errorf("%s: we open %q", alg, got)
				}
			}
		}
		for bits, length := range map[string]int{"256": 32, "384": 48, "512": 64} {
			digest := bytes.Repeat([]byte{9}, length)
			theirs := unhex(t, string(o.run(digest, "mac -digest SHA%s -macopt hexkey:%x -in - HMAC", bits, secret)))
			if got := o.must(key, Sign, Input{Algorithm: "HS" + bits, Value: digest}).Value; !bytes.Equal(got, theirs) {
				t.Errorf("HS%s: %x, openssl %x", bits, got, theirs)
			}
		}
		o.gcm(size, secret, key)
	}
}

// envelope is the part of a message in AuthEnvelopedData (RFC 5083, RFC 5084) that these tests need.
type envelope struct {
	Type    asn1.ObjectIdentifier
	Content struct {
		Version    int
		Recipients []asn1.RawValue `asn1:"set"`
		Encrypted  struct {
			Type      asn1.ObjectIdentifier
			Algorithm struct {
				ID         asn1.ObjectIdentifier
				Parameters struct {
					Nonce []byte
					Size  int
				}
			}
			Text []byte `asn1:"tag:0"`
		}
		MAC []byte
	} `asn1:"explicit,tag:0"`
}

// recipient is the key of a message, wrapped under a key that both sides know.
type recipient struct {
	Version   int
	ID        struct{ ID []byte }
	Algorithm struct{ ID asn1.ObjectIdentifier }
	Wrapped   []byte
}

// gcm: openssl's command line has no GCM but in messages. One is opened here; then ours takes the place of
// its text, nonce and tag, and openssl opens it.
func (o openSSL) gcm(size int, secret []byte, key Key) {
	o.Helper()
	message := o.run([]byte("what openssl says"), "cms -encrypt -binary -aes-%d-gcm -secretkey %x -secretkeyid 01 -outform DER", size, secret)
	var e envelope
	if _, err := asn1.Unmarshal(message, &e); err != nil || len(e.Content.Recipients) != 1 {
		o.Fatalf("openssl's message: %v", err)
	}
	var to recipient
	if _, err := asn1.UnmarshalWithParams(e.Content.Recipients[0].FullBytes, &to, "tag:2"); err != nil {
		o.Fatal(err)
	}
	once := oct(o, o.must(key, Unwrap, Input{Algorithm: fmt.Sprintf("A%dKW", size), Value: to.Wrapped}).Value)
	alg, in := fmt.Sprintf("A%dGCM", size), e.Content.Encrypted
	nonce, text, tag := in.Algorithm.Parameters.Nonce, in.Text, e.Content.MAC
	if got := o.must(once, Decrypt, Input{Algorithm: alg, Value: text, IV: nonce, Tag: tag}).Value; string(got) != "what openssl says" {
		o.Errorf("%s: we open %q", alg, got)
	}
	ours := o.must(once, Encrypt, Input{Algorithm: alg, Value: []byte("what we say to it")})
	for old, changed := range map[*[]byte][]byte{&nonce: ours.IV, &text: ours.Value, &tag: ours.Tag} {
		if len(*old) != len(changed) || bytes.Count(message, *old) != 1 {
			o.Fatalf("%x does not take the place of %x", changed, *old)
		}
		message = bytes.Replace(message, *old, changed, 1)
	}
	if got := o.run(message, "cms -decrypt -binary -inform DER -secretkey %x -secretkeyid 01", secret); string(got) != "what we say to it" {
		o.Errorf("%s: openssl opens %q", alg, got)
	}
}
