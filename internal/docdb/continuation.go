package docdb

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// A continuation token says where the next page of one feed or query begins. Clients keep it for as
// long as they like and send it back verbatim. It is good for the same request on the same container only,
// and it is sealed under the account's secret: nobody can make one up, and where it names a place in the order of a
// query, nobody can read the value there. Layout before base64url, big-endian:
//
//	0      version, 2
//	1-12   nonce
//	13-    AES-256-GCM, with the digest of the request as associated data, of
//	       0-7    number of the last item that was looked at
//	       8-15   results of the whole query that were given already, to be left out
//	       16-23  results before this place in an order; only there, as what follows
//	       24     stage of the order, plus 128 in a run of inexact terms
//	       25-32  rows of the stage or of the run that were given already
//	       33-    the term
const (
	tokenVersion = 2
	nonceSize    = 12
	tokenPlain   = 16
	tokenOrdered = 33
	runFlag      = 0x80
)

// position is where a page begins.
type position struct {
	after   uint64    // go on behind the item with this number
	skip    uint64    // leave out so many results
	given   uint64    // results before ordered
	ordered *rowPlace // go on behind this row of an order; nil for none
}

// requestDigest identifies what a continuation token belongs to.
func requestDigest(parts ...[]byte) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write(be64(uint64(len(p))))
		h.Write(p)
	}
	return h.Sum(nil)
}

// derived is a key for one use of a secret.
func derived(secret []byte, use string) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(use))
	return m.Sum(nil)
}

// sealer seals continuation tokens.
func (a *account) sealer() (cipher.AEAD, error) {
	secret, err := a.continuationSecret()
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(derived(secret, "continuation tokens"))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// token returns the continuation token for p.
func (a *account) token(p position, digest []byte) (string, error) { return a.seal(p.encode(), digest) }

// encode writes what a token says.
func (p position) encode() []byte {
	b := append(be64(p.after), be64(p.skip)...)
	if o := p.ordered; o != nil {
		stage := o.stage
		if o.run {
			stage |= runFlag
		}
		b = append(append(b, be64(p.given)...), stage)
		b = append(append(b, be64(o.skip)...), o.term...)
	}
	return b
}

// seal makes a token that says b.
func (a *account) seal(b, digest []byte) (string, error) {
	aead, err := a.sealer()
	if err != nil {
		return "", err
	}
	out := make([]byte, 1+nonceSize, 1+nonceSize+len(b)+aead.Overhead())
	out[0] = tokenVersion
	_, _ = rand.Read(out[1:]) // never fails
	return base64.URLEncoding.EncodeToString(aead.Seal(out, out[1:], b, digest)), nil
}

// position reads a continuation token; "" is the beginning.
func (a *account) position(token string, digest []byte) (position, error) {
	if token == "" {
		return position{}, nil
	}
	aead, err := a.sealer()
	if err != nil {
		return position{}, err
	}
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) < 1+nonceSize || b[0] != tokenVersion {
		return position{}, wrongToken()
	}
	b, err = aead.Open(nil, b[1:1+nonceSize], b[1+nonceSize:], digest)
	if err != nil || len(b) < tokenPlain || len(b) > tokenPlain && len(b) < tokenOrdered {
		return position{}, wrongToken()
	}
	p := position{after: fromBE64(b), skip: fromBE64(b[8:])}
	if len(b) >= tokenOrdered {
		p.given = fromBE64(b[16:])
		p.ordered = &rowPlace{stage: b[24] &^ runFlag, run: b[24]&runFlag != 0, skip: fromBE64(b[25:])}
		if len(b) > tokenOrdered {
			p.ordered.term = b[tokenOrdered:]
		}
	}
	return p, nil
}

func wrongToken() error {
	return fault.New(fault.Invalid, "InvalidContinuation", "Invalid Continuation Token")
}
