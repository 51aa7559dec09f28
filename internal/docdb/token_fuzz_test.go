package docdb

import (
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/google/uuid"
)

// FuzzResourceToken: no text makes the parser of resource tokens do anything but take it apart or refuse it,
// and what it takes apart says one thing only.
func FuzzResourceToken(f *testing.F) {
	c := claims{user: [8]byte{0, 0, 0, 1, 0, 0, 0, 2}, permission: 3, userVersion: uuid.Nil, permissionVersion: uuid.Max, start: 5, end: 6}
	good := base64.StdEncoding.EncodeToString(claimsMAC([]byte("secret"), c.encode())) + ";" + base64.StdEncoding.EncodeToString(c.encode()) + ";"
	for _, s := range []string{good, good[1:], good + ";", ";;", "", "a;b;", "AA==;AA==;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sig string) {
		mac, raw, c, ok := parseToken(sig)
		if !ok {
			return
		}
		if len(mac) != 32 || !bytes.Equal(c.encode(), raw) {
			t.Fatalf("%q: MAC of %d bytes, claims %+v", sig, len(mac), c)
		}
		if again := base64.StdEncoding.EncodeToString(mac) + ";" + base64.StdEncoding.EncodeToString(raw) + ";"; again != sig {
			t.Fatalf("%q is another writing of %q", sig, again)
		}
	})
}

// TestClaimsGolden holds the bytes of docs/FORMAT.md.
func TestClaimsGolden(t *testing.T) {
	c := claims{user: [8]byte{0, 0, 0, 1, 0, 0, 0, 2}, permission: 3, start: 0x0102, end: 0x0304,
		userVersion: uuid.MustParse("00112233-4455-6677-8899-aabbccddeeff"), permissionVersion: uuid.MustParse("ffeeddcc-bbaa-9988-7766-554433221100")}
	const want = "AQAAAAEAAAACAAAAAwARIjNEVWZ3iJmqu8zd7v//7t3Mu6qZiHdmVUQzIhEAAAAAAAAAAQIAAAAAAAADBA=="
	if got := base64.StdEncoding.EncodeToString(c.encode()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if back, ok := decodeClaims(c.encode()); !ok || back != c {
		t.Errorf("read back: %+v, %v", back, ok)
	}
}
