package vault

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// der is a private key in PKCS #8. It prints as a constant.
type der []byte

// Format writes a constant, whatever the verb.
func (der) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

// keyRecord is a key with all its versions, in the order in which they were made.
type keyRecord struct {
	Name     string
	Versions []version
	Deletion *Deletion
	Rotation *RotationPolicy `json:",omitempty"` // nil was never set
}

// version is one version of a key. Times are Unix seconds, 0 for none.
type version struct {
	ID        string // 32 hex digits
	KTY       string // RSA or RSA-HSM, as it was asked for
	Ops       []string
	Enabled   bool
	NotBefore int64
	Expires   int64
	Created   int64
	Updated   int64
	Tags      map[string]string
	Private   der

	key *rsa.PrivateKey // Private, parsed
}

// parse fills the cache of parsed keys.
func (k *keyRecord) parse() error {
	for i := range k.Versions {
		v := &k.Versions[i]
		parsed, err := x509.ParsePKCS8PrivateKey(v.Private)
		if err != nil {
			return fmt.Errorf("vault: stored key %q version %s cannot be read", k.Name, v.ID)
		}
		key, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return fmt.Errorf("vault: stored key %q version %s is not RSA", k.Name, v.ID)
		}
		v.key = key
	}
	return nil
}

// version returns the version of an id, or the current one for "".
func (k *keyRecord) version(id string) (version, bool) {
	if id == "" {
		return k.Versions[len(k.Versions)-1], true
	}
	i := slices.IndexFunc(k.Versions, func(v version) bool { return strings.EqualFold(v.ID, id) })
	if i < 0 {
		return version{}, false
	}
	return k.Versions[i], true
}

// with returns a copy of k with v added, or in the place of the version of the same id.
func (k *keyRecord) with(v version) *keyRecord {
	c := *k
	c.Versions = slices.Clone(k.Versions)
	if i := slices.IndexFunc(c.Versions, func(o version) bool { return o.ID == v.ID }); i >= 0 {
		c.Versions[i] = v
		return &c
	}
	c.Versions = append(c.Versions, v)
	return &c
}

// Key is a version of a key as callers see it: the public half and the attributes.
type Key struct {
	Name            string
	Version         string
	KTY             string
	Ops             []string
	N, E            []byte // modulus and exponent, big endian without leading zeros
	Attributes      Attributes
	Created         time.Time
	Updated         time.Time
	Tags            map[string]string
	RecoveryLevel   string
	RecoverableDays int
	Deletion        *Deletion // nil while the key lives
}

// Attributes are what an owner sets on a version. Times are nil when there is no bound.
type Attributes struct {
	Enabled   bool
	NotBefore *time.Time
	Expires   *time.Time
}

// view is the public form of a version.
func (k *keyRecord) view(vault Vault, v version) Key {
	return Key{
		Name: k.Name, Version: v.ID, KTY: v.KTY, Ops: slices.Clone(v.Ops), N: v.key.N.Bytes(), E: big.NewInt(int64(v.key.E)).Bytes(),
		Attributes: Attributes{Enabled: v.Enabled, NotBefore: instant(v.NotBefore), Expires: instant(v.Expires)},
		Created:    time.Unix(v.Created, 0).UTC(), Updated: time.Unix(v.Updated, 0).UTC(), Tags: maps.Clone(v.Tags),
		RecoveryLevel: vault.RecoveryLevel(), RecoverableDays: vault.RetentionDays, Deletion: k.Deletion,
	}
}

func instant(seconds int64) *time.Time {
	if seconds == 0 {
		return nil
	}
	t := time.Unix(seconds, 0).UTC()
	return &t
}

// KeySpec is what a caller asks for. nil and zero members are left to the defaults at creation, and as
// they are in an update.
type KeySpec struct {
	KTY            string
	Size           int // bits; 0 means 2048
	PublicExponent int // 0 means 65537
	Ops            []string
	Enabled        *bool
	NotBefore      *int64 // Unix seconds
	Expires        *int64
	Exportable     bool
	ReleasePolicy  bool // one was given
	Tags           map[string]string
}

const (
	maxTags     = 15  // per key
	maxTagChars = 256 // of a name or a value
)

var (
	namePattern    = regexp.MustCompile(`^[0-9a-zA-Z-]{1,127}$`)
	versionPattern = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
	operations     = []string{"encrypt", "decrypt", "sign", "verify", "wrapKey", "unwrapKey"}
)

func badParameter(format string, args ...any) *fault.Error {
	return fault.New(fault.Invalid, "BadParameter", format, args...)
}

// checkName refuses what is not a key's name; "" stands for no name.
func checkName(name string) error {
	if name == "" || namePattern.MatchString(name) {
		return nil
	}
	return badParameter("The request URI contains an invalid name: %s", name)
}

// check refuses a specification that no key can have.
func (s KeySpec) check() error {
	switch {
	case s.Exportable:
		return badParameter("Exportable keys are not supported: key material never leaves this vault.")
	case s.ReleasePolicy:
		return badParameter("Key release policies are not supported by this vault.")
	case s.NotBefore != nil && s.Expires != nil && *s.Expires != 0 && *s.Expires <= *s.NotBefore:
		return badParameter("The attribute 'exp' must be later than 'nbf'.")
	case s.NotBefore != nil && *s.NotBefore < 0, s.Expires != nil && *s.Expires < 0:
		return badParameter("The attributes 'nbf' and 'exp' must not be negative.")
	}
	for _, op := range s.Ops {
		if !slices.Contains(operations, op) {
			return badParameter("Property key_ops has invalid value '%s'.", op)
		}
	}
	return checkTags(s.Tags)
}

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

// checkType refuses key types and sizes that are not served.
func (s KeySpec) checkType() error {
	switch strings.ToUpper(s.KTY) {
	case "RSA", "RSA-HSM":
	case "":
		return badParameter("The property 'kty' is required.")
	case "EC", "EC-HSM":
		return badParameter("The key type '%s' is not supported by this vault; use RSA.", s.KTY)
	default:
		return badParameter("Property kty has invalid value '%s'.", s.KTY)
	}
	if s.Size != 0 && !validSize(s.Size) {
		return badParameter("The key size %d is not valid for RSA; use 2048, 3072 or 4096.", s.Size)
	}
	if s.PublicExponent != 0 && s.PublicExponent != defaultExponent {
		return badParameter("The public exponent %d is not supported; use %d.", s.PublicExponent, defaultExponent)
	}
	return nil
}

const (
	defaultSize     = 2048 // bits
	defaultExponent = 65537
)

func validSize(bits int) bool { return bits == 2048 || bits == 3072 || bits == 4096 }

// version makes a version from a specification and a key.
func (s KeySpec) version(id string, key *rsa.PrivateKey, now time.Time) (version, error) {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return version{}, fmt.Errorf("vault: encode a private key: %w", err)
	}
	v := version{ID: id, KTY: strings.ToUpper(s.KTY), Ops: operations, Enabled: true, Created: now.Unix(), Private: private, key: key}
	return s.apply(v, now), nil
}

// apply returns v with what s names changed.
func (s KeySpec) apply(v version, now time.Time) version {
	if s.Ops != nil {
		v.Ops = unique(s.Ops)
	}
	if s.Enabled != nil {
		v.Enabled = *s.Enabled
	}
	if s.NotBefore != nil {
		v.NotBefore = *s.NotBefore
	}
	if s.Expires != nil {
		v.Expires = *s.Expires
	}
	if s.Tags != nil {
		v.Tags = maps.Clone(s.Tags)
	}
	v.Updated = now.Unix()
	return v
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
