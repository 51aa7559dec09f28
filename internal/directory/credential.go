package directory

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
)

// secretHash is the salted hash of a client secret. Client secrets are 256 random bits of our own
// making, so that one fast hash is enough: nothing can be guessed.
type secretHash struct {
	Salt []byte `json:"salt"`
	Sum  []byte `json:"sum"`
}

func hashSecret(secret string) secretHash {
	salt := make([]byte, 16)
	rand.Read(salt)
	return secretHash{Salt: salt, Sum: saltedSum(salt, secret)}
}

func (h secretHash) matches(secret string) bool {
	return subtle.ConstantTimeCompare(h.Sum, saltedSum(h.Salt, secret)) == 1
}

func saltedSum(salt []byte, secret string) []byte {
	sum := sha256.New()
	sum.Write(salt)
	sum.Write([]byte(secret))
	return sum.Sum(nil)
}

// newSecret returns a client secret: 32 random bytes in base64url.
func newSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// passwordRounds is the PBKDF2-HMAC-SHA256 work factor for new passwords (OWASP's figure of 2023).
const passwordRounds = 600_000

// passwordHash is the slow, salted hash of a password that a person chose.
type passwordHash struct {
	Salt   []byte `json:"salt"`
	Sum    []byte `json:"sum"`
	Rounds int    `json:"rounds"`
}

func (d *Directory) hashPassword(ctx context.Context, password string) (passwordHash, error) {
	h := passwordHash{Salt: make([]byte, 16), Rounds: passwordRounds}
	rand.Read(h.Salt)
	var err error
	h.Sum, err = d.stretch(ctx, password, h)
	return h, err
}

// passwordMatches spends the same time whether the user exists (h has a sum) or not.
func (d *Directory) passwordMatches(ctx context.Context, password string, h passwordHash) (bool, error) {
	if h.Rounds == 0 {
		h = passwordHash{Salt: make([]byte, 16), Rounds: passwordRounds}
	}
	sum, err := d.stretch(ctx, password, h)
	if err != nil {
		return false, err
	}
	return len(h.Sum) > 0 && subtle.ConstantTimeCompare(sum, h.Sum) == 1, nil
}

// stretch computes the slow hash. The number of computations at the same time is bounded, so that
// guesses cannot take the processors away from everything else.
func (d *Directory) stretch(ctx context.Context, password string, h passwordHash) ([]byte, error) {
	select {
	case d.hashing <- struct{}{}:
		defer func() { <-d.hashing }()
		return pbkdf2.Key(sha256.New, password, h.Salt, h.Rounds, sha256.Size)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
