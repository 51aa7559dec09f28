package uri

import (
	"strings"
	"testing"
)

func TestParseResourceID(t *testing.T) {
	for _, tc := range []struct{ in, canonical, typ, name string }{
		{"/subscriptions/s/resourcegroups/RG/providers/Microsoft.KeyVault/vaults/v", "/subscriptions/s/resourceGroups/RG/providers/Microsoft.KeyVault/vaults/v", "Microsoft.KeyVault/vaults", "v"},
		{"/subscriptions/s/resourceGroups/rg/providers/P/a/b/c/d/", "/subscriptions/s/resourceGroups/rg/providers/P/a/b/c/d", "P/a/c", "d"},
		{"/subscriptions/s/providers/P/a", "/subscriptions/s/providers/P/a", "P/a", ""},
		{"/", "/", "", ""},
	} {
		id, err := ParseResourceID(tc.in)
		if err != nil || id.String() != tc.canonical || id.Type() != tc.typ || id.Name() != tc.name {
			t.Errorf("%s: %q %q %q %v", tc.in, id, id.Type(), id.Name(), err)
		}
	}
	for _, in := range []string{"/nonsense/x", "/subscriptions//x", "/subscriptions/s/providers/P/a/b/providers/Q/c/d"} {
		if id, err := ParseResourceID(in); err == nil {
			t.Errorf("%s: %q", in, id)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, tc := range []struct {
		child, scope, rest string
		ok                 bool
	}{
		{"/a/b/c", "/A/B", "c", true}, {"/a/b", "/a/b/", "", true}, {"/a/bc", "/a/b", "", false}, {"/a", "/", "a", true}, {"/", "/a", "", false},
		{"/a/\u212a", "/a/k", "", true}, // the Kelvin sign folds to k and has another length
	} {
		if rest, ok := Below(tc.child, tc.scope); ok != tc.ok || ok && rest != tc.rest {
			t.Errorf("Below(%q, %q) = %q, %v", tc.child, tc.scope, rest, ok)
		}
	}
}

func TestParseKeyID(t *testing.T) {
	const version = "0123456789abcdef0123456789ABCDEF"
	for in, want := range map[string]string{
		"https://V.vault.azure.net/keys/k":               "https://v.vault.azure.net/keys/k",
		"https://v.vault.azure.net:443/Keys/k-1":         "https://v.vault.azure.net:443/keys/k-1",
		"https://v.vault.azure.net/keys/k/" + version:    "https://v.vault.azure.net/keys/k/" + strings.ToLower(version),
		"http://v.vault.azure.net/keys/k":                "",
		"https://v.vault.azure.net/keys/":                "",
		"https://v.vault.azure.net/keys/k/":              "",
		"https://v.vault.azure.net/secrets/k":            "",
		"https://v.vault.azure.net/keys/k/notaversion":   "",
		"https://v.vault.azure.net/keys/k?api-version=7": "",
		"https://u:p@v.vault.azure.net/keys/k":           "",
		"https://v.vault.azure.net/keys/k_1":             "",
		"":                                               "",
	} {
		id, err := ParseKeyID(in)
		if want == "" && err == nil || want != "" && (err != nil || id.String() != want) {
			t.Errorf("%q: %q, %v", in, id, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/subscriptions/s/resourceGroups/g/providers/P/a/b")
	f.Add("https://v.vault.azure.net/keys/k")
	f.Add("\u0130/providers/")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseResourceID(s); err == nil {
			again, err := ParseResourceID(id.String())
			if err != nil || again.Key() != id.Key() {
				t.Errorf("%q: %q is not parsed again: %v", s, id, err)
			}
		}
		if k, err := ParseKeyID(s); err == nil {
			if again, err := ParseKeyID(k.String()); err != nil || again != k {
				t.Errorf("%q: %q is not parsed again: %v", s, k, err)
			}
		}
		scope, extension, ok := SplitExtension(s)
		if len(scope)+len(extension) > len(s) || !ok && scope != s {
			t.Errorf("%q splits into %q and %q", s, scope, extension)
		}
		if !Within(s, s) || !Within(s, "/") {
			t.Errorf("%q is not within itself", s)
		}
	})
}
