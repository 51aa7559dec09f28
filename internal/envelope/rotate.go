package envelope

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// rewrap puts the AK under the newest version of the same key.
func (a *account) rewrap(ctx context.Context, ring *keyring, ak *secret.Bytes) error {
	next := ring.next()
	if err := a.k.wrapInto(ctx, next, ak); err != nil {
		return err
	}
	return a.replace(ctx, next, ak)
}

// wrapInto wraps ak for the protection that next names, and unwraps it again to prove that the result
// is good. Errors of a vault are *failure.
func (k *Keeper) wrapInto(ctx context.Context, next *keyring, ak *secret.Bytes) error {
	next.check = keyCheck(ak.Reveal(), next.account)
	p := next.protection
	if !p.CustomerManaged() {
		sealed := sealKey(k.root.Reveal(), ak.Reveal(), purposeRootWrap, next.account, nil)
		next.algorithm, next.keyID, next.wrapped = wrapRoot, "", sealed[:]
		return nil
	}
	wrapped, keyID, err := k.cfg.KEK.Wrap(ctx, p.KeyURI, p.Identity, ak.Reveal())
	if err != nil {
		return failed(err)
	}
	if err := checkKeyID(p.KeyURI, keyID); err != nil || len(wrapped) > maxString {
		return &failure{substatus: vaultFailed, detail: "the vault wrapped with another key than asked", err: err}
	}
	next.algorithm, next.keyID, next.wrapped = wrapRSA256, keyID, wrapped
	return k.unwraps(ctx, next, ak)
}

// openRootWrapped unwraps the AK of an account without a customer's key, and tells whether it took a retired
// root key.
func (k *Keeper) openRootWrapped(ring *keyring) (plain []byte, retired bool, err error) {
	plain, err = openKey(k.root.Reveal(), ring.wrapped, purposeRootWrap, ring.account, nil)
	for i := 0; err != nil && i < len(k.retired); i++ {
		plain, err = openKey(k.retired[i].Reveal(), ring.wrapped, purposeRootWrap, ring.account, nil)
		retired = true
	}
	return plain, retired, err
}

// LeaveRetired gives every account that stands under a retired root key a new AK and a new DK under the
// present one, so that the retired key opens nothing that is written from then on. It returns how many
// accounts still need a retired key: those that are locked, or whose keyring does not verify. One
// account's failure does not keep the others.
func (k *Keeper) LeaveRetired(ctx context.Context) (left int, err error) {
	for _, a := range k.all() {
		needs, e := a.needsRetired()
		if e == nil && needs {
			e = k.RotateKeys(ctx, a.id, Rotation{AccountKey: true, DataKeys: true})
		}
		if e != nil {
			left++
			err = errors.Join(err, fmt.Errorf("envelope: account %s: %w", a.id, e))
		}
	}
	return left, err
}

// needsRetired reports whether only a retired root key opens the account's keyring.
func (a *account) needsRetired() (bool, error) {
	if len(a.k.retired) == 0 {
		return false, nil
	}
	ring, _, err := a.read()
	if err != nil {
		return false, err
	}
	if ring.protection.CustomerManaged() {
		return false, nil
	}
	plain, retired, err := a.k.openRootWrapped(ring)
	clear(plain)
	return retired, err
}

// unwraps proves that the wrapped key in r is ak.
func (k *Keeper) unwraps(ctx context.Context, r *keyring, ak *secret.Bytes) error {
	plain, err := k.unwrapAccountKey(ctx, r, r.protection.Identity)
	defer clear(plain)
	if err != nil {
		return err
	}
	if !ak.Equal(plain) {
		return wrongPlaintext()
	}
	return nil
}

// replace makes next the account's keyring, on disk and in memory. On error the old one is in force;
// a crash leaves one of the two, and both open.
func (a *account) replace(ctx context.Context, next *keyring, ak *secret.Bytes) error {
	if err := a.record(ctx, opKeyRotated, audit.Allowed, next, nil); err != nil {
		return err
	}
	files, name := a.k.cfg.Files, a.k.path(a.id, keyringName)
	old, err := files.Read(name)
	if err != nil {
		return err
	}
	raw := next.encode(ak.Reveal())
	if err := a.expectKeyring(old, raw); err != nil {
		return err
	}
	if err := files.Retain(name, a.k.path(a.id, previousName)); err != nil {
		return err
	}
	err = files.Replace(name, raw)
	if err == nil {
		err = a.verifyFile(ctx, raw, ak)
	}
	if err != nil {
		return errors.Join(err, files.Replace(name, old))
	}
	a.adoptRing(next, raw)
	if err := a.settleKeyring(raw); err != nil { // the anchor accepts both until the next change
		a.k.cfg.Log.Error("anchor of a new keyring is not settled", "account", a.id, "error", err)
	}
	return nil
}

// adoptRing remembers the keyring that stands on disk now.
func (a *account) adoptRing(ring *keyring, raw []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ring, a.print = ring, sha256.Sum256(raw)
}

// verifyFile reads the keyring back and opens it from its bytes alone.
func (a *account) verifyFile(ctx context.Context, raw []byte, ak *secret.Bytes) error {
	ring, back, err := a.read()
	if err != nil {
		return err
	}
	if !bytes.Equal(raw, back) {
		return fmt.Errorf("%w: differs after writing", errKeyring)
	}
	if err := a.k.unwraps(ctx, ring, ak); err != nil {
		return err
	}
	return verifyKeyring(back, ak.Reveal(), a.id)
}

// scrubForeignCopy destroys a previous keyring that opens what the present one does not: a crash came
// between the change and its last step.
func (a *account) scrubForeignCopy(ring *keyring) error {
	name := a.k.path(a.id, previousName)
	raw, err := a.k.cfg.Files.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if old, err := decodeKeyring(raw); err == nil && ring.succeeds(old) {
		return nil
	}
	return a.k.cfg.Files.Scrub(name)
}

// succeeds reports whether r has every key that old has, under the same protection.
func (r *keyring) succeeds(old *keyring) bool {
	if old.protection != r.protection || old.check != r.check {
		return false
	}
	have := map[[16]byte]bool{}
	for _, d := range r.dataKeys {
		have[d.id] = true
	}
	for _, d := range old.dataKeys {
		if !have[d.id] {
			return false
		}
	}
	return true
}
