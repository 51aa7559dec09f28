package rootkey

import (
	"path/filepath"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
)

// Kind is how a root key is protected. The numbers are part of the format.
type Kind uint8

// The kinds of protection.
const (
	File       Kind = 1 // in the clear in root.key
	Elsewhere  Kind = 2 // in the clear in another file
	Passphrase Kind = 3 // wrapped under a passphrase
	Token      Kind = 4 // wrapped by a key in a PKCS #11 token
)

// Protection is a choice of how to protect a root key. The zero value chooses nothing.
type Protection struct {
	Kind Kind
	Path string     // of Elsewhere; absolute
	URI  pkcs11.URI // of Token
}

// ReasonProtection is the fault reason of a protection that cannot be chosen, or not now.
const ReasonProtection = "RootKeyProtection"

// ParseProtection parses file, file:PATH, passphrase or a PKCS #11 URI; "" chooses nothing.
func ParseProtection(s string) (Protection, error) {
	switch {
	case s == "":
		return Protection{}, nil
	case s == "file":
		return Protection{Kind: File}, nil
	case s == "passphrase":
		return Protection{Kind: Passphrase}, nil
	case strings.HasPrefix(s, "file:"):
		path := filepath.Clean(strings.TrimPrefix(s, "file:"))
		if !filepath.IsAbs(path) {
			return Protection{}, notAProtection("file: needs an absolute path")
		}
		return Protection{Kind: Elsewhere, Path: path}, nil
	case strings.HasPrefix(s, pkcs11.Scheme):
		return parseToken(s)
	}
	return Protection{}, notAProtection("it is none of file, file:PATH, passphrase, pkcs11:URI")
}

func parseToken(s string) (Protection, error) {
	u, err := pkcs11.ParseURI(s)
	if err != nil {
		return Protection{}, notAProtection(err.Error())
	}
	if u.Object == "" || len(s) > maxParameters/2 {
		return Protection{}, notAProtection("the URI must name the key in the token: object=LABEL")
	}
	return Protection{Kind: Token, URI: u}, nil
}

func notAProtection(why string) error {
	return fault.New(fault.Invalid, ReasonProtection, "The protection of the root key is not valid: %s.", why)
}

// String returns what ParseProtection parses. It holds no secret.
func (p Protection) String() string {
	switch p.Kind {
	case File:
		return "file"
	case Elsewhere:
		return "file:" + p.Path
	case Passphrase:
		return "passphrase"
	case Token:
		return p.URI.String()
	}
	return ""
}

// outside demands of a file elsewhere that it is not in the data directory: who copies the directory would
// copy the key with it.
func (p Protection) outside(dir string) error {
	if p.Kind != Elsewhere {
		return nil
	}
	rel, err := filepath.Rel(dir, p.Path)
	if err == nil && (rel == "." || rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))) {
		return notAProtection("the file of file:PATH must be outside of the data directory")
	}
	return nil
}

// agreed is the protection with which to open a directory that is protected by p, when said was asked for.
func (p Protection) agreed(said Protection) (Protection, error) {
	switch {
	case said.Kind == 0:
		return p, nil
	case said.Kind != p.Kind:
		return p, fault.New(fault.Conflict, ReasonProtection,
			"The root key of this directory is protected by %q, not by %q. Leave --root-key out, or change the protection with: latchkey rootkey rotate --to %s.", p, said, short(said))
	}
	return said, nil
}

// short is the protection as an example on a command line.
func short(p Protection) string {
	if p.Kind == Token {
		return "pkcs11:…"
	}
	return p.String()
}
