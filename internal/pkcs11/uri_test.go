package pkcs11

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestParseURI(t *testing.T) {
	three := uint(3)
	for _, c := range []struct {
		in   string
		want URI
		bad  string // part of the error
	}{
		{in: "pkcs11:module-path=/lib/a.so;token=NAME;object=LABEL", want: URI{Module: "/lib/a.so", Token: "NAME", Object: "LABEL"}},
		{in: "pkcs11:token=My%20token;object=root%3bkey;type=secret-key?module-path=/lib/a.so&pin-source=file:/run/pin",
			want: URI{Module: "/lib/a.so", Token: "My token", Object: "root;key", PINSource: "/run/pin"}},
		{in: "pkcs11:slot-id=3;id=%00%ff;serial=12;model=m;manufacturer=x?module-path=/l.so&pin-source=file:///run/pin",
			want: URI{Module: "/l.so", Slot: &three, ID: []byte{0, 255}, Serial: "12", Model: "m", Manufacturer: "x", PINSource: "/run/pin"}},
		{in: "file:/x", bad: "begin"},
		{in: "pkcs11:token=x", bad: "module-path"},
		{in: "pkcs11:module-path=lib.so", bad: "absolute"},
		{in: "pkcs11:module-path=/a.so?pin-value=1234", bad: "pin-value"},
		{in: "pkcs11:module-path=/a.so?pin-source=|/bin/x", bad: "pin-source"},
		{in: "pkcs11:module-path=/a.so;colour=red", bad: `"colour"`},
		{in: "pkcs11:module-path=/a.so;token=a;token=b", bad: "twice"},
		{in: "pkcs11:module-path=/a.so;token=%zz", bad: "malformed"},
		{in: "pkcs11:module-path=/a.so;slot-id=-1", bad: "slot-id"},
	} {
		got, err := ParseURI(c.in)
		if c.bad != "" {
			if !errors.Is(err, ErrURI) || !strings.Contains(err.Error(), c.bad) || strings.Contains(err.Error(), "1234") {
				t.Errorf("%s: %v", c.in, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", c.in, got, err)
		}
		if again, err := ParseURI(got.String()); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: written as %s: %v", c.in, got, err)
		}
	}
}

func TestPIN(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ given, source, want string }{
		{"1234", "", "1234"},
		{"1234", write("other", "9"), "1234"},
		{"", write("pin", " 12 34\r\n"), " 12 34"},
		{"", write("empty", "\n"), ""},
		{"", write("long", strings.Repeat("1", maxPIN+1)), ""},
		{"", filepath.Join(dir, "missing"), ""},
		{"", "", ""},
	} {
		pin, err := URI{PINSource: c.source}.PIN(c.given)
		if c.want == "" && !errors.Is(err, ErrPIN) || c.want != "" && (err != nil || string(pin.Reveal()) != c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
