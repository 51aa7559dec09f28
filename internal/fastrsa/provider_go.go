//go:build !libcrypto

package fastrsa

var newEngine = newGolang

func provider() string { return "crypto/rsa" }
