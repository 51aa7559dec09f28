package pkcs11

import (
	"errors"
	"fmt"
	"slices"
)

// The errors of this package. They are compared with [errors.Is].
var (
	ErrUnsupported = errors.New("pkcs11: this build has no PKCS #11 support")
	ErrURI         = errors.New("pkcs11: not a usable PKCS #11 URI")
	ErrModule      = errors.New("pkcs11: the library cannot be loaded")
	ErrNoToken     = errors.New("pkcs11: no token, or more than one, matches")
	ErrPIN         = errors.New("pkcs11: the token refused the PIN")
	ErrPINLocked   = errors.New("pkcs11: the token has locked its PIN")
	ErrUnavailable = errors.New("pkcs11: the token does not answer")
	ErrClosed      = errors.New("pkcs11: the token is closed")
	ErrNotFound    = errors.New("pkcs11: no such key in the token")
	ErrAmbiguous   = errors.New("pkcs11: more than one key in the token has this label")
	ErrExists      = errors.New("pkcs11: a key with this identifier is in the token already")
	ErrMechanism   = errors.New("pkcs11: the token does not offer this")
	ErrInput       = errors.New("pkcs11: the input is not valid for this key and operation")
)

// code is a return value of a PKCS #11 function.
type code uint

// The return values that this package tells apart.
const (
	codeSlotInvalid          code = 0x003
	codeGeneralError         code = 0x005
	codeFunctionFailed       code = 0x006
	codeArgumentsBad         code = 0x007
	codeAttributeType        code = 0x012
	codeAttributeValue       code = 0x013
	codeDataInvalid          code = 0x020
	codeDataLength           code = 0x021
	codeDeviceError          code = 0x030
	codeDeviceRemoved        code = 0x032
	codeEncryptedInvalid     code = 0x040
	codeEncryptedLength      code = 0x041
	codeAEADFailed           code = 0x042
	codeFunctionNotSupported code = 0x054
	codeKeyHandle            code = 0x060
	codeKeyType              code = 0x063
	codeKeyNotPermitted      code = 0x068
	codeMechanism            code = 0x070
	codeMechanismParameter   code = 0x071
	codeObjectHandle         code = 0x082
	codeOperationActive      code = 0x090
	codeOperationNone        code = 0x091
	codePINIncorrect         code = 0x0A0
	codePINInvalid           code = 0x0A1
	codePINLength            code = 0x0A2
	codePINExpired           code = 0x0A3
	codePINLocked            code = 0x0A4
	codeSessionClosed        code = 0x0B0
	codeSessionCount         code = 0x0B1
	codeSessionHandle        code = 0x0B3
	codeTokenNotPresent      code = 0x0E0
	codeTokenNotRecognized   code = 0x0E1
	codeAlreadyLoggedIn      code = 0x100
	codeNotLoggedIn          code = 0x101
	codeWrappedInvalid       code = 0x110
	codeWrappedLength        code = 0x112
	codeUnwrappingHandle     code = 0x0F0
	codeWrappingHandle       code = 0x113
	codeDomainParameters     code = 0x130
	codeCurve                code = 0x140
	codeNotInitialized       code = 0x190
)

// Error names the code as the standard's tables number it.
func (c code) Error() string { return fmt.Sprintf("PKCS #11 return value %#x", uint(c)) }

// startError is a failure before the input was looked at: of C_EncryptInit, C_DecryptInit, C_SignInit.
type startError struct{ err error }

// Error returns the cause's text.
func (e *startError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *startError) Unwrap() error { return e.err }

// codes of one meaning.
var (
	// lost: session, login, token or object are gone; all of them can be got anew.
	lostCodes = []code{codeSlotInvalid, codeDeviceError, codeDeviceRemoved, codeKeyHandle, codeObjectHandle, codeUnwrappingHandle,
		codeWrappingHandle, codeOperationActive, codeOperationNone, codeSessionClosed, codeSessionHandle, codeTokenNotPresent,
		codeTokenNotRecognized, codeNotLoggedIn, codeNotInitialized}
	// unable: the token does not do what it was asked for.
	unableCodes = []code{codeFunctionNotSupported, codeMechanism, codeMechanismParameter, codeDomainParameters, codeCurve,
		codeKeyType, codeKeyNotPermitted}
	// inputCodes: the data is refused. Tokens tell wrong padding by several of these; callers see one.
	inputCodes = []code{codeGeneralError, codeFunctionFailed, codeArgumentsBad, codeDataInvalid, codeDataLength, codeEncryptedInvalid,
		codeEncryptedLength, codeAEADFailed, codeWrappedInvalid, codeWrappedLength}
	pinCodes = []code{codePINIncorrect, codePINInvalid, codePINLength, codePINExpired}
)

// is reports whether err has one of the codes.
func is(err error, codes ...code) bool {
	var c code
	return errors.As(err, &c) && slices.Contains(codes, c)
}

// started reports whether err came after the operation was accepted, so that it is about the input.
func started(err error) bool {
	var e *startError
	return err != nil && !errors.As(err, &e)
}

// refused is err of an operation on input: ErrInput without a cause where the input is to blame.
func refused(err error) error {
	if started(err) && is(err, inputCodes...) {
		return ErrInput
	}
	return err
}

// explain gives an error of the library its meaning.
func explain(err error) error {
	var e *startError
	switch {
	case is(err, lostCodes...), is(err, codeSessionCount):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case is(err, codePINLocked):
		return fmt.Errorf("%w: %w", ErrPINLocked, err)
	case is(err, pinCodes...):
		return fmt.Errorf("%w: %w", ErrPIN, err)
	case is(err, unableCodes...), errors.As(err, &e) && is(err, codeArgumentsBad):
		return fmt.Errorf("%w: %w", ErrMechanism, err)
	}
	return err
}
