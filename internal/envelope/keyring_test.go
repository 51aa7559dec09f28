package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// goldenKeyring is a keyring whose every random part is fixed.
func goldenKeyring() (*keyring, []byte) {
	ak := bytes.Repeat([]byte{0xa5}, keySize)
	r := &keyring{
		counter: 7, account: "account-1", protection: Protection{KeyURI: uriA, Identity: "id1"}, keyID: uriA + "/" + version1,
		algorithm: wrapRSA256, created: 1_700_000_000, wrapped: bytes.Repeat([]byte{0x11}, 256),
		dataKeys: []wrappedDataKey{
			{id: [16]byte{1}, created: 1_700_000_000, state: dataKeyRetired, sealed: [sealedKeySize]byte{2}},
			{id: [16]byte{3}, created: 1_700_000_001, state: dataKeyCurrent, sealed: [sealedKeySize]byte{4}},
		},
	}
	r.check = keyCheck(ak, r.account)
	return r, ak
}

// TestGoldenKeyring pins the format: a file written by an earlier version must always open.
func TestGoldenKeyring(t *testing.T) {
	r, ak := goldenKeyring()
	raw := r.encode(ak)
	want, err := os.ReadFile("testdata/keyring-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(raw); got != strings.TrimSpace(string(want)) {
		t.Errorf("the format changed:\n%s", got)
	}
	back, err := decodeKeyring(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyKeyring(raw, ak, r.account); err != nil || !back.isAccountKey(ak) {
		t.Fatalf("verify: %v", err)
	}
	if !bytes.Equal(back.encode(ak), raw) {
		t.Error("decode and encode are not inverse")
	}
}

// opens reports whether raw is accepted with ak as the keyring of account-1.
func opens(raw, ak []byte) error {
	r, err := decodeKeyring(raw)
	if err != nil {
		return err
	}
	if !r.isAccountKey(ak) {
		return wrongPlaintext()
	}
	return verifyKeyring(raw, ak, "account-1")
}

func TestEveryBitFlipIsRefused(t *testing.T) {
	r, ak := goldenKeyring()
	raw := r.encode(ak)
	for i := range len(raw) * 8 {
		raw[i/8] ^= 1 << (i % 8)
		if opens(raw, ak) == nil {
			t.Fatalf("bit %d flipped and accepted", i)
		}
		raw[i/8] ^= 1 << (i % 8)
	}
	for n := range raw {
		if opens(raw[:n], ak) == nil {
			t.Fatalf("cut to %d bytes and accepted", n)
		}
	}
	if opens(append(raw, 0), ak) == nil {
		t.Fatal("longer by a byte and accepted")
	}
	if err := opens(raw[:len(raw):len(raw)], ak); err != nil {
		t.Fatalf("untouched: %v", err)
	}
}

func TestUnsoundKeyrings(t *testing.T) {
	rows := map[string]func(*keyring){
		"no account":        func(r *keyring) { r.account = "" },
		"no counter":        func(r *keyring) { r.counter = 0 },
		"no data key":       func(r *keyring) { r.dataKeys = nil },
		"two current":       func(r *keyring) { r.dataKeys[0].state = dataKeyCurrent },
		"same id twice":     func(r *keyring) { r.dataKeys[0].id = r.dataKeys[1].id },
		"unknown state":     func(r *keyring) { r.dataKeys[0].state = 9 },
		"unknown algorithm": func(r *keyring) { r.algorithm = 9 },
		"foreign key id":    func(r *keyring) { r.keyID = uriB + "/" + version1 },
		"key id no version": func(r *keyring) { r.keyID = uriA },
		"pinned elsewhere":  func(r *keyring) { r.protection.KeyURI = uriA + "/" + version2 },
		"root with a URI":   func(r *keyring) { r.algorithm = wrapRoot },
		"long string":       func(r *keyring) { r.protection.Identity = strings.Repeat("x", maxString+1) },
		"many data keys":    func(r *keyring) { r.dataKeys = make([]wrappedDataKey, maxDataKeys+1) },
	}
	for name, change := range rows {
		t.Run(name, func(t *testing.T) {
			r, ak := goldenKeyring()
			change(r)
			if _, err := decodeKeyring(r.encode(ak)); !errors.Is(err, errKeyring) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func FuzzDecodeKeyring(f *testing.F) {
	r, ak := goldenKeyring()
	f.Add(r.encode(ak))
	f.Add([]byte(keyringMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := decodeKeyring(raw)
		if err != nil {
			return
		}
		again := r.encode(ak)
		if !bytes.Equal(again[:len(again)-macSize], raw[:len(raw)-macSize]) {
			t.Errorf("not canonical: %x", raw)
		}
	})
}

// TestSealedKeyIsBound: a wrapped data key opens for its own account and id only.
func TestSealedKeyIsBound(t *testing.T) {
	outer, plain := make([]byte, 32), bytes.Repeat([]byte{1}, 32)
	sealed := sealKey(outer, plain, purposeDataKey, "a", []byte("id"))
	if got, err := openKey(outer, sealed[:], purposeDataKey, "a", []byte("id")); err != nil || !bytes.Equal(got, plain) {
		t.Fatalf("open: %v", err)
	}
	rows := []struct{ purpose, account, id string }{
		{purposeRootWrap, "a", "id"}, {purposeDataKey, "b", "id"}, {purposeDataKey, "a", "ie"},
	}
	for _, row := range rows {
		if _, err := openKey(outer, sealed[:], row.purpose, row.account, []byte(row.id)); err == nil {
			t.Errorf("%v: accepted", row)
		}
	}
}
