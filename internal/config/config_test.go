package config_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/latchkey-db/latchkey/internal/config"
)

func environment(pairs ...string) func(string) (string, bool) {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) (string, bool) { v, ok := m[name]; return v, ok }
}

func getenv(lookup func(string) (string, bool)) func(string) string {
	return func(name string) string { v, _ := lookup(name); return v }
}

func TestDefaultsAreValid(t *testing.T) {
	c := config.Default(getenv(environment("HOME", "/home/u")))
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/home/u/.local/share/latchkey" {
		t.Errorf("DataDir = %q", c.DataDir)
	}
	x := config.Default(getenv(environment("HOME", "/home/u", "XDG_DATA_HOME", "/x")))
	if x.DataDir != "/x/latchkey" {
		t.Errorf("DataDir with XDG_DATA_HOME = %q", x.DataDir)
	}
}

func TestFlagWinsOverEnvironmentWinsOverDefault(t *testing.T) {
	env := environment("HOME", "/h", "LATCHKEY_DATA", "/env", "LATCHKEY_KEY_GRACE", "5m",
		"LATCHKEY_LOG_LEVEL", "debug", "LATCHKEY_EMULATOR", "true", "LATCHKEY_LISTEN", "")
	c := config.Default(getenv(env))
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.Bind(f)
	if err := f.Parse([]string{"--data", "/flag"}); err != nil {
		t.Fatal(err)
	}
	if err := config.Overlay(f, env); err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/flag" || c.KeyGrace != 5*time.Minute || c.LogLevel != slog.LevelDebug || !c.Emulator {
		t.Errorf("got %+v", c)
	}
	if c.Listen != "127.0.0.1:8443" || c.KeyCheckInterval != time.Minute {
		t.Errorf("defaults are lost: %+v", c)
	}
}

// TestSecretsHaveNoFlags: they come from the environment and are shown nowhere.
func TestSecretsHaveNoFlags(t *testing.T) {
	env := environment("LATCHKEY_ROOT_PASSPHRASE", "hush", "LATCHKEY_PKCS11_PIN", "1234", "LATCHKEY_ROOT_KEY", "passphrase")
	c := config.Default(getenv(env))
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.Bind(f)
	if err := config.Overlay(f, env); err != nil {
		t.Fatal(err)
	}
	c.ReadSecrets(env)
	if c.RootKey != "passphrase" || !c.RootPassphrase.Equal([]byte("hush")) || c.TokenPIN != "1234" {
		t.Errorf("got %q, %q", c.RootKey, c.TokenPIN)
	}
	if f.Lookup("root-passphrase") != nil || f.Lookup("pkcs11-pin") != nil || strings.Contains(f.FlagUsages(), "hush") {
		t.Error("a secret has a flag")
	}
	if none := config.Default(getenv(environment())); none.RootPassphrase != nil {
		t.Error("a passphrase out of nothing")
	}
}

func TestOverlayReportsAllBadValues(t *testing.T) {
	env := environment("LATCHKEY_KEY_GRACE", "soon", "LATCHKEY_EMULATOR", "perhaps")
	c := config.Default(getenv(env))
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	c.Bind(f)
	var invalid *config.InvalidError
	if err := config.Overlay(f, env); !errors.As(err, &invalid) || len(invalid.Problems) != 2 {
		t.Fatalf("err = %v, want two problems", err)
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*config.Config)
		want   []string // one substring for each problem; none = valid
	}{
		{"free ports do not clash", func(c *config.Config) { c.Listen, c.ProxyListen = "127.0.0.1:0", "127.0.0.1:0" }, nil},
		{"front for other machines", func(c *config.Config) { c.Listen = "0.0.0.0:8443" }, nil},
		{"proxy for other machines", func(c *config.Config) { c.ProxyListen = "0.0.0.0:8442" }, []string{"proxy-listen"}},
		{"proxy for other machines, asked for", func(c *config.Config) { c.ProxyListen, c.ProxyRemote = "0.0.0.0:8442", true }, nil},
		{"emulator for other machines", func(c *config.Config) { c.Emulator, c.EmulatorListen = true, "0.0.0.0:8081" }, []string{"emulator-listen"}},
		{"emulator address is not used", func(c *config.Config) { c.EmulatorListen = "0.0.0.0:8081" }, nil},
		{"same address twice", func(c *config.Config) { c.ProxyListen = c.Listen }, []string{"is the address of listen"}},
		{"root key elsewhere", func(c *config.Config) { c.RootKey = "file:/mnt/key" }, nil},
		{"root key nowhere", func(c *config.Config) { c.RootKey = "cloud" }, []string{"root-key:"}},
		{"all at once", func(c *config.Config) {
			*c = config.Config{Listen: "x", ProxyListen: "127.0.0.1:99999", KeyGrace: -1, LogFormat: "xml"}
		}, []string{"data:", "key-check-interval:", "key-grace:", "max-open-accounts:", "cache-mib:", "range-mib:", "reencrypt-mib:", "log-format:", "listen:", "proxy-listen:"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default(func(string) string { return "/h" })
			tt.change(&c)
			check(t, c.Validate(), tt.want)
		})
	}
}

func check(t *testing.T, err error, want []string) {
	t.Helper()
	var invalid *config.InvalidError
	if !errors.As(err, &invalid) {
		if err != nil || want != nil {
			t.Fatalf("err = %v, want %q", err, want)
		}
		return
	}
	if len(invalid.Problems) != len(want) {
		t.Fatalf("problems = %q, want %q", invalid.Problems, want)
	}
	for i, w := range want {
		if !strings.Contains(invalid.Problems[i], w) {
			t.Errorf("problem %d = %q, want %q", i, invalid.Problems[i], w)
		}
	}
}
