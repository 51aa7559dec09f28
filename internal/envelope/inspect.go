package envelope

import (
	"context"
	"errors"
	"slices"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/secret"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// VaultAnswer is implemented by errors that carry a vault's own answer. Errors of [Keeper.Inspect],
// [Keeper.Create] and [Keeper.Protect] have one in their tree when the vault answered: the service
// passes a vault's 403 on to whoever configures the account.
type VaultAnswer interface {
	error
	// VaultAnswer returns the HTTP status, the error code, the inner code (which may be empty) and the
	// message. status is 0 when no vault answered.
	VaultAnswer() (status int, code, innerCode, message string)
}

// recoveryLevels are the levels under which a deleted key cannot be purged before its time: soft
// delete and purge protection. Compared whole, because "Recoverable+Purgeable" is none of them.
var recoveryLevels = []string{
	"Recoverable", "CustomizedRecoverable", "Recoverable+ProtectedSubscription", "CustomizedRecoverable+ProtectedSubscription",
}

// Inspect proves that p can protect an account: the URI is well-formed, the identity may read, wrap
// and unwrap (each by doing it), the key is an RSA key and cannot be purged at once. The errors are
// [fault.Error] values; see [VaultAnswer]. The platform's own key always passes.
func (k *Keeper) Inspect(ctx context.Context, p Protection) error {
	if !p.CustomerManaged() {
		return nil
	}
	if _, err := uri.ParseKeyID(p.KeyURI); err != nil {
		return fault.New(fault.Invalid, "InvalidKeyVaultKeyUri", "Provided KeyVaultKeyUri %s is Invalid.", p.KeyURI).Because(err)
	}
	if p.Identity == "" {
		return fault.New(fault.Invalid, "UndefinedDefaultIdentity", "The account has an undefined default identity (%d).", identityUndefined)
	}
	ctx, cancel := context.WithTimeout(ctx, k.cfg.ProbeTimeout)
	defer cancel()
	if err := k.inspectKey(ctx, p); err != nil {
		return err
	}
	return asConfigError(k.roundTrip(ctx, p))
}

func (k *Keeper) inspectKey(ctx context.Context, p Protection) error {
	_, level, kty, err := k.cfg.KEK.Describe(ctx, p.KeyURI, p.Identity)
	if err != nil {
		return asConfigError(failed(err))
	}
	if kty != "RSA" && kty != "RSA-HSM" {
		return fault.New(fault.Invalid, "KeyVaultKeyTypeNotSupported", "The key of KeyVaultKeyUri %s must be an RSA key.", p.KeyURI)
	}
	if !slices.Contains(recoveryLevels, level) {
		return fault.New(fault.Invalid, "KeyVaultRecoveryLevel",
			"The Key Vault of KeyVaultKeyUri %s must have both soft delete and purge protection enabled.", p.KeyURI)
	}
	return nil
}

// roundTrip wraps and unwraps random bytes. Errors are *failure.
func (k *Keeper) roundTrip(ctx context.Context, p Protection) error {
	plain := secret.Random(keySize)
	defer plain.Wipe()
	wrapped, keyID, err := k.cfg.KEK.Wrap(ctx, p.KeyURI, p.Identity, plain.Reveal())
	if err != nil {
		return failed(err)
	}
	if err := checkKeyID(p.KeyURI, keyID); err != nil {
		return &failure{substatus: vaultFailed, detail: "the vault wrapped with another key than asked", err: err}
	}
	back, err := k.cfg.KEK.Unwrap(ctx, keyID, p.Identity, wrapped)
	defer clear(back)
	if err != nil {
		return failed(err)
	}
	if !plain.Equal(back) {
		return wrongPlaintext()
	}
	return nil
}

// configReasons names the substatuses for whoever configures an account.
var configReasons = map[int]string{
	tokenRefused: "IdentityTokenRefused", accessRefused: "KeyVaultAccessDenied", keyNotFound: "KeyVaultKeyNotFound",
	unwrapFailed: "KeyVaultWrapUnwrapFailure", malformedURI: "InvalidKeyVaultKeyUri", hostUnknown: "KeyVaultDNSNotResolved",
	identityUndefined: "UndefinedDefaultIdentity", blockedByFirewall: "KeyVaultFirewall", vaultNotFound: "KeyVaultNotFound",
	disabledOrExpired: "KeyVaultKeyDisabledOrExpired",
}

// asConfigError turns a failure into what the one who configures an account is told. Only a vault that
// does not answer yields an error that invites to try again.
func asConfigError(err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	if !f.definite && f.substatus != hostUnknown {
		return fault.New(fault.Unavailable, "KeyVaultUnavailable", "Error contacting the Azure Key Vault resource. Please try again.").Because(err)
	}
	kind, message := fault.Invalid, "The key cannot be used because "+causes[f.substatus].reason+"."
	var answer VaultAnswer
	if errors.As(err, &answer) {
		status, _, _, text := answer.VaultAnswer()
		if status == 403 {
			kind = fault.Denied
		}
		if text != "" {
			message = text
		}
	}
	return fault.New(kind, configReasons[f.substatus], "%s", message).Because(err)
}
