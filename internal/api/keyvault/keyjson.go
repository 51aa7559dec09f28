package keyvault

import (
	"encoding/json"
	"strings"

	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// keyIn is the body of create and update.
type keyIn struct {
	changeIn
	KTY            string       `json:"kty"`
	Size           int          `json:"key_size"`
	Curve          string       `json:"crv"`
	PublicExponent int          `json:"public_exponent"`
	Ops            []string     `json:"key_ops"`
	Release        *releaseJSON `json:"release_policy"`
}

func (k keyIn) spec() (vault.KeySpec, error) {
	s := vault.KeySpec{Change: k.change(), KTY: k.KTY, Size: k.Size, Curve: k.Curve, PublicExponent: k.PublicExponent, Ops: k.Ops}
	if k.Attributes != nil {
		s.Exportable = k.Attributes.Exportable
	}
	if k.Release == nil {
		return s, nil
	}
	var err error
	s.Release, err = k.Release.policy()
	return s, err
}

// releaseJSON is a release policy in both directions: data is base64url of a JSON text.
type releaseJSON struct {
	ContentType string `json:"contentType"`
	Data        string `json:"data"`
	Immutable   bool   `json:"immutable"`
}

const releaseContentType = "application/json; charset=utf-8"

func (r releaseJSON) policy() (*vault.ReleasePolicy, error) {
	data, ok := decode64(r.Data)
	if !ok || !json.Valid(data) {
		return nil, badParameter("The property 'data' of the release policy must be base64url of a JSON text.")
	}
	p := &vault.ReleasePolicy{ContentType: r.ContentType, Data: data, Immutable: r.Immutable}
	if p.ContentType == "" {
		p.ContentType = releaseContentType
	}
	return p, nil
}

func releaseOut(p *vault.ReleasePolicy) *releaseJSON {
	if p == nil {
		return nil
	}
	return &releaseJSON{p.ContentType, b64.EncodeToString(p.Data), p.Immutable}
}

// importIn is the body of an import: a key in JWK form with its private members (RFC 7518 section 6).
type importIn struct {
	changeIn
	Key     jwkIn        `json:"key"`
	HSM     bool         `json:"hsm"`
	Release *releaseJSON `json:"release_policy"`
}

type jwkIn struct {
	KTY   string   `json:"kty"`
	Ops   []string `json:"key_ops"`
	Curve string   `json:"crv"`
	N     string   `json:"n"`
	E     string   `json:"e"`
	D     string   `json:"d"`
	P     string   `json:"p"`
	Q     string   `json:"q"`
	DP    string   `json:"dp"`
	DQ    string   `json:"dq"`
	QI    string   `json:"qi"`
	X     string   `json:"x"`
	Y     string   `json:"y"`
	K     string   `json:"k"`
	Token string   `json:"key_hsm"`
}

const hsm = "-HSM"

func (k importIn) spec() (vault.KeySpec, error) {
	in := keyIn{changeIn: k.changeIn, KTY: k.Key.KTY, Ops: k.Key.Ops, Release: k.Release}
	if k.HSM && !strings.HasSuffix(strings.ToUpper(in.KTY), hsm) {
		in.KTY += hsm
	}
	return in.spec()
}

// maxMember bounds a member of an imported key, in bytes; the largest is the modulus.
const maxMember = 512

// jwk decodes the members.
func (k jwkIn) jwk() (material.JWK, error) {
	out := material.JWK{Curve: k.Curve}
	if k.Token != "" {
		return out, badParameter("The property 'key_hsm' is not supported: keys cannot be brought in under the key exchange key of a hardware module.")
	}
	for _, m := range []struct {
		name, text string
		to         *[]byte
	}{
		{"n", k.N, &out.N}, {"e", k.E, &out.E}, {"d", k.D, &out.D}, {"p", k.P, &out.P}, {"q", k.Q, &out.Q}, {"dp", k.DP, &out.DP},
		{"dq", k.DQ, &out.DQ}, {"qi", k.QI, &out.QI}, {"x", k.X, &out.X}, {"y", k.Y, &out.Y}, {"k", k.K, &out.K},
	} {
		raw, ok := decode64(m.text)
		if !ok || len(raw) > maxMember+1 {
			return out, badParameter("The property '%s' of the key is not base64url, or too long.", m.name)
		}
		*m.to = raw
	}
	return out, nil
}

// operationIn is the body of a cryptographic operation.
type operationIn struct {
	Algorithm string  `json:"alg"`
	Value     *string `json:"value"`
	Digest    *string `json:"digest"`
	IV        *string `json:"iv"`
	AAD       *string `json:"aad"`
	Tag       *string `json:"tag"`
}

func (o operationIn) input(op material.Operation) (material.Input, error) {
	in := material.Input{Algorithm: o.Algorithm}
	for _, m := range []struct {
		name     string
		text     *string
		to       *[]byte
		required bool
	}{
		{"value", o.Value, &in.Value, true}, {"digest", o.Digest, &in.Digest, op == material.Verify},
		{"iv", o.IV, &in.IV, false}, {"aad", o.AAD, &in.AAD, false}, {"tag", o.Tag, &in.Tag, false},
	} {
		if m.text == nil {
			if m.required {
				return in, badParameter("The property '%s' is required.", m.name)
			}
			continue
		}
		var ok bool
		if *m.to, ok = decode64(*m.text); !ok {
			return in, badParameter("The property '%s' is not base64url.", m.name)
		}
	}
	return in, nil
}

// operationOut is the result of a cryptographic operation. Verify answers with a bool.
type operationOut struct {
	ID    string `json:"kid"`
	Value string `json:"value"`
	IV    string `json:"iv,omitzero"`
	Tag   string `json:"tag,omitzero"`
	AAD   string `json:"aad,omitzero"`
}

// jwkOut is the public half of a key.
type jwkOut struct {
	ID    string   `json:"kid"`
	KTY   string   `json:"kty"`
	Ops   []string `json:"key_ops"`
	N     string   `json:"n,omitzero"`
	E     string   `json:"e,omitzero"`
	Curve string   `json:"crv,omitzero"`
	X     string   `json:"x,omitzero"`
	Y     string   `json:"y,omitzero"`
}

// keyOut is a key in an answer.
type keyOut struct {
	Key        jwkOut            `json:"key"`
	Attributes attributesOut     `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	Release    *releaseJSON      `json:"release_policy,omitzero"`
	Managed    bool              `json:"managed,omitzero"`
	deletionOut
}

// keyItem is a key in a list.
type keyItem struct {
	ID         string            `json:"kid"`
	Attributes attributesOut     `json:"attributes"`
	Tags       map[string]string `json:"tags,omitempty"`
	Managed    bool              `json:"managed,omitzero"`
	deletionOut
}

func (x *exchange) keyAttributes(k vault.Key) attributesOut {
	a := x.attributes(k.Properties)
	if x.version >= withExportable {
		a.Exportable = &k.Exportable
	}
	if x.version >= withPlatform {
		a.HSMPlatform = softwarePlatform
		if k.InToken {
			a.HSMPlatform = tokenPlatform
		}
	}
	return a
}

func (x *exchange) keyOut(k vault.Key) keyOut {
	p := k.Public
	return keyOut{
		Key: jwkOut{ID: x.id("keys", k.Name, k.Version), KTY: k.KTY, Ops: k.Ops, Curve: p.Curve,
			N: b64.EncodeToString(p.N), E: b64.EncodeToString(p.E), X: b64.EncodeToString(p.X), Y: b64.EncodeToString(p.Y)},
		Attributes: x.keyAttributes(k), Tags: k.Tags, Release: releaseOut(k.Release), Managed: k.Managed, deletionOut: x.deletion("keys", k.Properties),
	}
}

func (x *exchange) keyItem(k vault.Key) keyItem {
	return keyItem{ID: x.id("keys", k.Name, k.Version), Attributes: x.keyAttributes(k), Tags: k.Tags, Managed: k.Managed, deletionOut: x.deletion("keys", k.Properties)}
}
