package vault

import (
	"context"
	"errors"
	"slices"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/vault/material"
)

// rights maps an operation to its permission; protects tells the operations that make something new,
// which a key outside its validity may not do.
var rights = map[material.Operation]struct {
	need     permission
	protects bool
}{
	material.Encrypt: {mayEncrypt, true}, material.Decrypt: {mayDecrypt, false},
	material.Wrap: {mayWrap, true}, material.Unwrap: {mayUnwrap, false},
	material.Sign: {maySign, true}, material.Verify: {mayVerify, false},
}

// Result is the outcome of a cryptographic operation. Version is the version that was used.
type Result struct {
	Name    string
	Version string
	material.Output
}

// Crypt carries out op with a version of a key; "" is the current one.
func (s *Service) Crypt(ctx context.Context, c principal.Caller, vault, name, id string, op material.Operation, in material.Input) (Result, error) {
	right, ok := rights[op]
	if !ok {
		return Result{}, badParameter("Unknown operation.")
	}
	r, err := s.guard(ctx, c, vault, name, right.need, checkVersion(id))
	if err != nil {
		return Result{}, err
	}
	k, v, err := s.liveKey(vault, name, id)
	if err != nil {
		return Result{}, r.done(err)
	}
	r.version = v.ID
	if err := v.usable(op, right.protects, s.cfg.Now().Unix()); err != nil {
		return Result{}, r.done(err)
	}
	out, err := v.key.Run(op, in)
	if err := r.done(r.explained(err)); err != nil {
		return Result{}, err
	}
	return Result{Name: k.Name, Version: v.ID, Output: out}, nil
}

// explained puts a mismatch of curve and algorithm into the service's words.
func (r *request) explained(err error) error {
	var m *material.MismatchError
	if !errors.As(err, &m) {
		return err
	}
	return badParameter("Key and signing algorithm are incompatible. Key %s uses curve '%s', and algorithm '%s' can only be used with curve '%s'.",
		r.resource(), m.Curve, m.Algorithm, m.Needs)
}

// usable applies the attributes of a version. now is in Unix seconds.
func (v keyVersion) usable(op material.Operation, protects bool, now int64) error {
	switch {
	case !v.Enabled:
		return ofKeys.disabled(string(op))
	case protects && now < v.NotBefore:
		return fault.New(fault.Denied, "KeyNotYetValid", "Operation %s is not allowed on a key that is not yet valid.", op)
	case protects && v.Expires != 0 && now >= v.Expires:
		return fault.New(fault.Denied, "KeyExpired", "Operation %s is not allowed on an expired key.", op)
	case !slices.Contains(v.Ops, string(op)):
		return fault.New(fault.Denied, "KeyOperationForbidden", "Operation %s is not permitted on this key.", op)
	}
	return nil
}

// Release refuses: the service releases a key only to an environment that proves itself, and there is
// nobody here who could vouch for one. Everything before that is checked, so that callers learn what
// else is in the way.
func (s *Service) Release(ctx context.Context, c principal.Caller, vault, name, id string) error {
	r, err := s.guard(ctx, c, vault, name, mayRelease, checkVersion(id))
	if err != nil {
		return err
	}
	_, v, err := s.liveKey(vault, name, id)
	if err != nil {
		return r.done(err)
	}
	r.version = v.ID
	switch {
	case !v.Enabled:
		err = ofKeys.disabled("release")
	case !v.Exportable:
		err = fault.New(fault.Denied, "KeyOperationForbidden", "Operation release is not permitted on this key.")
	default:
		err = fault.New(fault.Denied, "AccessDenied", "Target environment attestation statement cannot be verified.")
	}
	return r.done(err)
}

// maxRandom is the most random bytes in one answer.
const maxRandom = 128
