package envelope

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// StatusHealthy is the service's status text of an account whose key works.
const StatusHealthy = "Access to the configured customer managed key confirmed."

// guide is the page that the service's texts lead to.
const guide = "https://learn.microsoft.com/en-us/azure/cosmos-db/cmk-troubleshooting-guide"

// The causes for which a key cannot be used, numbered as the service numbers them in the header
// x-ms-substatus.
const (
	tokenRefused       = 4000
	tokenUnanswered    = 4001
	accessRefused      = 4002
	keyNotFound        = 4003
	vaultUnanswered    = 4004
	unwrapFailed       = 4005
	malformedURI       = 4006
	vaultFailed        = 4008
	hostUnknown        = 4009
	identityUndefined  = 4015
	blockedByFirewall  = 4016
	vaultNotFound      = 4017
	disabledOrExpired  = 4018
	reasonQuarantined  = "AccountQuarantined"
	reasonReplaced     = "AccountFilesReplaced"
	messageReplaced    = "The account's files are not the ones that were left here: they are damaged, older or foreign. It is out of service until an operator has put the right ones back, or accepts these."
	messageQuarantined = "The account failed an integrity check and is out of service until an operator has repaired it."
)

// cause is the service's wording of one substatus.
type cause struct{ reason, anchor string }

// causes holds the texts that the service uses. It has none for 4001, 4004 and 4008, which it shows
// as codes only: these three are ours.
var causes = map[int]cause{
	tokenRefused:      {"the Azure Cosmos DB service is unable to obtain the AAD authentication token for the account's default identity", "#azure-active-directory-token-acquisition-error"},
	tokenUnanswered:   {"the AAD service that issues tokens for the account's default identity is not available", ""},
	accessRefused:     {"the current default identity no longer has permission to the associated Key Vault key", "#default-identity-is-unauthorized-to-access-the-azure-key-vault-key"},
	keyNotFound:       {"the correspondent key is not found on the specified Key Vault", "#azure-key-vault-resource-not-found"},
	vaultUnanswered:   {"the Azure Key Vault service is not available", ""},
	unwrapFailed:      {"the Azure Cosmos DB service is unable to wrap or unwrap the key", "#internal-unwrapping-procedure-error"},
	malformedURI:      {"the Azure Cosmos DB account's key vault key URI does not follow the expected format", "#improper-syntax-detected-on-the-key-vault-uri-property"},
	vaultFailed:       {"the Azure Key Vault service returned an unexpected answer", ""},
	hostUnknown:       {"the Azure Key Vault DNS name specified by the account's keyvaultkeyuri property could not be resolved", "#unable-to-resolve-the-key-vaults-dns"},
	identityUndefined: {"the Azure Cosmos DB account has an undefined default identity", "#invalid-azure-cosmos-db-default-identity"},
	blockedByFirewall: {"the access rules are blocking outbound requests to the Azure Key Vault service", ""},
	vaultNotFound:     {"the correspondent Azure Key Vault was not found", "#azure-key-vault-resource-not-found"},
	disabledOrExpired: {"the correspondent key is either disabled or expired", "#azure-key-disabled-or-expired"},
}

// revokedText is the service's sentence for a substatus; the generic one for those without a text.
func revokedText(substatus int) string {
	c, ok := causes[substatus]
	if !ok {
		return "Access to your account is currently revoked; for more details about this error and how to restore access to your account please visit " + guide
	}
	return fmt.Sprintf("Access to your account is currently revoked because %s; for more details about this error and how to restore access to your account please visit %s%s (%d).",
		c.reason, guide, c.anchor, substatus)
}

// StatusText is the account's customerManagedKeyStatus: "" without a customer's key, [StatusHealthy]
// while the account serves or would, and otherwise the service's sentence for the cause.
func StatusText(s Status) string {
	switch {
	case !s.Protection.CustomerManaged():
		return ""
	case s.State == StateRevoked || s.State == StateDraining:
		return revokedText(s.Substatus)
	case s.State == StateQuarantined:
		return revokedText(0)
	default:
		return StatusHealthy
	}
}

// failure is a probe's bad result in the keeper's terms.
type failure struct {
	substatus int
	definite  bool
	detail    string
	err       error
}

// failed explains an error of the KEK. One that is no [KEKError] counts as no answer.
func failed(err error) *failure {
	var k KEKError
	if errors.As(err, &k) {
		return &failure{substatus: k.Substatus(), definite: k.Definite(), detail: k.Detail(), err: err}
	}
	return &failure{substatus: vaultUnanswered, detail: "no answer", err: err}
}

// fault is what a caller of the account is told.
func (f *failure) fault() error {
	return fault.New(fault.KeyDenied, strconv.Itoa(f.substatus), "%s", revokedText(f.substatus)).Because(f.err)
}

// quarantineReason says why an account is quarantined.
func quarantineReason(damage error) (reason, message string) {
	if errors.Is(damage, errReplaced) {
		return reasonReplaced, messageReplaced
	}
	return reasonQuarantined, messageQuarantined
}

func errQuarantined(err error) error {
	reason, message := quarantineReason(err)
	return fault.New(fault.Unavailable, reason, "%s", message).Because(err)
}

func errLocked() error {
	return fault.New(fault.Denied, "AccountLocked", "The account is locked by an operator.")
}

func errUnknown() error {
	return fault.New(fault.NotFound, "AccountNotFound", "The account does not exist.")
}

func errClosing() error {
	return fault.New(fault.Unavailable, "AccountClosing", "The account is being closed.")
}

func errStopping() error {
	return fault.New(fault.Unavailable, "ShuttingDown", "The server is shutting down.")
}
