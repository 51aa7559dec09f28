//go:build pkcs11

package pkcs11

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// module is a loaded library of this process.
type module struct {
	path string
	ctx  *pkcs11.Ctx
	refs int
}

// modules are those in use. A library can be initialized once in a process.
var modules = struct {
	sync.Mutex
	byPath map[string]*module
}{byPath: map[string]*module{}}

// openLibrary loads a library, or shares the one that is loaded.
func openLibrary(path string) (library, error) {
	modules.Lock()
	defer modules.Unlock()
	if m := modules.byPath[path]; m != nil {
		m.refs++
		return m, nil
	}
	m := &module{path: path, ctx: pkcs11.New(path), refs: 1}
	if m.ctx == nil {
		return nil, fmt.Errorf("%w: %s is not there or is no PKCS #11 library of this machine's kind", ErrModule, path)
	}
	if err := m.initialize(); err != nil {
		m.ctx.Destroy()
		return nil, fmt.Errorf("%w: %s does not start: %w", ErrModule, path, err)
	}
	modules.byPath[path] = m
	return m, nil
}

func (m *module) initialize() error {
	err := m.ctx.Initialize()
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		return nil
	}
	return coded(err)
}

func (m *module) release() error {
	modules.Lock()
	defer modules.Unlock()
	if m.refs--; m.refs > 0 {
		return nil
	}
	delete(modules.byPath, m.path)
	err := m.ctx.Finalize()
	m.ctx.Destroy()
	return coded(err)
}

// coded turns an error of the binding into a code.
func coded(err error) error {
	var e pkcs11.Error
	if errors.As(err, &e) {
		return code(e)
	}
	return err
}

// begun marks an error of an operation's beginning.
func begun(err error) error {
	if err == nil {
		return nil
	}
	return &startError{coded(err)}
}

func (m *module) slots() ([]uint, error) {
	s, err := m.ctx.GetSlotList(true)
	return s, coded(err)
}

func (m *module) tokenInfo(slot uint) (tokenInfo, error) {
	i, err := m.ctx.GetTokenInfo(slot)
	if err != nil {
		return tokenInfo{}, coded(err)
	}
	return tokenInfo{
		Info:        Info{Manufacturer: i.ManufacturerID, Model: i.Model, Label: i.Label, Serial: i.SerialNumber},
		initialized: i.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0,
	}, nil
}

func (m *module) openSession(slot uint) (uint, error) {
	s, err := m.ctx.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	return uint(s), coded(err)
}

func (m *module) closeSession(s uint) error {
	return coded(m.ctx.CloseSession(pkcs11.SessionHandle(s)))
}

func (m *module) login(s uint, pin string) error {
	return coded(m.ctx.Login(pkcs11.SessionHandle(s), pkcs11.CKU_USER, pin))
}

func template(list []attribute) []*pkcs11.Attribute {
	out := make([]*pkcs11.Attribute, len(list))
	for i, a := range list {
		out[i] = pkcs11.NewAttribute(a.id, a.value)
	}
	return out
}

func (m *module) find(s uint, t []attribute, limit int) ([]uint, error) {
	sh := pkcs11.SessionHandle(s)
	if err := m.ctx.FindObjectsInit(sh, template(t)); err != nil {
		return nil, coded(err)
	}
	found, _, err := m.ctx.FindObjects(sh, limit)
	if err := errors.Join(coded(err), coded(m.ctx.FindObjectsFinal(sh))); err != nil {
		return nil, err
	}
	out := make([]uint, len(found))
	for i, o := range found {
		out[i] = uint(o)
	}
	return out, nil
}

func (m *module) attributes(s, object uint, ids ...uint) ([][]byte, error) {
	query := make([]*pkcs11.Attribute, len(ids))
	for i, id := range ids {
		query[i] = pkcs11.NewAttribute(id, nil)
	}
	got, err := m.ctx.GetAttributeValue(pkcs11.SessionHandle(s), pkcs11.ObjectHandle(object), query)
	if err != nil {
		return nil, coded(err)
	}
	out := make([][]byte, len(got))
	for i, a := range got {
		out[i] = a.Value
	}
	return out, nil
}

func (m *module) create(s uint, t []attribute) (uint, error) {
	o, err := m.ctx.CreateObject(pkcs11.SessionHandle(s), template(t))
	return uint(o), coded(err)
}

func (m *module) destroy(s, object uint) error {
	return coded(m.ctx.DestroyObject(pkcs11.SessionHandle(s), pkcs11.ObjectHandle(object)))
}

func (m *module) generate(s uint, mech mechanism, t []attribute) (uint, error) {
	o, err := m.ctx.GenerateKey(pkcs11.SessionHandle(s), plain(mech), template(t))
	return uint(o), coded(err)
}

func (m *module) generatePair(s uint, mech mechanism, public, private []attribute) error {
	_, _, err := m.ctx.GenerateKeyPair(pkcs11.SessionHandle(s), plain(mech), template(public), template(private))
	return coded(err)
}

// plain is a mechanism whose parameter needs no memory of its own.
func plain(m mechanism) []*pkcs11.Mechanism {
	var parameter any
	switch p := m.parameter.(type) {
	case []byte:
		parameter = p
	case oaepParameter:
		parameter = pkcs11.NewOAEPParams(p.hash, p.mgf, pkcs11.CKZ_DATA_SPECIFIED, nil)
	case pssParameter:
		parameter = pkcs11.NewPSSParams(p.hash, p.mgf, p.salt)
	}
	return []*pkcs11.Mechanism{pkcs11.NewMechanism(m.id, parameter)}
}

// begin is C_EncryptInit or its like.
type begin func(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error

// finish is C_Encrypt or its like.
type finish func(pkcs11.SessionHandle, []byte) ([]byte, error)

// operate computes in one part.
func operate(s uint, mech mechanism, key uint, in []byte, begin begin, finish finish) ([]byte, error) {
	if p, ok := mech.parameter.(gcmParameter); ok {
		return operateGCM(s, p, key, in, begin, finish)
	}
	if err := begin(pkcs11.SessionHandle(s), plain(mech), pkcs11.ObjectHandle(key)); err != nil {
		return nil, begun(err)
	}
	out, err := finish(pkcs11.SessionHandle(s), in)
	return out, coded(err)
}

// operateGCM is operate with a parameter that the token may write to. One that puts in a nonce of its own
// is not served: what it sealed would not be opened again.
func operateGCM(s uint, p gcmParameter, key uint, in []byte, begin begin, finish finish) ([]byte, error) {
	parameter := pkcs11.NewGCMParams(p.nonce, p.aad, 128)
	defer parameter.Free()
	mech := []*pkcs11.Mechanism{pkcs11.NewMechanism(mechAESGCM, parameter)}
	if err := begin(pkcs11.SessionHandle(s), mech, pkcs11.ObjectHandle(key)); err != nil {
		return nil, begun(err)
	}
	out, err := finish(pkcs11.SessionHandle(s), in)
	if err == nil && !bytes.Equal(parameter.IV(), p.nonce) {
		return nil, &startError{codeMechanismParameter}
	}
	return out, coded(err)
}

func (m *module) encrypt(s uint, mech mechanism, key uint, in []byte) ([]byte, error) {
	return operate(s, mech, key, in, m.ctx.EncryptInit, m.ctx.Encrypt)
}

func (m *module) decrypt(s uint, mech mechanism, key uint, in []byte) ([]byte, error) {
	return operate(s, mech, key, in, m.ctx.DecryptInit, m.ctx.Decrypt)
}

func (m *module) sign(s uint, mech mechanism, key uint, in []byte) ([]byte, error) {
	return operate(s, mech, key, in, m.ctx.SignInit, m.ctx.Sign)
}

func (m *module) wrap(s uint, mech mechanism, key, target uint) ([]byte, error) {
	out, err := m.ctx.WrapKey(pkcs11.SessionHandle(s), plain(mech), pkcs11.ObjectHandle(key), pkcs11.ObjectHandle(target))
	return out, coded(err)
}

func (m *module) unwrap(s uint, mech mechanism, key uint, wrapped []byte, t []attribute) (uint, error) {
	o, err := m.ctx.UnwrapKey(pkcs11.SessionHandle(s), plain(mech), pkcs11.ObjectHandle(key), wrapped, template(t))
	return uint(o), coded(err)
}
