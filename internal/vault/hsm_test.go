package vault_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"math/big"
	"slices"
	"testing"

	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// token is a token in memory that can be away.
type token struct {
	keys map[string]material.Key
	away bool
}

var paramsOf = map[pkcs11.KeyType]material.Params{
	pkcs11.RSA2048: {Type: material.RSA, Bits: 2048}, pkcs11.P256: {Type: material.EC, Curve: material.P256}, pkcs11.AES256: {Type: material.Oct, Bits: 256},
	pkcs11.Secp256k1: {Type: material.EC, Curve: material.P256K},
}

func (k *token) Generate(_ context.Context, id []byte, _ string, kind pkcs11.KeyType) (crypto.PublicKey, error) {
	p, ok := paramsOf[kind]
	if k.away || !ok {
		return nil, pkcs11.ErrUnavailable
	}
	key, err := material.Generate(p)
	if err != nil {
		return nil, err
	}
	k.keys[string(id)] = key
	j := key.Public()
	switch kind {
	case pkcs11.RSA2048:
		return &rsa.PublicKey{N: new(big.Int).SetBytes(j.N), E: int(new(big.Int).SetBytes(j.E).Int64())}, nil
	case pkcs11.P256:
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, j.X, j.Y))
	case pkcs11.Secp256k1:
		return pkcs11.PublicSecp256k1(slices.Concat([]byte{4}, j.X, j.Y)), nil
	}
	return nil, nil
}

func (k *token) Import(_ context.Context, id []byte, _ string, key any) error {
	s, ok := key.(*secret.Bytes)
	if k.away || !ok {
		return pkcs11.ErrMechanism
	}
	made, err := material.Import(material.JWK{Type: material.Oct, K: bytes.Clone(s.Reveal())})
	k.keys[string(id)] = made
	return err
}

func (k *token) Destroy(_ context.Context, id []byte) error {
	if k.away {
		return pkcs11.ErrUnavailable
	}
	delete(k.keys, string(id))
	return nil
}

func (k *token) run(id []byte, op material.Operation, in material.Input) (material.Output, error) {
	key, ok := k.keys[string(id)]
	if k.away || !ok {
		return material.Output{}, pkcs11.ErrUnavailable
	}
	out, err := key.Run(op, in)
	if err != nil {
		return out, pkcs11.ErrInput
	}
	return out, nil
}

func (k *token) DecryptRSA(_ context.Context, id []byte, p pkcs11.Padding, value []byte) ([]byte, error) {
	alg := map[pkcs11.Padding]string{pkcs11.PKCS1v15: "RSA1_5", pkcs11.OAEPSHA1: "RSA-OAEP", pkcs11.OAEPSHA256: "RSA-OAEP-256"}[p]
	out, err := k.run(id, material.Decrypt, material.Input{Algorithm: alg, Value: value})
	return out.Value, err
}

func (k *token) SignRSA(_ context.Context, id []byte, scheme pkcs11.SignatureScheme, h crypto.Hash, digest []byte) ([]byte, error) {
	alg := map[pkcs11.SignatureScheme]string{pkcs11.SignPKCS1v15: "RS", pkcs11.SignPSS: "PS"}[scheme] + h.String()[4:]
	out, err := k.run(id, material.Sign, material.Input{Algorithm: alg, Value: digest})
	return out.Value, err
}

func (k *token) SignECDSA(_ context.Context, id, digest []byte) ([]byte, error) {
	alg := "ES256"
	if key, ok := k.keys[string(id)]; ok && key.Params().Curve == material.P256K {
		alg = "ES256K"
	}
	out, err := k.run(id, material.Sign, material.Input{Algorithm: alg, Value: digest})
	return out.Value, err
}

func (k *token) WrapAES(_ context.Context, id, key []byte) ([]byte, error) {
	out, err := k.run(id, material.Wrap, material.Input{Algorithm: "A256KW", Value: key})
	return out.Value, err
}

func (k *token) UnwrapAES(_ context.Context, id, wrapped []byte) ([]byte, error) {
	out, err := k.run(id, material.Unwrap, material.Input{Algorithm: "A256KW", Value: wrapped})
	return out.Value, err
}

func (*token) SealGCM(_ context.Context, _, _, _, _ []byte) ([]byte, error) {
	return nil, pkcs11.ErrMechanism
}
func (*token) OpenGCM(_ context.Context, _, _, _, _ []byte) ([]byte, error) {
	return nil, pkcs11.ErrMechanism
}

func (k *token) EncryptCBC(_ context.Context, id, iv, text []byte, pad bool) ([]byte, error) {
	out, err := k.run(id, material.Encrypt, material.Input{Algorithm: cbc(pad), IV: iv, Value: text})
	return out.Value, err
}

func (k *token) DecryptCBC(_ context.Context, id, iv, text []byte, pad bool) ([]byte, error) {
	out, err := k.run(id, material.Decrypt, material.Input{Algorithm: cbc(pad), IV: iv, Value: text})
	return out.Value, err
}

func cbc(pad bool) string {
	if pad {
		return "A256CBCPAD"
	}
	return "A256CBC"
}

// trial is an operation with its way back.
type trial struct {
	key, alg string
	op, undo material.Operation
}

var trials = []trial{
	{"rsa", "RSA-OAEP-256", material.Wrap, material.Unwrap}, {"rsa", "RSA1_5", material.Encrypt, material.Decrypt},
	{"rsa", "PS256", material.Sign, material.Verify}, {"rsa", "RS512", material.Sign, material.Verify},
	{"ec", "ES256", material.Sign, material.Verify}, {"k", "ES256K", material.Sign, material.Verify},
	{"oct", "A256KW", material.Wrap, material.Unwrap}, {"oct", "A256CBCPAD", material.Encrypt, material.Decrypt},
}

// there and back.
func (w *world) try(x trial) error {
	text := bytes.Repeat([]byte{5}, 32)
	if x.alg == "RS512" {
		text = bytes.Repeat([]byte{5}, 64)
	}
	out, err := w.svc.Crypt(ctx, user, "kv1", x.key, "", x.op, material.Input{Algorithm: x.alg, Value: text})
	if err != nil {
		return err
	}
	in := material.Input{Algorithm: x.alg, Value: out.Value, IV: out.IV, Digest: text}
	back, err := w.svc.Crypt(ctx, user, "kv1", x.key, "", x.undo, in)
	if err == nil && !back.Valid && !bytes.Equal(back.Value, text) {
		return errors.New("not the same")
	}
	return err
}

// TestKeysInToken: keys of the types that end in -HSM live in the token; what needs it waits for it, and a
// purge leaves nothing there.
func TestKeysInToken(t *testing.T) {
	hsm := &token{keys: map[string]material.Key{}}
	w := newWorld(t)
	w.token = hsm
	w.restart()
	w.put("kv1", spec(policy(alice, "all", "rotate", "purge")))
	for name, s := range map[string]vault.KeySpec{"rsa": {KTY: "RSA-HSM"}, "ec": {KTY: "EC-HSM"}, "k": {KTY: "EC-HSM", Curve: material.P256K}, "oct": {KTY: "oct-HSM"}} {
		k, err := w.svc.CreateKey(ctx, user, "kv1", name, s)
		want(t, err, "")
		if !k.InToken {
			t.Errorf("%s is not in the token", name)
		}
		_, err = w.svc.RotateKey(ctx, user, "kv1", name)
		want(t, err, "")
	}
	imported, err := w.svc.ImportKey(ctx, user, "kv1", "brought", vault.KeySpec{KTY: "oct-HSM"}, material.JWK{K: make([]byte, 32)})
	if want(t, err, ""); !imported.InToken || len(hsm.keys) != 9 {
		t.Errorf("%d keys in the token; brought: %+v", len(hsm.keys), imported)
	}
	_, err = w.svc.ImportKey(ctx, user, "kv1", "refused", vault.KeySpec{KTY: "RSA-HSM"}, testJWK())
	want(t, err, "BadParameter")
	software, err := w.svc.CreateKey(ctx, user, "kv1", "soft", vault.KeySpec{KTY: "EC"})
	if want(t, err, ""); software.InToken {
		t.Error("a software key is in the token")
	}
	_, err = w.svc.BackUpKey(ctx, user, "kv1", "ec")
	want(t, err, "BadParameter")

	w.restart()
	for _, x := range trials {
		if err := w.try(x); err != nil {
			t.Errorf("%+v: %v", x, err)
		}
	}
	hsm.away = true
	for _, x := range trials {
		want(t, w.try(x), "HsmUnavailable")
	}
	_, err = w.svc.Crypt(ctx, user, "kv1", "rsa", "", material.Wrap, material.Input{Algorithm: "RSA-OAEP", Value: []byte("x")})
	want(t, err, "") // the public half is here
	_, err = w.svc.CreateKey(ctx, user, "kv1", "late", vault.KeySpec{KTY: "EC-HSM"})
	want(t, err, "HsmUnavailable")
	_, err = w.svc.DeleteKey(ctx, user, "kv1", "ec")
	want(t, err, "")
	want(t, w.svc.PurgeKey(ctx, user, "kv1", "ec"), "HsmUnavailable")
	hsm.away = false
	want(t, w.svc.PurgeKey(ctx, user, "kv1", "ec"), "")
	if len(hsm.keys) != 7 {
		t.Errorf("%d keys in the token after a purge of two versions", len(hsm.keys))
	}

	w.token = nil
	w.restart()
	want(t, w.try(trials[0]), "HsmUnavailable")
	_, err = w.svc.DeleteKey(ctx, user, "kv1", "k")
	want(t, err, "")
	w.now = w.now.AddDate(1, 0, 0) // overdue, and nobody can erase it
	_, err = w.svc.CreateKey(ctx, user, "kv1", "other", vault.KeySpec{KTY: "EC"})
	want(t, err, "")
	w.token = hsm
	w.restart()
	want(t, w.svc.Sweep(ctx, w.now), "")
	if len(hsm.keys) != 5 {
		t.Errorf("%d keys in the token after a sweep", len(hsm.keys))
	}
}
