package cosmos

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/latchkey-db/latchkey/internal/docdb"
)

// FuzzAuthorization: no header makes the parser fail in another way than by refusing it.
func FuzzAuthorization(f *testing.F) {
	for _, s := range []string{"type=master&ver=1.0&sig=a+b=", "type%3Dmaster%26ver%3D1.0%26sig%3Da%2Bb%3D", "type=aad&ver=1.0&sig=x.y.z,other", "%", "type=master"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		c, err := parseAuthorization(header)
		if err == nil && (c.sig == "" || strings.Contains(c.sig, ",")) {
			t.Fatalf("%q gave signature %q", header, c.sig)
		}
	})
}

// FuzzPath: what is accepted has no empty part, and its shape has as many parts.
func FuzzPath(f *testing.F) {
	for _, s := range []string{"/", "/dbs/d/colls/c/docs/a%20b/", "//addresses/", "/dbs/%2F", "dbs//x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		p, err := parsePath(escaped)
		if err != nil {
			return
		}
		for _, s := range p {
			if s == "" {
				t.Fatalf("%q gave an empty part", escaped)
			}
		}
		p.shape()
		p.signed()
		p.signedByRID()
	})
}

func TestAuthorizationForms(t *testing.T) {
	tests := []struct {
		header string
		want   credential
	}{
		{"type%3dmaster%26ver%3d1.0%26sig%3da%2bb%3d", credential{"master", "a+b="}},
		{"type=master&ver=1.0&sig=a+b=", credential{"master", "a+b="}},
		{"type=aad&ver=1.0&sig=x.y.z", credential{"aad", "x.y.z"}},
		{"type%3Daad%26ver%3D1.0%26sig%3Dx.y.z", credential{"aad", "x.y.z"}},
		{"type=master&ver=1&sig=a, b", credential{"master", "a"}},
	}
	for _, tt := range tests {
		if got, err := parseAuthorization(tt.header); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v", tt.header, got, err)
		}
	}
	for _, bad := range []string{"", "type=master", "type=master&ver=2&sig=a", "ver=1.0&type=master&sig=a", "type=master&ver=1.0&sig=", "%zz", strings.Repeat("a", 20000)} {
		if got, err := parseAuthorization(bad); err == nil {
			t.Errorf("%.40q: accepted as %+v", bad, got)
		}
	}
}

// TestSigned follows the rules of resource links.
func TestSigned(t *testing.T) {
	for in, want := range map[string]string{
		"/": " ", "/dbs": "dbs ", "/dbs/a%20B": "dbs dbs/a B", "/dbs/D/colls/": "colls dbs/D",
		"/dbs/d/colls/c/docs": "docs dbs/d/colls/c", "/dbs/d/colls/c/docs/x": "docs dbs/d/colls/c/docs/x", "/offers": "offers ",
	} {
		p, err := parsePath(in)
		if err != nil {
			t.Fatal(err)
		}
		if kind, link := p.signed(); kind+" "+link != want {
			t.Errorf("%s: %q %q, want %q", in, kind, link, want)
		}
	}
	p, _ := parsePath("/dbs/Qk1zAA==/colls/Qk1zAOx2bF0=/docs")
	if link, ok := p.signedByRID(); !ok || link != "qk1zaox2bf0=" {
		t.Errorf("got %q, %v", link, ok)
	}
	p, _ = parsePath("/dbs/shop-data")
	if link, ok := p.signedByRID(); ok {
		t.Errorf("a name was taken for a resource id: %q", link)
	}
}

func TestSelectWhere(t *testing.T) {
	all := [][]byte{[]byte(`{"id":"a"}`), []byte(`{"id":"b"}`)}
	params := map[string]json.RawMessage{"@id": []byte(`"b"`)}
	tests := []struct {
		text string
		want int // -1: refused
	}{
		{"SELECT * FROM c", 2}, {"select * from root r", 2}, {"SELECT * FROM root r WHERE r.id=@id", 1},
		{"SELECT * FROM c WHERE c.id = 'a'", 1}, {`SELECT * FROM c WHERE c["id"] = "z"`, 0}, {"SELECT * FROM c WHERE c.id=@other", 0},
		{"SELECT * FROM c WHERE d.id='a'", -1}, {"", -1},
	}
	for _, tt := range tests {
		got, err := selectFrom(t.Context(), docdb.Query{Text: tt.text, Parameters: params}, all)
		if n := len(got); err == nil && n != tt.want || err != nil && tt.want != -1 {
			t.Errorf("%s: %d, %v; want %d", tt.text, n, err, tt.want)
		}
	}
}
