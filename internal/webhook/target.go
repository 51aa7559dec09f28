package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Target is a receiver and what it wants to hear.
type Target struct {
	URL   string
	Vault string // name of the only vault that matters; "" for all
}

// ParseTarget reads URL[,vault=NAME]. Plain http to another machine is refused unless insecure.
func ParseTarget(s string, insecure bool) (Target, error) {
	const option = ",vault="
	t := Target{URL: s}
	if i := strings.LastIndex(s, option); i >= 0 {
		if t.URL, t.Vault = s[:i], s[i+len(option):]; t.Vault == "" {
			return t, fmt.Errorf("after ,vault= the name of a vault must follow")
		}
	}
	u, err := url.Parse(t.URL)
	switch {
	case err != nil || strings.Contains(u.Host, ","):
		return t, fmt.Errorf("after the address only ,vault=NAME may follow")
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return t, fmt.Errorf("the address must begin with https://")
	case u.User != nil:
		return t, fmt.Errorf("the address must not hold a password")
	case u.Scheme == "http" && !insecure && !loopback(u.Hostname()):
		return t, fmt.Errorf("%s is another machine: use https", u.Hostname())
	}
	return t, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// id names the target's queue; it stays the same over restarts.
func (t Target) id() string {
	sum := sha256.Sum256([]byte(t.URL + "\x00" + strings.ToLower(t.Vault)))
	return hex.EncodeToString(sum[:8])
}

// host is how logs name the target.
func (t Target) host() string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return ""
	}
	return u.Host
}

// wants reports whether the target is told about a vault.
func (t Target) wants(vault string) bool { return t.Vault == "" || strings.EqualFold(t.Vault, vault) }
