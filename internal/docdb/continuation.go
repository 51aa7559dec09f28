package docdb

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// A continuation token says where the next page of one feed or query begins. Clients keep it for as
// long as they like and send it back verbatim; it holds nothing of the documents, is good for the
// same request on the same container only, and is authenticated with the account's secret, so that
// nobody can make one up. Layout before base64url, big-endian:
//
//	0     version, 1
//	1-8   number of the last item that was looked at
//	9-16  results of the whole query, or of that item, that were given already
//	17-32 first half of HMAC-SHA256(secret, bytes 0-16, digest of the request)
const (
	tokenVersion = 1
	tokenBody    = 17
	tokenSize    = tokenBody + 16
)

// position is where a page begins.
type position struct {
	after uint64 // go on behind the item with this number
	skip  uint64 // leave out so many results
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

func tokenMAC(secret, body, digest []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write(body)
	m.Write(digest)
	return m.Sum(nil)[:tokenSize-tokenBody]
}

// token returns the continuation token for p.
func (a *account) token(p position, digest []byte) (string, error) {
	secret, err := a.continuationSecret()
	if err != nil {
		return "", err
	}
	b := append([]byte{tokenVersion}, be64(p.after)...)
	b = append(b, be64(p.skip)...)
	return base64.URLEncoding.EncodeToString(append(b, tokenMAC(secret, b, digest)...)), nil
}

// position reads a continuation token; "" is the beginning.
func (a *account) position(token string, digest []byte) (position, error) {
	if token == "" {
		return position{}, nil
	}
	secret, err := a.continuationSecret()
	if err != nil {
		return position{}, err
	}
	b, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(b) != tokenSize || b[0] != tokenVersion ||
		!hmac.Equal(b[tokenBody:], tokenMAC(secret, b[:tokenBody], digest)) {
		return position{}, fault.New(fault.Invalid, "InvalidContinuation", "Invalid Continuation Token")
	}
	return position{after: binary.BigEndian.Uint64(b[1:]), skip: binary.BigEndian.Uint64(b[9:])}, nil
}
