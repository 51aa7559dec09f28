package rootkey

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"path/filepath"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// The limits of the format (docs/FORMAT.md, "Root key").
const (
	keyMagic      = "LKROOTKY"
	keyVersion    = 1
	keySize       = 32
	maxParameters = 4096
	maxPayload    = 256
)

// keyFile is the content of root.key, or of the file elsewhere that it names.
type keyFile struct {
	legacy     bool // 32 bytes and nothing else
	protection Protection
	created    int64  // Unix seconds; 0 when not known
	scrypt     cost   // of Passphrase
	wrapping   wrap   // of Token
	tokenKey   []byte // of Token: CKA_ID of the key in the token
	payload    []byte // the key in the clear, nothing, or the key wrapped
}

// wrap says how a token wrapped the key. The numbers are part of the format.
type wrap uint8

// The ways of wrapping.
const (
	wrapGCM wrap = 1 // nonce, ciphertext, tag; the header is authenticated with it
	wrapKW  wrap = 2 // RFC 3394
)

// header is everything before the payload, which a wrapping authenticates.
func (f *keyFile) header() []byte {
	b := append([]byte(keyMagic), 0, keyVersion, byte(f.protection.Kind))
	b = binary.BigEndian.AppendUint64(b, uint64(f.created))
	return appendBytes(b, f.parameters())
}

func (f *keyFile) parameters() []byte {
	switch f.protection.Kind {
	case Elsewhere:
		return []byte(f.protection.Path)
	case Passphrase:
		return append([]byte{f.scrypt.logN}, f.scrypt.salt[:]...)
	case Token:
		b := appendBytes([]byte{byte(f.wrapping)}, f.tokenKey)
		return appendBytes(b, []byte(f.protection.URI.String()))
	}
	return nil
}

// encode returns the file's bytes. Those with a key in the clear are to be wiped.
func (f *keyFile) encode() []byte {
	if f.legacy {
		return bytes.Clone(f.payload)
	}
	b := appendBytes(f.header(), f.payload)
	sum := sha256.Sum256(b)
	return append(b, sum[:]...)
}

func appendBytes(b, field []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(field)))
	return append(b, field...)
}

// decodeKeyFile parses a file's bytes; name is for the error.
func decodeKeyFile(raw []byte, name string) (*keyFile, error) {
	if len(raw) == keySize {
		return &keyFile{legacy: true, protection: Protection{Kind: File}, payload: bytes.Clone(raw)}, nil
	}
	if len(raw) < sha256.Size {
		return nil, damaged(name)
	}
	body := raw[:len(raw)-sha256.Size]
	if sum := sha256.Sum256(body); !bytes.Equal(sum[:], raw[len(body):]) {
		return nil, damaged(name)
	}
	d := &decoder{rest: body}
	f := d.keyFile()
	if d.bad || len(d.rest) > 0 {
		return nil, damaged(name)
	}
	return f, nil
}

// ReasonDamaged is the fault reason of a file that is not what was written.
const ReasonDamaged = "RootKeyDamaged"

func damaged(name string) error {
	return fault.New(fault.Invalid, ReasonDamaged,
		"%s is damaged, or not a file of this program or version. Put a copy of it back.", filepath.Base(name))
}

func (d *decoder) keyFile() *keyFile {
	if string(d.take(len(keyMagic))) != keyMagic || d.uint16() != keyVersion {
		d.bad = true
		return nil
	}
	f := &keyFile{protection: Protection{Kind: Kind(d.byte())}, created: int64(d.uint64())}
	f.set(&decoder{rest: d.bytes(maxParameters)}, d)
	f.payload = bytes.Clone(d.bytes(maxPayload))
	if want := f.payloadSize(); len(f.payload) != want {
		d.bad = true
	}
	return f
}

// set reads the parameters p of a file that d reads.
func (f *keyFile) set(p, d *decoder) {
	switch f.protection.Kind {
	case File:
	case Elsewhere:
		f.protection.Path = string(p.take(len(p.rest)))
		p.bad = p.bad || !filepath.IsAbs(f.protection.Path)
	case Passphrase:
		f.scrypt.logN = p.byte()
		copy(f.scrypt.salt[:], p.take(len(f.scrypt.salt)))
		p.bad = p.bad || !f.scrypt.bounded()
	case Token:
		f.wrapping, f.tokenKey = wrap(p.byte()), bytes.Clone(p.bytes(maxParameters))
		u, err := pkcs11.ParseURI(string(p.bytes(maxParameters)))
		f.protection.URI = u
		p.bad = p.bad || err != nil || len(f.tokenKey) == 0
	default:
		p.bad = true
	}
	d.bad = d.bad || p.bad || len(p.rest) > 0
}

// payloadSize is the one length that the payload has.
func (f *keyFile) payloadSize() int {
	switch {
	case f.protection.Kind == File:
		return keySize
	case f.protection.Kind == Passphrase, f.wrapping == wrapGCM:
		return nonceSize + keySize + tagSize
	case f.wrapping == wrapKW:
		return keySize + 8
	}
	return 0
}

// clearFile is a file with the key in the clear.
func clearFile(key *secret.Bytes, created time.Time) *keyFile {
	return &keyFile{protection: Protection{Kind: File}, created: created.Unix(), payload: bytes.Clone(key.Reveal())}
}

// decoder cuts fields from the front of rest; bad is set at the first that is not there.
type decoder struct {
	rest []byte
	bad  bool
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

func (d *decoder) bytes(limit int) []byte {
	n := int(d.uint16())
	if n > limit {
		d.bad = true
		return nil
	}
	return d.take(n)
}
