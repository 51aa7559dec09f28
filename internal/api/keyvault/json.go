package keyvault

import (
	"crypto/rsa"
	"encoding/base64"
	"math/big"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// b64 is the protocol's binary form: base64url without padding.
var b64 = base64.RawURLEncoding

func decode64(s string) ([]byte, bool) {
	raw, err := b64.DecodeString(strings.TrimRight(s, "="))
	return raw, err == nil
}

func badParameter(format string, args ...any) error {
	return fault.New(fault.Invalid, "BadParameter", format, args...)
}

// attributesIn are the attributes that a caller may set; times are Unix seconds.
type attributesIn struct {
	Enabled    *bool  `json:"enabled"`
	NotBefore  *int64 `json:"nbf"`
	Expires    *int64 `json:"exp"`
	Exportable *bool  `json:"exportable"`
}

// keyIn is the body of create and update.
type keyIn struct {
	KTY            string            `json:"kty"`
	Size           int               `json:"key_size"`
	PublicExponent int               `json:"public_exponent"`
	Ops            []string          `json:"key_ops"`
	Attributes     *attributesIn     `json:"attributes"`
	Tags           map[string]string `json:"tags"`
	ReleasePolicy  *struct{}         `json:"release_policy"`
}

func (k keyIn) spec() vault.KeySpec {
	s := vault.KeySpec{KTY: k.KTY, Size: k.Size, PublicExponent: k.PublicExponent, Ops: k.Ops, Tags: k.Tags, ReleasePolicy: k.ReleasePolicy != nil}
	if a := k.Attributes; a != nil {
		s.Enabled, s.NotBefore, s.Expires = a.Enabled, a.NotBefore, a.Expires
		s.Exportable = a.Exportable != nil && *a.Exportable
	}
	return s
}

// importIn is the body of an import: a private key in JWK form (RFC 7518 section 6.3).
type importIn struct {
	Key struct {
		KTY string   `json:"kty"`
		Ops []string `json:"key_ops"`
		N   string   `json:"n"`
		E   string   `json:"e"`
		D   string   `json:"d"`
		P   string   `json:"p"`
		Q   string   `json:"q"`
	} `json:"key"`
	HSM           bool              `json:"hsm"`
	Attributes    *attributesIn     `json:"attributes"`
	Tags          map[string]string `json:"tags"`
	ReleasePolicy *struct{}         `json:"release_policy"`
}

func (k importIn) spec() vault.KeySpec {
	s := keyIn{KTY: k.Key.KTY, Ops: k.Key.Ops, Attributes: k.Attributes, Tags: k.Tags, ReleasePolicy: k.ReleasePolicy}.spec()
	if k.HSM && strings.EqualFold(s.KTY, "RSA") {
		s.KTY = "RSA-HSM"
	}
	return s
}

// maxImported bounds a member of an imported key, in bytes; the largest is the modulus.
const maxImported = 512

// private returns the RSA key, or nil when the body holds none. The domain validates it.
func (k importIn) private() *rsa.PrivateKey {
	var n [5]*big.Int
	for i, s := range []string{k.Key.N, k.Key.E, k.Key.D, k.Key.P, k.Key.Q} {
		raw, ok := decode64(s)
		if !ok || len(raw) == 0 || len(raw) > maxImported {
			return nil
		}
		n[i] = new(big.Int).SetBytes(raw)
	}
	if n[1].BitLen() > 31 {
		return nil
	}
	return &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n[0], E: int(n[1].Int64())}, D: n[2], Primes: []*big.Int{n[3], n[4]}}
}

// operationIn is the body of a cryptographic operation.
type operationIn struct {
	Algorithm string  `json:"alg"`
	Value     *string `json:"value"`
	Digest    *string `json:"digest"`
}

func (o operationIn) input(op vault.Operation) (vault.Input, error) {
	in := vault.Input{Algorithm: o.Algorithm}
	var ok bool
	if o.Value == nil {
		return in, badParameter("The property 'value' is required.")
	}
	if in.Value, ok = decode64(*o.Value); !ok {
		return in, badParameter("The property 'value' is not base64url.")
	}
	if op != vault.Verify {
		return in, nil
	}
	if o.Digest == nil {
		return in, badParameter("The property 'digest' is required.")
	}
	if in.Digest, ok = decode64(*o.Digest); !ok {
		return in, badParameter("The property 'digest' is not base64url.")
	}
	return in, nil
}

// jwk is the public half of a key.
type jwk struct {
	ID  string   `json:"kid"`
	KTY string   `json:"kty"`
	Ops []string `json:"key_ops"`
	N   string   `json:"n"`
	E   string   `json:"e"`
}

// attributesOut are the attributes with what the service adds; which of them depends on the api-version.
type attributesOut struct {
	Enabled         bool   `json:"enabled"`
	NotBefore       *int64 `json:"nbf,omitzero"`
	Expires         *int64 `json:"exp,omitzero"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays *int   `json:"recoverableDays,omitzero"`
	Exportable      *bool  `json:"exportable,omitzero"`
	HSMPlatform     string `json:"hsmPlatform,omitzero"`
}

// deletionOut are the members of what was deleted.
type deletionOut struct {
	RecoveryID string `json:"recoveryId,omitzero"`
	Deleted    int64  `json:"deletedDate,omitzero"`
	Purge      int64  `json:"scheduledPurgeDate,omitzero"`
}

// bundle is a key in an answer.
type bundle struct {
	Key        jwk               `json:"key"`
	Attributes attributesOut     `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	deletionOut
}

// item is a key in a list.
type item struct {
	ID         string            `json:"kid"`
	Attributes attributesOut     `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	deletionOut
}

// list is a page. The link is null on the last one.
type list struct {
	Value    []item  `json:"value"`
	NextLink *string `json:"nextLink"`
}

// The api-versions that introduced attributes.
const (
	withRecoverableDays apiVersion = 1
	withExportable      apiVersion = 3
	withPlatform        apiVersion = 5
)

// softwarePlatform says that a key is kept in software (FIPS 140-2 level 1), whatever its type is called.
const softwarePlatform = "0"

func (x *exchange) attributes(k vault.Key) attributesOut {
	a := attributesOut{Enabled: k.Attributes.Enabled, Created: k.Created.Unix(), Updated: k.Updated.Unix(), RecoveryLevel: k.RecoveryLevel}
	if t := k.Attributes.NotBefore; t != nil {
		a.NotBefore = pointer(t.Unix())
	}
	if t := k.Attributes.Expires; t != nil {
		a.Expires = pointer(t.Unix())
	}
	if x.version >= withRecoverableDays {
		a.RecoverableDays = &k.RecoverableDays
	}
	if x.version >= withExportable {
		a.Exportable = pointer(false)
	}
	if x.version >= withPlatform {
		a.HSMPlatform = softwarePlatform
	}
	return a
}

func pointer[T any](v T) *T { return &v }

// keyID is the address of a key, with its version where one is given.
func (x *exchange) keyID(name, version string) string {
	id := x.base() + "/keys/" + name
	if version != "" {
		id += "/" + version
	}
	return id
}

func (x *exchange) bundle(k vault.Key) bundle {
	return bundle{
		Key:        jwk{ID: x.keyID(k.Name, k.Version), KTY: k.KTY, Ops: k.Ops, N: b64.EncodeToString(k.N), E: b64.EncodeToString(k.E)},
		Attributes: x.attributes(k), Tags: k.Tags, deletionOut: x.deletion(k),
	}
}

func (x *exchange) deletion(k vault.Key) deletionOut {
	if k.Deletion == nil {
		return deletionOut{}
	}
	return deletionOut{RecoveryID: x.base() + "/deletedkeys/" + k.Name, Deleted: k.Deletion.At.Unix(), Purge: k.Deletion.PurgeAt.Unix()}
}

func (x *exchange) item(k vault.Key) item {
	return item{ID: x.keyID(k.Name, k.Version), Attributes: x.attributes(k), Tags: k.Tags, deletionOut: x.deletion(k)}
}
