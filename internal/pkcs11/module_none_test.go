//go:build !pkcs11

package pkcs11

import (
	"errors"
	"testing"

	"github.com/latchkey-db/latchkey/internal/secret"
)

func TestOpenWithoutSupport(t *testing.T) {
	token, err := Open(URI{Module: "/usr/lib/softhsm/libsofthsm2.so"}, secret.From([]byte("1234")))
	if !errors.Is(err, ErrUnsupported) || token != nil {
		t.Errorf("%v, %v", token, err)
	}
}
