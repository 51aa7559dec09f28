//go:build libcrypto && !cgo

package fastrsa

// A build that asks for libcrypto and cannot have it must not quietly be another one.
var _ = the_build_tag_libcrypto_needs_cgo
