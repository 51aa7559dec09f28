package naming

import "testing"

func TestResolve(t *testing.T) {
	for host, want := range map[string]Target{
		"management.azure.com":                {Management, "", Azure()},
		"Management.Azure.com:443":            {Management, "", Azure()},
		"login.microsoftonline.com.":          {Login, "", Azure()},
		"KV1.vault.azure.net":                 {Vault, "kv1", Azure()},
		"acct-eastus.documents.azure.com:443": {Documents, "acct-eastus", Azure()},
		"kv1.vault.localhost:8443":            {Vault, "kv1", Local(8443)},
		"login.localhost:8443":                {Login, "", Local(8443)},
		"localhost":                           {Home, "", Local(8443)},
		"[::1]:8443":                          {Home, "", Local(8443)},
		"vault.azure.net":                     {},
		"a.b.vault.azure.net":                 {},
		"evil.com":                            {},
		"management.azure.com.evil.com":       {},
		"kv1.vault.azure.net.evil.com":        {},
		"":                                    {},
	} {
		got, ok := Resolve(host, 8443)
		if got != want || ok != (want != Target{}) {
			t.Errorf("%q: got %+v, %v", host, got, ok)
		}
	}
}

func TestAddresses(t *testing.T) {
	a, l := Azure(), Local(8443)
	for got, want := range map[string]string{
		a.VaultURI("kv1"):            "https://kv1.vault.azure.net/",
		l.VaultURI("kv1"):            "https://kv1.vault.localhost:8443/",
		a.DocumentsEndpoint("acct1"): "https://acct1.documents.azure.com:443/",
		l.DocumentsEndpoint("acct1"): "https://acct1.documents.localhost:8443/",
		a.LoginHost():                "login.microsoftonline.com",
		l.ManagementHost():           "management.localhost:8443",
		l.GraphHost():                "graph.localhost:8443",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("kv1.vault.azure.net:443")
	f.Fuzz(func(t *testing.T, host string) {
		target, ok := Resolve(host, 1)
		if again, ok2 := Resolve(host, 1); ok != ok2 || target != again {
			t.Errorf("%q resolves twice differently", host)
		}
		if !ok && target != (Target{}) {
			t.Errorf("%q: %+v", host, target)
		}
	})
}
