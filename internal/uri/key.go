package uri

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// KeyID names a key in a vault: https://{host}/keys/{name}[/{version}].
type KeyID struct {
	Host    string // with a port where the URI has one
	Name    string
	Version string // "" for the versionless form
}

var (
	keyName    = regexp.MustCompile(`^[0-9A-Za-z-]{1,127}$`)
	keyVersion = regexp.MustCompile(`^[0-9a-fA-F]{32}$`)
)

// ParseKeyID parses a key URI. It refuses anything but https, a host, /keys/, a key name and
// possibly a version.
func ParseKeyID(s string) (KeyID, error) {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return KeyID{}, fmt.Errorf("uri: not a key URI")
	}
	parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	if len(parts) < 2 || len(parts) > 3 || !strings.EqualFold(parts[0], "keys") || !keyName.MatchString(parts[1]) {
		return KeyID{}, fmt.Errorf("uri: not a key URI")
	}
	k := KeyID{Host: strings.ToLower(u.Host), Name: parts[1]}
	if len(parts) == 3 {
		if !keyVersion.MatchString(parts[2]) {
			return KeyID{}, fmt.Errorf("uri: not a key version")
		}
		k.Version = strings.ToLower(parts[2])
	}
	return k, nil
}

// Vault is the first label of the host: the vault's name.
func (k KeyID) Vault() string { return strings.SplitN(k.Host, ".", 2)[0] }

// VaultURL is the address of the vault without a trailing slash.
func (k KeyID) VaultURL() string { return "https://" + k.Host }

// Versionless returns k without its version.
func (k KeyID) Versionless() KeyID { k.Version = ""; return k }

// String returns the URI.
func (k KeyID) String() string {
	s := "https://" + k.Host + "/keys/" + k.Name
	if k.Version != "" {
		s += "/" + k.Version
	}
	return s
}
