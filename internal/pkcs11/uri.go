package pkcs11

import (
	"bytes"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/secret"
)

// Scheme begins every PKCS #11 URI.
const Scheme = "pkcs11:"

// maxPIN bounds the file of a PIN.
const maxPIN = 1024

// URI is a PKCS #11 URI (RFC 7512): which token, by which library, and which object in it. What is empty
// matches everything.
type URI struct {
	Module       string // path of the library
	Token        string // label of the token
	Manufacturer string
	Model        string
	Serial       string
	Slot         *uint
	Object       string // label of the object
	ID           []byte // identifier of the object
	PINSource    string // absolute path of a file with the PIN
}

// ParseURI parses a PKCS #11 URI. RFC 7512 puts module-path and pin-source behind a question mark; they are
// taken at either place. An attribute that is not known is refused, as the RFC demands; so is pin-value,
// because a URI is no place for a secret, and pin-source that names a program.
func ParseURI(s string) (URI, error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return URI{}, fmt.Errorf("%w: it does not begin with %s", ErrURI, Scheme)
	}
	var u URI
	seen := map[string]bool{}
	for _, part := range strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune(";?&", r) }) {
		name, raw, _ := strings.Cut(part, "=")
		value, err := url.PathUnescape(raw)
		if err != nil || seen[name] {
			return URI{}, fmt.Errorf("%w: attribute %s is malformed or stands twice", ErrURI, strconv.Quote(name))
		}
		seen[name] = true
		if err := u.set(name, value); err != nil {
			return URI{}, err
		}
	}
	if !filepath.IsAbs(u.Module) {
		return URI{}, fmt.Errorf("%w: module-path must be the absolute path of the token's library", ErrURI)
	}
	return u, nil
}

func (u *URI) set(name, value string) error {
	texts := map[string]*string{
		"module-path": &u.Module, "token": &u.Token, "manufacturer": &u.Manufacturer, "model": &u.Model,
		"serial": &u.Serial, "object": &u.Object,
	}
	if p := texts[name]; p != nil {
		*p = value
		return nil
	}
	switch name {
	case "id":
		u.ID = []byte(value)
	case "slot-id":
		n, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return fmt.Errorf("%w: slot-id is not a number", ErrURI)
		}
		slot := uint(n)
		u.Slot = &slot
	case "pin-source":
		return u.setPINSource(value)
	case "pin-value":
		return fmt.Errorf("%w: pin-value would show the PIN to everybody who sees the URI; use pin-source", ErrURI)
	case "type":
		// What the object is for says which type it has.
	default:
		return fmt.Errorf("%w: attribute %s is not known", ErrURI, strconv.Quote(name))
	}
	return nil
}

func (u *URI) setPINSource(value string) error {
	path := strings.TrimPrefix(strings.TrimPrefix(value, "file:"), "//")
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%w: pin-source must be the absolute path of a file", ErrURI)
	}
	u.PINSource = path
	return nil
}

// String returns the URI in the RFC's form. It holds no secret.
func (u URI) String() string {
	var path []string
	add := func(name, value string) {
		if value != "" {
			path = append(path, name+"="+escape(value))
		}
	}
	add("token", u.Token)
	add("manufacturer", u.Manufacturer)
	add("model", u.Model)
	add("serial", u.Serial)
	if u.Slot != nil {
		add("slot-id", strconv.FormatUint(uint64(*u.Slot), 10))
	}
	add("object", u.Object)
	add("id", string(u.ID))
	s := Scheme + strings.Join(path, ";") + "?module-path=" + escape(u.Module)
	if u.PINSource != "" {
		s += "&pin-source=" + escape("file:"+u.PINSource)
	}
	return s
}

// escape writes what is not plain as %XX.
func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/:", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// PIN returns the PIN: given when it is not empty, else the content of the file that pin-source names,
// without the line end.
func (u URI) PIN(given string) (*secret.Bytes, error) {
	if given != "" {
		return secret.From([]byte(given)), nil
	}
	if u.PINSource == "" {
		return nil, fmt.Errorf("%w: there is no PIN; name a file with pin-source", ErrPIN)
	}
	raw, err := os.ReadFile(u.PINSource)
	if err != nil {
		return nil, fmt.Errorf("%w: pin-source: %w", ErrPIN, err)
	}
	defer clear(raw)
	pin := bytes.TrimRight(raw, "\r\n")
	if len(pin) == 0 || len(pin) > maxPIN {
		return nil, fmt.Errorf("%w: the file that pin-source names holds no PIN", ErrPIN)
	}
	return secret.From(bytes.Clone(pin)), nil
}

// matches reports whether a token in a slot is the one that u means.
func (u URI) matches(slot uint, i tokenInfo) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return i.initialized && (u.Slot == nil || *u.Slot == slot) && is(u.Token, i.Label) && is(u.Serial, i.Serial) &&
		is(u.Manufacturer, i.Manufacturer) && is(u.Model, i.Model)
}
