//go:build !pkcs11

package pkcs11

// openLibrary has nothing to load in this build.
func openLibrary(string) (library, error) { return nil, ErrUnsupported }
