package material

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
)

// octKey is a key of AES and HMAC. It prints as a constant.
type octKey []byte

// Format writes a constant, whatever the verb.
func (octKey) Format(f fmt.State, _ rune) { fmt.Fprint(f, "[secret]") }

func validOct(bits int) bool { return bits == 128 || bits == 192 || bits == 256 }

func (p Params) normalOct() (Params, error) {
	if p.Bits == 0 {
		p.Bits = defaultOct
	}
	if !validOct(p.Bits) {
		return p, badParameter("The key size %d is not valid for oct; use 128, 192 or 256.", p.Bits)
	}
	return Params{Type: Oct, Bits: p.Bits}, nil
}

func generateOct(bits int) Key {
	k := make(octKey, bits/8)
	rand.Read(k)
	return k
}

func importOct(j JWK) (Key, error) {
	if !validOct(8 * len(j.K)) {
		return nil, badParameter("The property 'k' must have 128, 192 or 256 bits.")
	}
	return octKey(append([]byte(nil), j.K...)), nil
}

func (k octKey) Params() Params           { return Params{Type: Oct, Bits: 8 * len(k)} }
func (k octKey) Public() JWK              { return JWK{Type: Oct} }
func (k octKey) Private() ([]byte, error) { return append([]byte(nil), k...), nil }

func (k octKey) Run(op Operation, in Input) (Output, error) {
	switch op {
	case Wrap, Unwrap:
		return k.wrap(op, in)
	case Encrypt, Decrypt:
		return k.encrypt(op, in)
	}
	return k.mac(op, in)
}

// The mechanisms of PKCS #11 whose names the service took over.
const (
	keyWrap       = "CKM_AES_KEY_WRAP"
	keyWrapPadded = "CKM_AES_KEY_WRAP_PAD"
)

func (k octKey) block() cipher.Block {
	b, err := aes.NewCipher(k)
	if err != nil {
		panic(err) // the length was checked when the key was made
	}
	return b
}

// mode is what follows the size in the name of an AES algorithm, such as GCM in A256GCM. ok is false when
// the size is not the key's.
func (k octKey) mode(algorithm string) (mode string, ok bool) {
	rest, ok := strings.CutPrefix(algorithm, "A"+strconv.Itoa(8*len(k)))
	return rest, ok
}

func (k octKey) wrap(op Operation, in Input) (out Output, err error) {
	mode, _ := k.mode(in.Algorithm)
	switch {
	case mode == "KW" || in.Algorithm == keyWrap:
		out.Value, err = wrapping(op, in, wrapRFC3394, unwrapRFC3394, k.block())
	case in.Algorithm == keyWrapPadded:
		out.Value, err = wrapping(op, in, wrapRFC5649, unwrapRFC5649, k.block())
	default:
		return out, unknownAlgorithm(in.Algorithm)
	}
	return out, err
}

// transform wraps or unwraps; ok is false for input that it cannot work on.
type transform func(cipher.Block, []byte) (out []byte, ok bool)

func wrapping(op Operation, in Input, wrap, unwrap transform, b cipher.Block) ([]byte, error) {
	if op == Unwrap {
		out, ok := unwrap(b, in.Value)
		if !ok {
			return nil, undecipherable()
		}
		return out, nil
	}
	out, ok := wrap(b, in.Value)
	if !ok {
		return nil, badParameter("The value has %d bytes, which the algorithm '%s' cannot wrap.", len(in.Value), in.Algorithm)
	}
	return out, nil
}

func (k octKey) encrypt(op Operation, in Input) (Output, error) {
	mode, ok := k.mode(in.Algorithm)
	switch {
	case ok && mode == "GCM" && op == Encrypt:
		return k.seal(in)
	case ok && mode == "GCM":
		return k.open(in)
	case ok && (mode == "CBC" || mode == "CBCPAD") && op == Encrypt:
		return k.encryptCBC(in, mode == "CBCPAD")
	case ok && (mode == "CBC" || mode == "CBCPAD"):
		return k.decryptCBC(in, mode == "CBCPAD")
	}
	return Output{}, unknownAlgorithm(in.Algorithm)
}

func (k octKey) gcm() cipher.AEAD {
	a, err := cipher.NewGCM(k.block())
	if err != nil {
		panic(err) // AES has the block size that GCM needs
	}
	return a
}

func (k octKey) seal(in Input) (Output, error) {
	if len(in.IV) != 0 {
		return Output{}, badParameter("The property 'iv' must not be given: the service makes it for '%s'.", in.Algorithm)
	}
	a := k.gcm()
	iv := make([]byte, a.NonceSize())
	rand.Read(iv)
	sealed := a.Seal(nil, iv, in.Value, in.AAD)
	n := len(sealed) - a.Overhead()
	return Output{Value: sealed[:n], Tag: sealed[n:], IV: iv, AAD: in.AAD}, nil
}

func (k octKey) open(in Input) (Output, error) {
	a := k.gcm()
	if len(in.IV) != a.NonceSize() || len(in.Tag) != a.Overhead() {
		return Output{}, badParameter("The properties 'iv' and 'tag' must have %d and %d bytes.", a.NonceSize(), a.Overhead())
	}
	sealed := append(append([]byte(nil), in.Value...), in.Tag...)
	out, err := a.Open(nil, in.IV, sealed, in.AAD)
	if err != nil {
		return Output{}, undecipherable()
	}
	return Output{Value: out}, nil
}

func (k octKey) encryptCBC(in Input, pad bool) (Output, error) {
	iv := in.IV
	if len(iv) == 0 {
		iv = make([]byte, aes.BlockSize)
		rand.Read(iv)
	}
	if len(iv) != aes.BlockSize {
		return Output{}, badParameter("The property 'iv' must have %d bytes.", aes.BlockSize)
	}
	text := append([]byte(nil), in.Value...)
	if pad {
		text = padded(text)
	}
	if len(text) == 0 || len(text)%aes.BlockSize != 0 {
		return Output{}, badParameter("The value must be a multiple of %d bytes for the algorithm '%s'.", aes.BlockSize, in.Algorithm)
	}
	cipher.NewCBCEncrypter(k.block(), iv).CryptBlocks(text, text)
	return Output{Value: text, IV: iv}, nil
}

// padded adds the padding of PKCS #7.
func padded(text []byte) []byte {
	n := aes.BlockSize - len(text)%aes.BlockSize
	for range n {
		text = append(text, byte(n))
	}
	return text
}

func (k octKey) decryptCBC(in Input, pad bool) (Output, error) {
	if len(in.IV) != aes.BlockSize {
		return Output{}, badParameter("The property 'iv' must have %d bytes.", aes.BlockSize)
	}
	if len(in.Value) == 0 || len(in.Value)%aes.BlockSize != 0 {
		return Output{}, undecipherable()
	}
	text := append([]byte(nil), in.Value...)
	cipher.NewCBCDecrypter(k.block(), in.IV).CryptBlocks(text, text)
	if !pad {
		return Output{Value: text}, nil
	}
	n := int(text[len(text)-1])
	if n == 0 || n > aes.BlockSize {
		return Output{}, undecipherable()
	}
	for _, b := range text[len(text)-n:] {
		if int(b) != n {
			return Output{}, undecipherable()
		}
	}
	return Output{Value: text[:len(text)-n]}, nil
}

func (k octKey) mac(op Operation, in Input) (out Output, err error) {
	bits, ok := strings.CutPrefix(in.Algorithm, "HS")
	h, known := hashes[bits]
	if !ok || !known {
		return out, unknownAlgorithm(in.Algorithm)
	}
	digest := in.Value
	if op == Verify {
		digest = in.Digest
	}
	sum := k.sum(h, digest)
	if op == Verify {
		return Output{Valid: hmac.Equal(sum, in.Value)}, nil
	}
	return Output{Value: sum}, nil
}

func (k octKey) sum(h crypto.Hash, data []byte) []byte {
	m := hmac.New(h.New, k)
	m.Write(data)
	return m.Sum(nil)
}
