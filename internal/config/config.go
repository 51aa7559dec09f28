// Package config holds what a server can be told before it starts.
//
// [Config] is the one struct; [Default] fills it so that a server starts with no configuration at
// all. Every setting has a flag (--key-grace), and the same name in the environment
// (LATCHKEY_KEY_GRACE); the flag wins over the environment, the environment over the default.
// [Config.Bind] makes the flags, [Overlay] reads the environment, [Config.Validate] reports every
// problem at once. Nothing below this package reads the environment.
//
// Secrets have no flags: a passphrase or a PIN comes from a file that a flag names, from the environment
// ([Config.ReadSecrets]), or from a person.
package config

import (
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/latchkey-db/latchkey/internal/rootkey"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/webhook"
)

// Prefix starts the name of every setting in the environment.
const Prefix = "LATCHKEY_"

// The formats of log lines.
const (
	FormatText = "text"
	FormatJSON = "json"
)

// Config is a server's configuration. Addresses are host:port; port 0 takes a free one.
type Config struct {
	DataDir          string        // everything durable is below this directory
	Listen           string        // the front: all services over TLS
	ProxyListen      string        // the proxy that leads Azure's host names to the front
	ProxyRemote      bool          // let ProxyListen be another address than loopback
	Emulator         bool          // serve a document endpoint with the emulator's well-known key
	EmulatorListen   string        // where; always loopback, because that key is public
	KeyCheckInterval time.Duration // how often each account's key is probed
	KeyGrace         time.Duration // how long an account stays open while its vault is silent
	MaxOpenAccounts  int           // how many accounts may have their store open
	IdleClose        time.Duration // how long an unused account stays open; 0 for ever
	CacheMiB         int           // memory of all open stores together
	HSM              string        // PKCS #11 URI of the token for vault keys of the types that end in -HSM; "": software
	EnforceRU        bool          // refuse requests beyond the throughput of their container or database
	RangeMiB         int           // what the documents of a partition key range may take before it is split
	ReencryptMiB     int           // what background re-encryption may read, and write, in a second
	VaultLimits      bool          // enforce the service's limits of operations on vaults
	AllowFaults      bool          // let operators disturb vaults, to rehearse
	Webhooks         []string      // receivers of events: URL[,vault=NAME]
	WebhookInsecure  bool          // let events go to other machines without TLS
	WebhookSecret    string        // file with the secret that signs events
	WebhookKey       *secret.Bytes // the secret itself, when there is no file; never a flag
	LogLevel         slog.Level
	LogFormat        string // FormatText or FormatJSON

	// RootKey is how the root key is protected: file, file:PATH, passphrase or a PKCS #11 URI; "" as the
	// data directory says, and file for a new one.
	RootKey            string
	RootPassphraseFile string // its first line is the passphrase

	// These have no flags: an argument can be seen by everybody.
	RootPassphrase   *secret.Bytes                 // nil: not given
	TokenPIN         string                        // of the PKCS #11 token; "": not given
	AskPassphrase    func() (*secret.Bytes, error) // asks a person; nil: there is none
	AskNewPassphrase func() (*secret.Bytes, error) // the same, twice
}

// Default returns the configuration of a server that was told nothing. getenv serves to find the
// user's home (HOME, XDG_DATA_HOME); settings are read by [Overlay].
func Default(getenv func(string) string) Config {
	return Config{
		DataDir:          defaultDataDir(getenv),
		Listen:           "127.0.0.1:8443",
		ProxyListen:      "127.0.0.1:8442",
		EmulatorListen:   "127.0.0.1:8081",
		KeyCheckInterval: time.Minute,
		KeyGrace:         time.Hour,
		MaxOpenAccounts:  256,
		IdleClose:        15 * time.Minute,
		CacheMiB:         256,
		ReencryptMiB:     64,
		RangeMiB:         50 << 10,
		LogFormat:        FormatText,
	}
}

// defaultDataDir follows the XDG base directory specification; it is empty when there is no home,
// which Validate reports.
func defaultDataDir(getenv func(string) string) string {
	if base := getenv("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "latchkey")
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".local", "share", "latchkey")
	}
	return ""
}

// BindData adds the flag of the data directory alone, for the verbs that talk to a server.
func (c *Config) BindData(f *pflag.FlagSet) {
	f.StringVar(&c.DataDir, "data", c.DataDir, "data `directory`")
}

// BindKeys adds the flags of who opens a data directory without a server: where it is, and how to get at its
// root key.
func (c *Config) BindKeys(f *pflag.FlagSet) {
	c.BindData(f)
	f.StringVar(&c.RootKey, "root-key", c.RootKey, "`protection` of the root key: file, file:PATH, passphrase or a pkcs11: URI; default: as the directory says, file for a new one")
	f.StringVar(&c.RootPassphraseFile, "root-passphrase-file", c.RootPassphraseFile, "`file` whose first line is the passphrase of the root key")
}

// The secrets that only the environment can give, beside files.
const (
	RootPassphraseVariable    = Prefix + "ROOT_PASSPHRASE"
	NewRootPassphraseVariable = Prefix + "NEW_ROOT_PASSPHRASE"
	TokenPINVariable          = Prefix + "PKCS11_PIN"
)

// ReadSecrets takes the secrets from the environment.
func (c *Config) ReadSecrets(lookup func(string) (string, bool)) {
	c.RootPassphrase = Secret(lookup, RootPassphraseVariable)
	c.TokenPIN, _ = lookup(TokenPINVariable)
}

// Secret is a secret in the environment; nil when it is not there or empty.
func Secret(lookup func(string) (string, bool), name string) *secret.Bytes {
	if v, ok := lookup(name); ok && v != "" {
		return secret.From([]byte(v))
	}
	return nil
}

// Bind adds a flag for every setting to f. The flags' defaults are c's present values.
func (c *Config) Bind(f *pflag.FlagSet) {
	c.BindKeys(f)
	f.StringVar(&c.Listen, "listen", c.Listen, "`address` of the front (TLS, all services)")
	f.StringVar(&c.ProxyListen, "proxy-listen", c.ProxyListen, "`address` of the proxy for Azure's host names")
	f.BoolVar(&c.ProxyRemote, "proxy-remote", c.ProxyRemote, "allow a proxy address that other machines can reach")
	f.BoolVar(&c.Emulator, "emulator", c.Emulator, "serve a document endpoint with the emulator's public key")
	f.StringVar(&c.EmulatorListen, "emulator-listen", c.EmulatorListen, "`address` of that endpoint, loopback only")
	f.DurationVar(&c.KeyCheckInterval, "key-check-interval", c.KeyCheckInterval, "how often each account's key is probed")
	f.DurationVar(&c.KeyGrace, "key-grace", c.KeyGrace, "how long an account stays open while its vault does not answer")
	f.IntVar(&c.MaxOpenAccounts, "max-open-accounts", c.MaxOpenAccounts, "how many accounts may have their store open; one more closes the least used")
	f.DurationVar(&c.IdleClose, "idle-close", c.IdleClose, "close an account that was not used for so long; 0 never")
	f.IntVar(&c.CacheMiB, "cache-mib", c.CacheMiB, "`MiB` of memory for the caches of all open accounts")
	f.IntVar(&c.ReencryptMiB, "reencrypt-mib", c.ReencryptMiB, "`MiB` a second that background re-encryption may move")
	f.IntVar(&c.RangeMiB, "range-mib", c.RangeMiB, "stored `MiB` of documents beyond which a partition key range is split")
	f.StringVar(&c.HSM, "hsm", c.HSM, "pkcs11: `URI` of the token in which vault keys of the types that end in -HSM live; default: software keys")
	f.BoolVar(&c.EnforceRU, "enforce-throughput", c.EnforceRU, "answer requests beyond a container's or database's throughput with 429")
	f.BoolVar(&c.VaultLimits, "vault-limits", c.VaultLimits, "answer requests beyond Key Vault's limits with 429")
	f.BoolVar(&c.AllowFaults, "allow-faults", c.AllowFaults, "let latchkey fault disturb vaults, to rehearse outages")
	f.StringArrayVar(&c.Webhooks, "webhook", c.Webhooks, "tell `URL[,vault=NAME]` of new versions, expiry and state of keys and secrets; may be repeated")
	f.BoolVar(&c.WebhookInsecure, "webhook-insecure", c.WebhookInsecure, "allow webhooks on other machines without TLS")
	f.StringVar(&c.WebhookSecret, "webhook-secret-file", c.WebhookSecret, "`file` with the secret that signs webhooks; without it LATCHKEY_WEBHOOK_SECRET")
	f.TextVar(&c.LogLevel, "log-level", c.LogLevel, "least `level` to log: debug, info, warn or error")
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "`format` of log lines: text or json")
}

// Overlay sets every flag of f that was not given on the command line and that the environment has,
// as LATCHKEY_ and the flag's name. It reports all values that do not parse as an [*InvalidError].
func Overlay(f *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var problems []string
	f.VisitAll(func(flag *pflag.Flag) {
		name := Variable(flag.Name)
		value, ok := lookup(name)
		if !ok || value == "" || flag.Changed {
			return
		}
		if err := flag.Value.Set(value); err != nil {
			problems = append(problems, fmt.Sprintf("%s: %q is not valid: %v", name, value, err))
		}
	})
	return invalid(problems)
}

// Variable is the name in the environment of the setting that flag sets.
func Variable(flag string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// InvalidError lists everything that is wrong with a configuration.
type InvalidError struct{ Problems []string }

// Error joins the problems with semicolons.
func (e *InvalidError) Error() string {
	return "invalid configuration: " + strings.Join(e.Problems, "; ")
}

func invalid(problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return &InvalidError{Problems: problems}
}

// Validate reports all problems of c as one [*InvalidError], or nil. It touches neither disk nor
// network.
func (c *Config) Validate() error {
	var p []string
	add := func(ok bool, format string, args ...any) {
		if !ok {
			p = append(p, fmt.Sprintf(format, args...))
		}
	}
	add(c.DataDir != "", "data: no directory is given and there is no home directory to put it in")
	add(c.KeyCheckInterval > 0, "key-check-interval: %v is not positive", c.KeyCheckInterval)
	add(c.KeyGrace >= 0, "key-grace: %v is negative", c.KeyGrace)
	add(c.MaxOpenAccounts > 0, "max-open-accounts: %d is not positive", c.MaxOpenAccounts)
	add(c.IdleClose >= 0, "idle-close: %v is negative", c.IdleClose)
	add(c.CacheMiB > 0, "cache-mib: %d is not positive", c.CacheMiB)
	add(c.RangeMiB > 0, "range-mib: %d is not positive", c.RangeMiB)
	add(c.ReencryptMiB > 0, "reencrypt-mib: %d is not positive", c.ReencryptMiB)
	_, err := rootkey.ParseProtection(c.RootKey)
	add(err == nil, "root-key: %v", err)
	for _, w := range c.Webhooks {
		_, err := webhook.ParseTarget(w, c.WebhookInsecure)
		add(err == nil, "webhook: %v", err)
	}
	add(len(c.Webhooks) == 0 || c.WebhookSecret != "" || c.WebhookKey != nil, "webhook: there is no secret to sign with: give webhook-secret-file, or LATCHKEY_WEBHOOK_SECRET")
	add(c.LogFormat == FormatText || c.LogFormat == FormatJSON, "log-format: %q is neither text nor json", c.LogFormat)
	return invalid(append(p, c.addressProblems()...))
}

// addressProblems checks the listening addresses one by one and against each other.
func (c *Config) addressProblems() (problems []string) {
	addresses := []struct {
		flag, value string
		remote      bool // other machines may be let in
	}{
		{"listen", c.Listen, true},
		{"proxy-listen", c.ProxyListen, c.ProxyRemote},
		{"emulator-listen", c.EmulatorListen, false},
	}
	taken := map[string]string{}
	for _, a := range addresses {
		if a.flag == "emulator-listen" && !c.Emulator {
			continue
		}
		if problem := addressProblem(a.value, a.remote); problem != "" {
			problems = append(problems, a.flag+": "+problem)
			continue
		}
		if _, port, _ := net.SplitHostPort(a.value); port == "0" {
			continue
		}
		if other, ok := taken[a.value]; ok {
			problems = append(problems, fmt.Sprintf("%s: %s is the address of %s already", a.flag, a.value, other))
		}
		taken[a.value] = a.flag
	}
	return problems
}

// addressProblem says what is wrong with one address; "" when nothing is.
func addressProblem(address string, remote bool) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Sprintf("%q is not host:port", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Sprintf("%q has no port between 0 and 65535", address)
	}
	if !remote && !isLoopback(host) {
		return fmt.Sprintf("%q is not a loopback address", address)
	}
	return ""
}

// isLoopback reports whether host can be reached from this machine only.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
