package pkcs11

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"math/big"
)

// maxID bounds a CKA_ID, and maxFound how many objects can share one.
const (
	maxID    = 255
	maxFound = 16
)

func checkID(id []byte) error {
	if len(id) == 0 || len(id) > maxID {
		return ErrInput
	}
	return nil
}

// secretAttributes are of every key that computes: it stays in the token.
func secretAttributes(id []byte, label string) []attribute {
	return []attribute{
		{attrToken, true}, {attrPrivate, true}, {attrSensitive, true}, {attrExtractable, false}, {attrID, id}, {attrLabel, label},
	}
}

// publicAttributes are of every public key.
func publicAttributes(id []byte, label string) []attribute {
	return []attribute{{attrToken, true}, {attrPrivate, false}, {attrID, id}, {attrLabel, label}}
}

// usage says what a key of a family may be used for: everything that it can.
func usage(family, class uint) []attribute {
	switch {
	case family == keyEC && class == objectPrivate:
		return []attribute{{attrSign, true}}
	case family == keyEC:
		return []attribute{{attrVerify, true}}
	case family == keyRSA && class == objectPrivate:
		return []attribute{{attrSign, true}, {attrDecrypt, true}, {attrUnwrap, true}}
	case family == keyRSA:
		return []attribute{{attrVerify, true}, {attrEncrypt, true}, {attrWrap, true}}
	}
	return []attribute{{attrEncrypt, true}, {attrDecrypt, true}, {attrWrap, true}, {attrUnwrap, true}}
}

func join(lists ...[]attribute) (out []attribute) {
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// Generate makes a key in the token, to be found again by id, and returns its public half: nil for a
// symmetric one. The label is for people.
func (t *Token) Generate(ctx context.Context, id []byte, label string, kind KeyType) (crypto.PublicKey, error) {
	x, err := kind.traits()
	if err != nil {
		return nil, err
	}
	err = t.add(ctx, id, func(s *session) error { return t.generate(s, id, label, x) })
	if err != nil || kind.Symmetric() {
		return nil, err
	}
	return t.Public(ctx, id)
}

func (t *Token) generate(s *session, id []byte, label string, x keyTraits) error {
	secret := join(secretAttributes(id, label), usage(x.family, x.class()))
	public := join(publicAttributes(id, label), usage(x.family, objectPublic))
	switch x.family {
	case keyAES:
		_, err := t.lib.generate(s.handle, mechanism{id: mechAESGenerate}, append(secret, attribute{attrValueLen, uint(x.bits / 8)}))
		return err
	case keyRSA:
		public = append(public, attribute{attrModulusBits, uint(x.bits)}, attribute{attrPublicExponent, []byte{1, 0, 1}})
		return t.lib.generatePair(s.handle, mechanism{id: mechRSAGenerate}, public, secret)
	}
	params, err := asn1.Marshal(x.oid)
	if err != nil {
		return err
	}
	err = t.lib.generatePair(s.handle, mechanism{id: mechECGenerate}, append(public, attribute{attrECParams, params}), secret)
	if is(err, codeGeneralError, codeFunctionFailed, codeAttributeValue, codeAttributeType, codeArgumentsBad) {
		return errors.Join(ErrMechanism, err) // how tokens say that they do not know a curve
	}
	return err
}

// Import puts a key into the token, to be found again by id: *rsa.PrivateKey with two primes,
// *ecdsa.PrivateKey, *[PrivateSecp256k1], or *secret.Bytes for AES. Not every token takes keys in.
func (t *Token) Import(ctx context.Context, id []byte, label string, key any) error {
	m, err := materialOf(key)
	if err != nil {
		return err
	}
	defer m.wipe()
	return t.add(ctx, id, func(s *session) error {
		x := types[m.kind]
		list := [][]attribute{join([]attribute{{attrClass, x.class()}, {attrKeyType, x.family}},
			secretAttributes(id, label), usage(x.family, x.class()), m.secret)}
		if !m.kind.Symmetric() {
			list = append(list, join([]attribute{{attrClass, objectPublic}, {attrKeyType, x.family}},
				publicAttributes(id, label), usage(x.family, objectPublic), m.public))
		}
		for _, template := range list {
			if _, err := t.lib.create(s.handle, template); err != nil {
				return refused(err)
			}
		}
		return nil
	})
}

// add makes the objects of a new key. When it fails nothing of the key stays, as far as the token lets it.
func (t *Token) add(ctx context.Context, id []byte, create func(*session) error) error {
	if err := checkID(id); err != nil {
		return err
	}
	begun := false
	err := t.do(ctx, func(s *session) error {
		found, err := t.lib.find(s.handle, []attribute{{attrID, id}}, maxFound)
		if err != nil {
			return err
		}
		if len(found) > 0 && !begun {
			return ErrExists
		}
		if err := t.remove(s, found); err != nil { // what the first try left
			return err
		}
		begun = true
		return create(s)
	})
	if err != nil && begun {
		_ = t.Destroy(context.WithoutCancel(ctx), id)
	}
	return err
}

// Destroy removes every object with the identifier. That there is none is no error.
func (t *Token) Destroy(ctx context.Context, id []byte) error {
	if err := checkID(id); err != nil {
		return err
	}
	defer t.forget(id)
	return t.do(ctx, func(s *session) error {
		found, err := t.lib.find(s.handle, []attribute{{attrID, id}}, maxFound)
		if err != nil {
			return err
		}
		return t.remove(s, found)
	})
}

func (t *Token) remove(s *session, objects []uint) error {
	for _, o := range objects {
		if err := t.lib.destroy(s.handle, o); err != nil {
			return err
		}
	}
	return nil
}

// Find returns the identifier of the key that computes with the label; [ErrAmbiguous] where several do.
func (t *Token) Find(ctx context.Context, label string) (id []byte, err error) {
	err = t.do(ctx, func(s *session) error {
		var found []uint
		for _, class := range []uint{objectSecret, objectPrivate} {
			some, err := t.lib.find(s.handle, []attribute{{attrClass, class}, {attrLabel, label}}, maxFound)
			if err != nil {
				return err
			}
			found = append(found, some...)
		}
		switch {
		case len(found) == 0:
			return ErrNotFound
		case len(found) > 1:
			return ErrAmbiguous
		}
		values, err := t.lib.attributes(s.handle, found[0], attrID)
		if err != nil {
			return err
		}
		id = values[0]
		return nil
	})
	return id, err
}

// Type returns the type of the key with an identifier.
func (t *Token) Type(ctx context.Context, id []byte) (kind KeyType, err error) {
	err = t.do(ctx, func(s *session) error {
		h, err := t.handle(s, objectSecret, id)
		if err == nil {
			kind, err = t.secretType(s, h)
			return err
		}
		if errors.Is(err, ErrNotFound) {
			_, kind, err = t.public(s, id)
		}
		return err
	})
	return kind, err
}

func (t *Token) secretType(s *session, h uint) (KeyType, error) {
	values, err := t.lib.attributes(s.handle, h, attrKeyType, attrValueLen)
	if err != nil {
		return 0, err
	}
	kind, ok := typeOf(number(values[0]), int(number(values[1]))*8, nil)
	if !ok {
		return 0, ErrMechanism
	}
	return kind, nil
}

// Public returns the public half of the key with an identifier: *rsa.PublicKey, *ecdsa.PublicKey, or
// [PublicSecp256k1].
func (t *Token) Public(ctx context.Context, id []byte) (key crypto.PublicKey, err error) {
	err = t.do(ctx, func(s *session) error {
		key, _, err = t.public(s, id)
		return err
	})
	return key, err
}

func (t *Token) public(s *session, id []byte) (crypto.PublicKey, KeyType, error) {
	h, err := t.handle(s, objectPublic, id)
	if err != nil {
		return nil, 0, err
	}
	values, err := t.lib.attributes(s.handle, h, attrKeyType)
	if err != nil {
		return nil, 0, err
	}
	switch number(values[0]) {
	case keyRSA:
		return t.publicRSA(s, h)
	case keyEC:
		return t.publicEC(s, h)
	}
	return nil, 0, ErrMechanism
}

func (t *Token) publicRSA(s *session, h uint) (crypto.PublicKey, KeyType, error) {
	values, err := t.lib.attributes(s.handle, h, attrModulus, attrPublicExponent)
	if err != nil {
		return nil, 0, err
	}
	n, e := new(big.Int).SetBytes(values[0]), new(big.Int).SetBytes(values[1])
	kind, ok := typeOf(keyRSA, n.BitLen(), nil)
	if !ok || !e.IsInt64() || e.Int64() > 1<<31-1 {
		return nil, 0, ErrMechanism
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, kind, nil
}

func (t *Token) publicEC(s *session, h uint) (crypto.PublicKey, KeyType, error) {
	values, err := t.lib.attributes(s.handle, h, attrECParams, attrECPoint)
	if err != nil {
		return nil, 0, err
	}
	var oid asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(values[0], &oid); err != nil {
		return nil, 0, ErrMechanism
	}
	kind, ok := typeOf(keyEC, 0, oid)
	if !ok {
		return nil, 0, ErrMechanism
	}
	key, err := parsePoint(kind, values[1])
	return key, kind, err
}

// parsePoint reads a point: in an OCTET STRING, as the standard has it, or bare, as some tokens do.
func parsePoint(kind KeyType, raw []byte) (crypto.PublicKey, error) {
	var point []byte
	if rest, err := asn1.Unmarshal(raw, &point); err != nil || len(rest) > 0 {
		point = raw
	}
	x := types[kind]
	if len(point) != 1+2*x.size || point[0] != 4 {
		return nil, ErrMechanism
	}
	if x.curve == nil {
		return PublicSecp256k1(point), nil
	}
	key, err := ecdsa.ParseUncompressedPublicKey(x.curve, point)
	if err != nil {
		return nil, ErrMechanism
	}
	return key, nil
}

// number reads a CK_ULONG.
func number(b []byte) uint {
	switch len(b) {
	case 8:
		return uint(binary.NativeEndian.Uint64(b))
	case 4:
		return uint(binary.NativeEndian.Uint32(b))
	}
	return ^uint(0)
}
