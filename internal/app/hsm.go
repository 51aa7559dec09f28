package app

import (
	"context"
	"errors"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// openHSM opens the token in which vault keys of the types that end in -HSM live; nil when none is
// configured. A server that is told to use one does not start without it: keys would be made in software
// whose owners believe them in hardware.
func (s *Server) openHSM() (material.Token, error) {
	if s.cfg.HSM == "" {
		return nil, nil
	}
	u, err := pkcs11.ParseURI(s.cfg.HSM)
	if err != nil {
		return nil, fault.New(fault.Invalid, "HsmInvalid", "The value of --hsm is not a PKCS #11 URI with a module-path.").Because(err)
	}
	pin, err := u.PIN(s.cfg.TokenPIN)
	if err != nil {
		return nil, fault.New(fault.Invalid, "HsmPIN", "The PIN of the token in --hsm cannot be read: set LATCHKEY_PKCS11_PIN or name a file with pin-source.").Because(err)
	}
	defer pin.Wipe()
	token, err := pkcs11.Open(u, pin)
	if err != nil {
		return nil, hsmFault(err)
	}
	s.onStop(func(context.Context) error { return token.Close() })
	d := token.Describe()
	s.log.Info("keys of the types that end in -HSM live in a token", "token", d.Label, "manufacturer", d.Manufacturer, "model", d.Model)
	return token, nil
}

func hsmFault(err error) error {
	switch {
	case errors.Is(err, pkcs11.ErrUnsupported):
		return fault.New(fault.NotImplemented, "HsmUnsupported", "This build has no support for PKCS #11 tokens. Use a build with the tag pkcs11.")
	case errors.Is(err, pkcs11.ErrPIN), errors.Is(err, pkcs11.ErrPINLocked):
		return fault.New(fault.Denied, "HsmPIN", "The token in --hsm did not take the PIN, or has locked it. Set LATCHKEY_PKCS11_PIN or name a file with pin-source.").Because(err)
	}
	return fault.New(fault.Unavailable, "HsmUnavailable", "The token in --hsm cannot be opened.").Because(err)
}
