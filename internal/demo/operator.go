package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/cosmos/armcosmos/v3"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/keyvault/armkeyvault"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/resources/armresources"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
)

// The tutorial's own names.
const (
	Group    = "myresourcegroup"
	Vault    = "mykeyvault"
	Account  = "mycosmosdbaccount"
	Key      = "mycosmosdbkey"
	Location = "eastus"
)

// Operator does what the tutorial's operator does, with a real client of the service.
type Operator interface {
	// CreateGroup, CreateVault and CreateAccount make what the tutorial starts from.
	CreateGroup(ctx context.Context) error
	CreateVault(ctx context.Context) error
	CreateAccount(ctx context.Context) error
	// FindDatabase returns the object id of the database's service principal.
	FindDatabase(ctx context.Context) (string, error)
	// Grant lets a principal get, wrapKey and unwrapKey; Withdraw removes its policy.
	Grant(ctx context.Context, objectID string) error
	Withdraw(ctx context.Context, objectID string) error
	// CreateKey makes the key, or a new version of it.
	CreateKey(ctx context.Context) error
	// VaultURI returns the vault's address with a trailing slash.
	VaultURI(ctx context.Context) (string, error)
	// PointAccount makes the account use the key.
	PointAccount(ctx context.Context, keyURI string) error
	SetKeyEnabled(ctx context.Context, enabled bool) error
	DeleteKey(ctx context.Context) error
	RecoverKey(ctx context.Context) error
	// MasterKey returns the account's primary master key.
	MasterKey(ctx context.Context) (string, error)
}

// Status is what the account says about its key.
type Status struct{ Text, KeyVersion string }

// AZ is an [Operator] that runs the real az. Environ is the whole environment of its processes, in
// which az must be logged in.
type AZ struct {
	Path    string
	Environ []string
}

var _ Operator = (*AZ)(nil)

func (a *AZ) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, a.Path, args...)
	cmd.Env = a.Environ
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("az %s: %w\n%s", strings.Join(args[:min(3, len(args))], " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

func (a *AZ) do(ctx context.Context, args ...string) error {
	_, err := a.run(ctx, append(args, "--output", "none")...)
	return err
}

// CreateGroup runs az group create.
func (a *AZ) CreateGroup(ctx context.Context) error {
	return a.do(ctx, "group", "create", "--name", Group, "--location", Location)
}

// CreateVault runs az keyvault create.
func (a *AZ) CreateVault(ctx context.Context) error {
	return a.do(ctx, "keyvault", "create", "--name", Vault, "--resource-group", Group, "--location", Location,
		"--enable-rbac-authorization", "false", "--enable-purge-protection", "true")
}

// CreateAccount runs az cosmosdb create.
func (a *AZ) CreateAccount(ctx context.Context) error {
	return a.do(ctx, "cosmosdb", "create", "--name", Account, "--resource-group", Group)
}

// FindDatabase runs the tutorial's az ad sp list.
func (a *AZ) FindDatabase(ctx context.Context) (string, error) {
	return a.run(ctx, "ad", "sp", "list", "--display-name", "Microsoft.DocumentDB", "--query", "[].objectId", "-o", "tsv")
}

// Grant runs az keyvault set-policy.
func (a *AZ) Grant(ctx context.Context, objectID string) error {
	return a.do(ctx, "keyvault", "set-policy", "--name", Vault, "--resource-group", Group, "--object-id", objectID,
		"--key-permissions", "get", "wrapKey", "unwrapKey")
}

// Withdraw runs az keyvault delete-policy.
func (a *AZ) Withdraw(ctx context.Context, objectID string) error {
	return a.do(ctx, "keyvault", "delete-policy", "--name", Vault, "--resource-group", Group, "--object-id", objectID)
}

// CreateKey runs az keyvault key create.
func (a *AZ) CreateKey(ctx context.Context) error {
	return a.do(ctx, "keyvault", "key", "create", "--vault-name", Vault, "--name", Key, "--kty", "RSA", "--size", "2048")
}

// VaultURI runs az keyvault show.
func (a *AZ) VaultURI(ctx context.Context) (string, error) {
	return a.run(ctx, "keyvault", "show", "--name", Vault, "--query", "properties.vaultUri", "-o", "tsv")
}

// PointAccount runs az cosmosdb update.
func (a *AZ) PointAccount(ctx context.Context, keyURI string) error {
	return a.do(ctx, "cosmosdb", "update", "--name", Account, "--resource-group", Group, "--key-uri", keyURI)
}

// SetKeyEnabled runs az keyvault key set-attributes.
func (a *AZ) SetKeyEnabled(ctx context.Context, enabled bool) error {
	return a.do(ctx, "keyvault", "key", "set-attributes", "--vault-name", Vault, "--name", Key, "--enabled", fmt.Sprint(enabled))
}

// DeleteKey runs az keyvault key delete.
func (a *AZ) DeleteKey(ctx context.Context) error {
	return a.do(ctx, "keyvault", "key", "delete", "--vault-name", Vault, "--name", Key)
}

// RecoverKey runs az keyvault key recover.
func (a *AZ) RecoverKey(ctx context.Context) error {
	return a.do(ctx, "keyvault", "key", "recover", "--vault-name", Vault, "--name", Key)
}

// MasterKey runs az cosmosdb keys list.
func (a *AZ) MasterKey(ctx context.Context) (string, error) {
	return a.run(ctx, "cosmosdb", "keys", "list", "--name", Account, "--resource-group", Group,
		"--query", "primaryMasterKey", "-o", "tsv")
}

// SDK is an [Operator] that uses the official Go clients with their defaults for the public cloud.
type SDK struct {
	HTTP         *http.Client // leads Azure's names to the server
	Credential   azcore.TokenCredential
	Subscription string
	Tenant       string
}

var _ Operator = (*SDK)(nil)

func (s *SDK) options() *arm.ClientOptions {
	o := &arm.ClientOptions{DisableRPRegistration: true}
	o.Transport = s.HTTP
	return o
}

func ptr[T any](v T) *T { return &v }

// CreateGroup uses armresources.
func (s *SDK) CreateGroup(ctx context.Context) error {
	c, err := armresources.NewResourceGroupsClient(s.Subscription, s.Credential, s.options())
	if err != nil {
		return err
	}
	_, err = c.CreateOrUpdate(ctx, Group, armresources.ResourceGroup{Location: ptr(Location)}, nil)
	return err
}

func (s *SDK) vaults() (*armkeyvault.VaultsClient, error) {
	return armkeyvault.NewVaultsClient(s.Subscription, s.Credential, s.options())
}

// Accounts returns the client for database accounts.
func (s *SDK) Accounts() (*armcosmos.DatabaseAccountsClient, error) {
	return armcosmos.NewDatabaseAccountsClient(s.Subscription, s.Credential, s.options())
}

// CreateVault uses armkeyvault and gives the caller itself every key permission, as az does.
func (s *SDK) CreateVault(ctx context.Context) error {
	c, err := s.vaults()
	if err != nil {
		return err
	}
	me, err := s.objectID(ctx)
	if err != nil {
		return err
	}
	poller, err := c.BeginCreateOrUpdate(ctx, Group, Vault, armkeyvault.VaultCreateOrUpdateParameters{
		Location: ptr(Location),
		Properties: &armkeyvault.VaultProperties{
			TenantID: ptr(s.Tenant), SKU: &armkeyvault.SKU{Family: ptr(armkeyvault.SKUFamilyA), Name: ptr(armkeyvault.SKUNameStandard)},
			EnablePurgeProtection: ptr(true), EnableRbacAuthorization: ptr(false),
			AccessPolicies: []*armkeyvault.AccessPolicyEntry{s.policy(me, armkeyvault.KeyPermissionsAll)},
		},
	}, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, nil)
	return err
}

func (s *SDK) policy(objectID string, permissions ...armkeyvault.KeyPermissions) *armkeyvault.AccessPolicyEntry {
	e := &armkeyvault.AccessPolicyEntry{TenantID: ptr(s.Tenant), ObjectID: ptr(objectID), Permissions: &armkeyvault.Permissions{}}
	for _, p := range permissions {
		e.Permissions.Keys = append(e.Permissions.Keys, ptr(p))
	}
	return e
}

// CreateAccount uses armcosmos.
func (s *SDK) CreateAccount(ctx context.Context) error {
	c, err := s.Accounts()
	if err != nil {
		return err
	}
	poller, err := c.BeginCreateOrUpdate(ctx, Group, Account, armcosmos.DatabaseAccountCreateUpdateParameters{
		Location: ptr(Location),
		Properties: &armcosmos.DatabaseAccountCreateUpdateProperties{
			DatabaseAccountOfferType: ptr("Standard"),
			Locations:                []*armcosmos.Location{{LocationName: ptr(Location), FailoverPriority: ptr(int32(0))}},
		},
	}, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, nil)
	return err
}

// objectID asks Graph for the caller's own service principal.
func (s *SDK) objectID(ctx context.Context) (string, error) {
	token, err := s.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{graphScope}})
	if err != nil {
		return "", err
	}
	var claims struct {
		ObjectID string `json:"oid"`
	}
	return claims.ObjectID, decodeClaims(token.Token, &claims)
}

const graphScope = "https://graph.microsoft.com/.default"

// FindDatabase searches Graph for the service principal by its display name.
func (s *SDK) FindDatabase(ctx context.Context) (string, error) {
	pl := runtime.NewPipeline("latchkey-demo", "v1", runtime.PipelineOptions{
		PerRetry: []policy.Policy{runtime.NewBearerTokenPolicy(s.Credential, []string{graphScope}, nil)},
	}, &policy.ClientOptions{Transport: s.HTTP})
	q := url.Values{"$filter": {"startswith(displayName,'Microsoft.DocumentDB')"}}
	req, err := runtime.NewRequest(ctx, http.MethodGet, "https://graph.microsoft.com/v1.0/servicePrincipals?"+q.Encode())
	if err != nil {
		return "", err
	}
	resp, err := pl.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var page struct {
		Value []struct {
			ID string `json:"id"`
		} `json:"value"`
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(raw, &page); err != nil || len(page.Value) != 1 {
		return "", errors.Join(err, fmt.Errorf("graph answered %d service principals", len(page.Value)))
	}
	return page.Value[0].ID, nil
}

func (s *SDK) setPolicy(ctx context.Context, kind armkeyvault.AccessPolicyUpdateKind, e *armkeyvault.AccessPolicyEntry) error {
	c, err := s.vaults()
	if err != nil {
		return err
	}
	_, err = c.UpdateAccessPolicy(ctx, Group, Vault, kind, armkeyvault.VaultAccessPolicyParameters{
		Properties: &armkeyvault.VaultAccessPolicyProperties{AccessPolicies: []*armkeyvault.AccessPolicyEntry{e}},
	}, nil)
	return err
}

// Grant uses armkeyvault.
func (s *SDK) Grant(ctx context.Context, objectID string) error {
	return s.GrantOnly(ctx, objectID, "get", "wrapKey", "unwrapKey")
}

// GrantOnly replaces the principal's key permissions.
func (s *SDK) GrantOnly(ctx context.Context, objectID string, permissions ...string) error {
	var p []armkeyvault.KeyPermissions
	for _, name := range permissions {
		p = append(p, armkeyvault.KeyPermissions(name))
	}
	if err := s.Withdraw(ctx, objectID); err != nil {
		return err
	}
	return s.setPolicy(ctx, armkeyvault.AccessPolicyUpdateKindAdd, s.policy(objectID, p...))
}

// Withdraw uses armkeyvault.
func (s *SDK) Withdraw(ctx context.Context, objectID string) error {
	c, err := s.vaults()
	if err != nil {
		return err
	}
	v, err := c.Get(ctx, Group, Vault, nil)
	if err != nil {
		return err
	}
	for _, e := range v.Properties.AccessPolicies {
		if strings.EqualFold(*e.ObjectID, objectID) {
			return s.setPolicy(ctx, armkeyvault.AccessPolicyUpdateKindRemove, e)
		}
	}
	return nil
}

// Keys returns the client of the vault's keys.
func (s *SDK) Keys() (*azkeys.Client, error) {
	o := &azkeys.ClientOptions{}
	o.Transport = s.HTTP
	return azkeys.NewClient("https://"+Vault+".vault.azure.net", s.Credential, o)
}

// CreateKey uses azkeys.
func (s *SDK) CreateKey(ctx context.Context) error {
	c, err := s.Keys()
	if err != nil {
		return err
	}
	_, err = c.CreateKey(ctx, Key, azkeys.CreateKeyParameters{Kty: ptr(azkeys.KeyTypeRSA), KeySize: ptr(int32(2048))}, nil)
	return err
}

// VaultURI uses armkeyvault.
func (s *SDK) VaultURI(ctx context.Context) (string, error) {
	c, err := s.vaults()
	if err != nil {
		return "", err
	}
	v, err := c.Get(ctx, Group, Vault, nil)
	if err != nil {
		return "", err
	}
	return *v.Properties.VaultURI, nil
}

// PointAccount uses armcosmos.
func (s *SDK) PointAccount(ctx context.Context, keyURI string) error {
	return s.Update(ctx, armcosmos.DatabaseAccountUpdateParameters{
		Properties: &armcosmos.DatabaseAccountUpdateProperties{KeyVaultKeyURI: ptr(keyURI)},
	})
}

// Update changes the account and waits for the end of the operation.
func (s *SDK) Update(ctx context.Context, p armcosmos.DatabaseAccountUpdateParameters) error {
	c, err := s.Accounts()
	if err != nil {
		return err
	}
	poller, err := c.BeginUpdate(ctx, Group, Account, p, nil)
	if err != nil {
		return err
	}
	_, err = poller.PollUntilDone(ctx, nil)
	return err
}

// SetKeyEnabled uses azkeys.
func (s *SDK) SetKeyEnabled(ctx context.Context, enabled bool) error {
	c, err := s.Keys()
	if err != nil {
		return err
	}
	_, err = c.UpdateKey(ctx, Key, "", azkeys.UpdateKeyParameters{KeyAttributes: &azkeys.KeyAttributes{Enabled: ptr(enabled)}}, nil)
	return err
}

// DeleteKey uses azkeys.
func (s *SDK) DeleteKey(ctx context.Context) error {
	c, err := s.Keys()
	if err != nil {
		return err
	}
	_, err = c.DeleteKey(ctx, Key, nil)
	return err
}

// RecoverKey uses azkeys.
func (s *SDK) RecoverKey(ctx context.Context) error {
	c, err := s.Keys()
	if err != nil {
		return err
	}
	_, err = c.RecoverDeletedKey(ctx, Key, nil)
	return err
}

// MasterKey uses armcosmos.
func (s *SDK) MasterKey(ctx context.Context) (string, error) {
	c, err := s.Accounts()
	if err != nil {
		return "", err
	}
	keys, err := c.ListKeys(ctx, Group, Account, nil)
	if err != nil {
		return "", err
	}
	return *keys.PrimaryMasterKey, nil
}

// Status reads what the account says about its key.
func (s *SDK) Status(ctx context.Context) (Status, error) {
	c, err := s.Accounts()
	if err != nil {
		return Status{}, err
	}
	a, err := c.Get(ctx, Group, Account, nil)
	if err != nil {
		return Status{}, err
	}
	var st Status
	if p := a.Properties.CustomerManagedKeyStatus; p != nil {
		st.Text = *p
	}
	if p := a.Properties.KeyVaultKeyURIVersion; p != nil {
		st.KeyVersion = *p
	}
	return st, nil
}
