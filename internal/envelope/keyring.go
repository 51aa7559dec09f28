package envelope

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/latchkey-db/latchkey/internal/sealfs"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// The limits of the keyring format (docs/FORMAT.md, "Keyring").
const (
	keyringMagic   = "LKKEYRNG"
	keyringVersion = 1
	maxKeyring     = 128 << 10
	maxString      = 1024
	maxDataKeys    = 1024
	macSize        = sha256.Size
	checkSize      = 16
)

// wrapAlgorithm says how the account key is wrapped.
type wrapAlgorithm uint8

// The wrap algorithms. The numbers are part of the format.
const (
	wrapRoot   wrapAlgorithm = 1 // AES-256-GCM under the platform's root key
	wrapRSA256 wrapAlgorithm = 2 // RSA-OAEP-256 by a vault
)

// dataKeyState is the part of a data key in the store. The numbers are part of the format.
type dataKeyState uint8

// The states of a data key.
const (
	dataKeyCurrent dataKeyState = 1 // seals new files; exactly one in a keyring
	dataKeyRetired dataKeyState = 2 // opens the files that it sealed
)

// errKeyring is wrapped by every refusal of a keyring: the file is damaged or was tampered with.
var errKeyring = errors.New("envelope: keyring does not verify")

// keyring is the content of a keyring file.
type keyring struct {
	counter    uint64 // grows by one with every change
	account    string
	protection Protection
	keyID      string // the customer's key with the version that wraps the AK; "" under the root key
	algorithm  wrapAlgorithm
	created    int64 // of the AK, Unix seconds
	check      [checkSize]byte
	wrapped    []byte // the AK
	dataKeys   []wrappedDataKey
}

// wrappedDataKey is one data key as it stands in a keyring.
type wrappedDataKey struct {
	id      [16]byte
	created int64 // Unix seconds
	state   dataKeyState
	sealed  [sealedKeySize]byte // nonce, ciphertext, tag
}

// keyVersion is the version of the customer's key in use.
func (r *keyring) keyVersion() string {
	k, err := uri.ParseKeyID(r.keyID)
	if err != nil {
		return ""
	}
	return k.Version
}

// retire makes every data key a retired one.
func (r *keyring) retire() {
	for i := range r.dataKeys {
		r.dataKeys[i].state = dataKeyRetired
	}
}

// hasRetired reports whether there are data keys that only open old files.
func (r *keyring) hasRetired() bool { return len(r.dataKeys) > 1 }

// dropRetired removes the retired data keys.
func (r *keyring) dropRetired() {
	r.dataKeys = slices.DeleteFunc(r.dataKeys, func(d wrappedDataKey) bool { return d.state == dataKeyRetired })
}

// currentID is the id of the data key that seals new files.
func (r *keyring) currentID() sealfs.KeyID {
	for _, d := range r.dataKeys {
		if d.state == dataKeyCurrent {
			return d.id
		}
	}
	return sealfs.KeyID{} // impossible: see sound
}

// next returns a copy of r with the following counter, to be changed and written.
func (r *keyring) next() *keyring {
	c := *r
	c.counter++
	c.wrapped = append([]byte(nil), r.wrapped...)
	c.dataKeys = append([]wrappedDataKey(nil), r.dataKeys...)
	return &c
}

// encode returns the file's bytes, authenticated under ak.
func (r *keyring) encode(ak []byte) []byte {
	b := append([]byte(keyringMagic), 0, keyringVersion)
	b = binary.BigEndian.AppendUint64(b, r.counter)
	b = appendBytes(b, []byte(r.account))
	b = appendBytes(b, []byte(r.protection.KeyURI))
	b = appendBytes(b, []byte(r.protection.Identity))
	b = appendBytes(b, []byte(r.keyID))
	b = append(b, byte(r.algorithm))
	b = binary.BigEndian.AppendUint64(b, uint64(r.created))
	b = append(b, r.check[:]...)
	b = appendBytes(b, r.wrapped)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.dataKeys)))
	for i := range r.dataKeys {
		d := &r.dataKeys[i]
		b = append(b, d.id[:]...)
		b = binary.BigEndian.AppendUint64(b, uint64(d.created))
		b = append(b, byte(d.state))
		b = append(b, d.sealed[:]...)
	}
	return append(b, keyringMAC(ak, r.account, b)...)
}

func appendBytes(b, field []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(field)))
	return append(b, field...)
}

// keyringMAC authenticates everything before the MAC.
func keyringMAC(ak []byte, account string, body []byte) []byte {
	key := derive(ak, purposeKeyringMAC, account)
	defer clear(key)
	h := hmac.New(sha256.New, key)
	h.Write(body)
	return h.Sum(nil)
}

// keyCheck is the key-check value of an AK: it tells a vault's wrong answer from a damaged keyring.
func keyCheck(ak []byte, account string) (out [checkSize]byte) {
	copy(out[:], derive(ak, purposeKeyCheck, account))
	return out
}

// isAccountKey reports whether plain is the AK that r wraps, as far as r can be believed.
func (r *keyring) isAccountKey(plain []byte) bool {
	got := keyCheck(plain, r.account)
	return len(plain) == keySize && subtle.ConstantTimeCompare(got[:], r.check[:]) == 1
}

// verifyKeyring checks the MAC of a file's bytes.
func verifyKeyring(raw, ak []byte, account string) error {
	if len(raw) < macSize {
		return errKeyring
	}
	body, mac := raw[:len(raw)-macSize], raw[len(raw)-macSize:]
	if !hmac.Equal(mac, keyringMAC(ak, account, body)) {
		return fmt.Errorf("%w: authentication failed", errKeyring)
	}
	return nil
}

// decodeKeyring parses a file's bytes and checks all that can be checked without the AK. The result
// must not be trusted before verifyKeyring, beyond asking the named vault to unwrap.
func decodeKeyring(raw []byte) (*keyring, error) {
	if len(raw) > maxKeyring {
		return nil, fmt.Errorf("%w: too large", errKeyring)
	}
	d := &decoder{rest: raw}
	r := d.keyring()
	if d.bad || len(d.rest) != macSize {
		return nil, fmt.Errorf("%w: malformed", errKeyring)
	}
	if err := r.sound(); err != nil {
		return nil, fmt.Errorf("%w: %w", errKeyring, err)
	}
	return r, nil
}

// sound refuses contents that encode would never be given.
func (r *keyring) sound() error {
	if r.account == "" || r.counter == 0 {
		return errors.New("no account or counter")
	}
	if err := r.checkProtection(); err != nil {
		return err
	}
	ids, current := map[[16]byte]bool{}, 0
	for _, d := range r.dataKeys {
		if d.state == dataKeyCurrent {
			current++
		} else if d.state != dataKeyRetired {
			return errors.New("unknown state of a data key")
		}
		ids[d.id] = true
	}
	if current != 1 || len(ids) != len(r.dataKeys) {
		return errors.New("not exactly one current data key, or one twice")
	}
	return nil
}

func (r *keyring) checkProtection() error {
	switch r.algorithm {
	case wrapRoot:
		if r.protection.KeyURI != "" || r.keyID != "" || len(r.wrapped) != sealedKeySize {
			return errors.New("root wrapping with a customer's key")
		}
		return nil
	case wrapRSA256:
		return checkKeyID(r.protection.KeyURI, r.keyID)
	default:
		return errors.New("unknown wrap algorithm")
	}
}

// checkKeyID demands that keyID is a version of the key keyURI, and of its version if it has one.
func checkKeyID(keyURI, keyID string) error {
	want, err := uri.ParseKeyID(keyURI)
	if err != nil {
		return err
	}
	got, err := uri.ParseKeyID(keyID)
	if err != nil {
		return err
	}
	if got.Version == "" || got.Versionless() != want.Versionless() || want.Version != "" && want.Version != got.Version {
		return errors.New("key id is not of the key URI")
	}
	return nil
}

// decoder cuts fields from the front of rest; bad is set at the first that is not there.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) keyring() *keyring {
	if string(d.take(len(keyringMagic))) != keyringMagic || d.uint16() != keyringVersion {
		d.bad = true
		return nil
	}
	r := &keyring{}
	r.counter = d.uint64()
	r.account = string(d.bytes())
	r.protection.KeyURI = string(d.bytes())
	r.protection.Identity = string(d.bytes())
	r.keyID = string(d.bytes())
	r.algorithm = wrapAlgorithm(d.byte())
	r.created = int64(d.uint64())
	copy(r.check[:], d.take(checkSize))
	r.wrapped = append([]byte(nil), d.bytes()...)
	n := int(d.uint16())
	if n > maxDataKeys {
		d.bad = true
	}
	for i := 0; i < n && !d.bad; i++ {
		r.dataKeys = append(r.dataKeys, d.dataKey())
	}
	return r
}

func (d *decoder) dataKey() (k wrappedDataKey) {
	copy(k.id[:], d.take(len(k.id)))
	k.created = int64(d.uint64())
	k.state = dataKeyState(d.byte())
	copy(k.sealed[:], d.take(len(k.sealed)))
	return k
}

func (d *decoder) take(n int) []byte {
	if d.bad || len(d.rest) < n {
		d.bad = true
		return make([]byte, n)
	}
	out := d.rest[:n]
	d.rest = d.rest[n:]
	return out
}

func (d *decoder) byte() byte     { return d.take(1)[0] }
func (d *decoder) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

func (d *decoder) bytes() []byte {
	n := int(d.uint16())
	if n > maxString {
		d.bad = true
		return nil
	}
	return d.take(n)
}
