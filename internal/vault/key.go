package vault

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// private is the encoding of a private key, or a secret's value. It prints as a constant.
type private []byte

// Format writes a constant, whatever the verb.
func (private) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

// keyRecord is a key with all its versions.
type keyRecord struct {
	object[keyVersion]
	Rotation *RotationPolicy `json:",omitempty"` // nil was never set
}

func (k keyRecord) marked(d *Deletion) keyRecord {
	k.Deletion = d
	return k
}

func (k keyRecord) with(v keyVersion) keyRecord {
	k.object = k.object.with(v)
	return k
}

// keyVersion is one version of a key.
type keyVersion struct {
	state
	KTY        string // as it was asked for: one of keyTypes
	Curve      string `json:",omitempty"`
	Bits       int    `json:",omitempty"` // 0 in RSA keys of older records
	Ops        []string
	Exportable bool           `json:",omitempty"`
	Release    *ReleasePolicy `json:",omitempty"`
	Private    private
	Token      []byte        `json:",omitempty"` // identifier in the token; there is no Private then
	Public     *material.JWK `json:",omitempty"` // of a key in the token

	key material.Key
}

// ReleasePolicy says to which environments an exportable key may be released. It is kept and shown:
// nobody can prove an environment here.
type ReleasePolicy struct {
	ContentType string
	Data        []byte
	Immutable   bool
}

// typeOf is the family of a key type: RSA-HSM is RSA.
func typeOf(kty string) material.Type { return material.Type(strings.TrimSuffix(kty, hsm)) }

// hsm ends the types of keys that are asked to live in hardware.
const hsm = "-HSM"

var keyTypes = []string{"RSA", "RSA-HSM", "EC", "EC-HSM", "oct", "oct-HSM"}

// parse fills the cache of parsed keys. token is where those without a Private are.
func (k *keyRecord) parse(token material.Token) error {
	for i := range k.Versions {
		v := &k.Versions[i]
		var err error
		if v.key, err = v.parsed(token); err != nil {
			return fmt.Errorf("version %s: %w", v.ID, err)
		}
	}
	return nil
}

func (v keyVersion) parsed(token material.Token) (material.Key, error) {
	switch {
	case v.Token == nil:
		return material.Decode(v.params(), v.Private)
	case v.Public == nil:
		return nil, errors.New("a key in the token has no public half")
	case token == nil:
		token = absent{}
	}
	return material.InToken(token, v.Token, v.params(), *v.Public)
}

func (v keyVersion) params() material.Params {
	return material.Params{Type: typeOf(v.KTY), Bits: v.Bits, Curve: v.Curve}
}

// Key is a version of a key as callers see it: the public half and the attributes.
type Key struct {
	Properties
	KTY        string
	Ops        []string
	Public     material.JWK
	Exportable bool
	Release    *ReleasePolicy
	InToken    bool // it lives in a hardware security module, not in this server
}

// view is the public form of a version.
func (k keyRecord) view(vault Vault, v keyVersion) Key {
	return Key{
		Properties: k.properties(vault, v), KTY: v.KTY, Ops: slices.Clone(v.Ops), Public: v.key.Public(),
		Exportable: v.Exportable, Release: v.Release, InToken: v.Token != nil,
	}
}

// KeySpec is what a caller asks for. nil and zero members are left to the defaults at creation, and as
// they are in an update.
type KeySpec struct {
	Change
	KTY            string
	Size           int    // bits; 0 means 2048, or 256 for oct
	Curve          string // "" means P-256
	PublicExponent int    // 0 means 65537
	Ops            []string
	Exportable     *bool
	Release        *ReleasePolicy
}

// Change is what a caller may set on a version of any object. nil members stay as they are.
type Change struct {
	Enabled   *bool
	NotBefore *int64 // Unix seconds
	Expires   *int64
	Tags      map[string]string
}

const (
	maxTags        = 15       // per object
	maxTagChars    = 256      // of a name or a value
	maxReleaseData = 32 << 10 // bytes of a release policy
)

var (
	namePattern    = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)
	versionPattern = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
)

// operationsOf are the key_ops that a family can have; the first named are those of a new key.
var operationsOf = map[material.Type]struct{ usual, possible []string }{
	material.RSA: {strings.Fields("encrypt decrypt sign verify wrapKey unwrapKey"), []string{opImport, opExport}},
	material.EC:  {strings.Fields("sign verify"), []string{opImport, opExport}},
	material.Oct: {strings.Fields("encrypt decrypt wrapKey unwrapKey"), []string{"sign", "verify", opImport, opExport}},
}

// The key_ops that are no operations of their own.
const (
	opImport = "import"
	opExport = "export"
)

func newVersionID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func badParameter(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "BadParameter", format, args...)
}

// checkName refuses what is not an object's name; "" stands for no name.
func checkName(name string) error {
	if name == "" || namePattern.MatchString(name) {
		return nil
	}
	return badParameter("The request URI contains an invalid name: %s", name)
}

func checkVersion(id string) error {
	if id == "" || versionPattern.MatchString(id) {
		return nil
	}
	return badParameter("The request URI contains an invalid version: %s", id)
}

// check refuses what no version can have.
func (c Change) check() error {
	switch {
	case c.NotBefore != nil && c.Expires != nil && *c.Expires != 0 && *c.Expires <= *c.NotBefore:
		return badBounds()
	case c.NotBefore != nil && *c.NotBefore < 0, c.Expires != nil && *c.Expires < 0:
		return badParameter("The attributes 'nbf' and 'exp' must not be negative.")
	}
	return checkTags(c.Tags)
}

func badBounds() error { return badParameter("The attribute 'exp' must be later than 'nbf'.") }

func checkTags(tags map[string]string) error {
	if len(tags) > maxTags {
		return badParameter("The number of tags exceeds the limit of %d.", maxTags)
	}
	for name, value := range tags {
		if len(name) > maxTagChars || len(value) > maxTagChars {
			return badParameter("A tag's name or value exceeds the limit of %d characters.", maxTagChars)
		}
	}
	return nil
}

// apply returns s with what c names changed; it refuses bounds that contradict each other.
func (c Change) apply(s state, now time.Time) (state, error) {
	if c.Enabled != nil {
		s.Enabled = *c.Enabled
	}
	if c.NotBefore != nil {
		s.NotBefore = *c.NotBefore
	}
	if c.Expires != nil {
		s.Expires = *c.Expires
	}
	if c.Tags != nil {
		s.Tags = maps.Clone(c.Tags)
	}
	s.Updated = now.Unix()
	if s.Expires != 0 && s.Expires <= s.NotBefore {
		return s, badBounds()
	}
	return s, nil
}

// check refuses a specification that no key can have.
func (s KeySpec) check() error {
	for _, op := range s.Ops {
		if !slices.Contains(operationsOf[material.RSA].usual, op) && op != opImport && op != opExport {
			return badParameter("Property key_ops has invalid value '%.32s'.", op)
		}
	}
	if s.Release != nil && len(s.Release.Data) > maxReleaseData {
		return badParameter("The release policy exceeds the limit of %d bytes.", maxReleaseData)
	}
	return s.Change.check()
}

// kty is the key type in the service's spelling.
func (s KeySpec) kty() (string, error) {
	if s.KTY == "" {
		return "", badParameter("The property 'kty' is required.")
	}
	i := slices.IndexFunc(keyTypes, func(t string) bool { return strings.EqualFold(t, s.KTY) })
	if i < 0 {
		return "", badParameter("Property kty has invalid value '%.32s'.", s.KTY)
	}
	return keyTypes[i], nil
}

// params are what a new key is made of.
func (s KeySpec) params() (material.Params, error) {
	kty, err := s.kty()
	if err != nil {
		return material.Params{}, err
	}
	if s.PublicExponent != 0 && s.PublicExponent != defaultExponent {
		return material.Params{}, badParameter("The public exponent %d is not supported; use %d.", s.PublicExponent, defaultExponent)
	}
	return material.Params{Type: typeOf(kty), Bits: s.Size, Curve: s.Curve}.Normal()
}

const defaultExponent = 65537

// checkUse refuses operations that the family does not have, and a key that may leave without saying
// to whom.
func (v keyVersion) checkUse() error {
	known := operationsOf[typeOf(v.KTY)]
	for _, op := range v.Ops {
		if !slices.Contains(known.usual, op) && !slices.Contains(known.possible, op) {
			return badParameter("The key operation '%s' is not possible with keys of the type %s.", op, v.KTY)
		}
	}
	switch {
	case v.Exportable && v.Release == nil:
		return badParameter("An exportable key must have a release policy.")
	case v.Release != nil && !v.Exportable:
		return badParameter("A release policy needs a key that is exportable.")
	}
	return nil
}

// version makes a version from a specification and a key.
func (s KeySpec) version(key made, now time.Time) (keyVersion, error) {
	kty, err := s.kty()
	if err != nil {
		return keyVersion{}, err
	}
	p := key.Params()
	v := keyVersion{state: newState(now), KTY: kty, Curve: p.Curve, Bits: p.Bits, Ops: operationsOf[p.Type].usual, key: key.Key}
	if v.Token = key.token; v.Token != nil {
		public := key.Public()
		v.Public = &public
	} else if v.Private, err = key.Private(); err != nil {
		return keyVersion{}, fmt.Errorf("vault: encode a private key: %w", err)
	}
	return s.apply(v, now)
}

// apply returns v with what s names changed.
func (s KeySpec) apply(v keyVersion, now time.Time) (keyVersion, error) {
	var err error
	if v.state, err = s.Change.apply(v.state, now); err != nil {
		return v, err
	}
	if s.Ops != nil {
		v.Ops = unique(s.Ops)
	}
	if s.Exportable != nil {
		v.Exportable = *s.Exportable
	}
	if s.Release != nil {
		v.Release = s.Release
	}
	return v, v.checkUse()
}

// change is apply for a version that is there already, of which some things are for good.
func (s KeySpec) change(v keyVersion, now time.Time) (keyVersion, error) {
	switch {
	case s.Exportable != nil && *s.Exportable != v.Exportable:
		return v, badParameter("The attribute 'exportable' cannot be changed.")
	case s.Release != nil && v.Release != nil && v.Release.Immutable:
		return v, badParameter("AKV.SKR.1020: Immutable Key Release Policy cannot be modified.")
	}
	return s.apply(v, now)
}

func unique(list []string) []string {
	out := []string{}
	for _, x := range list {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}
