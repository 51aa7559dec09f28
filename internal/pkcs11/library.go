package pkcs11

// attribute is one attribute of a template: value is a bool, a uint, a string or []byte.
type attribute struct {
	id    uint
	value any
}

// mechanism says what to compute; parameter is nil, []byte, or one of the types below.
type mechanism struct {
	id        uint
	parameter any
}

type (
	gcmParameter  struct{ nonce, aad []byte }
	oaepParameter struct{ hash, mgf uint }
	pssParameter  struct{ hash, mgf, salt uint }
)

// tokenInfo is what a slot tells of its token.
type tokenInfo struct {
	Info
	initialized bool
}

// library is the little of PKCS #11 that this package calls: a loaded module in the tagged build, a fake
// in tests. Errors are a [code], in a [startError] where an operation was not even begun. Every method
// may be called concurrently, on different sessions.
type library interface {
	initialize() error // again, after the module forgot
	release() error    // the last user's release closes the module

	slots() ([]uint, error) // with a token present
	tokenInfo(slot uint) (tokenInfo, error)

	openSession(slot uint) (uint, error)
	closeSession(session uint) error
	login(session uint, pin string) error

	find(session uint, template []attribute, limit int) ([]uint, error)
	attributes(session, object uint, ids ...uint) ([][]byte, error)
	create(session uint, template []attribute) (uint, error)
	destroy(session, object uint) error
	generate(session uint, m mechanism, template []attribute) (uint, error)
	generatePair(session uint, m mechanism, public, private []attribute) error

	encrypt(session uint, m mechanism, key uint, in []byte) ([]byte, error)
	decrypt(session uint, m mechanism, key uint, in []byte) ([]byte, error)
	sign(session uint, m mechanism, key uint, in []byte) ([]byte, error)
	wrap(session uint, m mechanism, key, target uint) ([]byte, error)
	unwrap(session uint, m mechanism, key uint, wrapped []byte, template []attribute) (uint, error)
}
