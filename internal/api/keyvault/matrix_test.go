package keyvault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/api/keyvault"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/rbac"
	"github.com/latchkey-db/latchkey/internal/store"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// row is an operation of the service: what it needs under both permission models, and what who may do it
// is told. Every row can be repeated: what it would destroy is not there.
type row struct {
	endpoint   string // as the face's table has it
	path, body string
	permission string // kind and name in access policies; "" when any caller may
	action     string // below Microsoft.KeyVault/vaults/
	answer     string // status, and the innermost code of an error
}

const (
	crypt      = `{"alg":"RSA-OAEP-256","value":"eA"}`
	sealed     = `{"alg":"RSA-OAEP-256","value":"AAAA"}`
	selfSigned = `{"policy":{"key_props":{"kty":"EC"},"x509_props":{"subject":"CN=c1"},"issuer":{"name":"Self"}}}`
	digest     = `{"alg":"RS256","value":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","digest":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`
)

var matrix = []row{
	{"GET keys", "keys", "", "keys list", "keys/read", "200"},
	{"POST keys/restore", "keys/restore", `{"value":"AAAA"}`, "keys restore", "keys/restore/action", "400 " + vault.ReasonMalformedBackup},
	{"PUT keys/{n}", "keys/made", `{"key":{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}}`, "keys import", "keys/import/action", "200"},
	{"DELETE keys/{n}", "keys/absent", "", "keys delete", "keys/delete", "404 KeyNotFound"},
	{"GET keys/{n}/versions", "keys/k1/versions", "", "keys list", "keys/read", "200"},
	{"POST keys/{n}/create", "keys/made/create", `{"kty":"EC"}`, "keys create", "keys/create/action", "200"},
	{"POST keys/{n}/rotate", "keys/ec/rotate", "", "keys rotate", "keys/rotate/action", "200"},
	{"POST keys/{n}/backup", "keys/k1/backup", "", "keys backup", "keys/backup/action", "200"},
	{"GET keys/{n}/rotationpolicy", "keys/k1/rotationpolicy", "", "keys getrotationpolicy", "keyrotationpolicies/read", "200"},
	{"PUT keys/{n}/rotationpolicy", "keys/k1/rotationpolicy", `{}`, "keys setrotationpolicy", "keyrotationpolicies/write", "200"},
	{"GET keys/{n}/{v}/attestation", "keys/k1//attestation", "", "keys get", "keys/read", "200"},
	{"GET keys/{n}/attestation", "keys/k1/attestation", "", "keys get", "keys/read", "200"},
	{"POST keys/{n}/encrypt", "keys/k1/encrypt", crypt, "keys encrypt", "keys/encrypt/action", "200"},
	{"POST keys/{n}/{v}/encrypt", "keys/k1//encrypt", crypt, "keys encrypt", "keys/encrypt/action", "200"},
	{"POST keys/{n}/decrypt", "keys/k1/decrypt", sealed, "keys decrypt", "keys/decrypt/action", "400 BadParameter"},
	{"POST keys/{n}/{v}/decrypt", "keys/k1//decrypt", sealed, "keys decrypt", "keys/decrypt/action", "400 BadParameter"},
	{"POST keys/{n}/wrapkey", "keys/k1/wrapKey", crypt, "keys wrapKey", "keys/wrap/action", "200"},
	{"POST keys/{n}/{v}/wrapkey", "keys/k1//wrapkey", crypt, "keys wrapKey", "keys/wrap/action", "200"},
	{"POST keys/{n}/unwrapkey", "keys/k1/unwrapKey", sealed, "keys unwrapKey", "keys/unwrap/action", "400 BadParameter"},
	{"POST keys/{n}/{v}/unwrapkey", "keys/k1//unwrapkey", sealed, "keys unwrapKey", "keys/unwrap/action", "400 BadParameter"},
	{"POST keys/{n}/sign", "keys/k1/sign", digest, "keys sign", "keys/sign/action", "200"},
	{"POST keys/{n}/{v}/sign", "keys/k1//sign", digest, "keys sign", "keys/sign/action", "200"},
	{"POST keys/{n}/verify", "keys/k1/verify", digest, "keys verify", "keys/verify/action", "200"},
	{"POST keys/{n}/{v}/verify", "keys/k1//verify", digest, "keys verify", "keys/verify/action", "200"},
	{"POST keys/{n}/release", "keys/k1/release", `{"target":"x"}`, "keys release", "keys/release/action", "403 KeyOperationForbidden"},
	{"POST keys/{n}/{v}/release", "keys/k1//release", `{"target":"x"}`, "keys release", "keys/release/action", "403 KeyOperationForbidden"},
	{"GET keys/{n}/{v}", "keys/k1", "", "keys get", "keys/read", "200"},
	{"PATCH keys/{n}/{v}", "keys/k1/", `{"tags":{"a":"b"}}`, "keys update", "keys/update/action", "200"},
	{"GET deletedkeys", "deletedkeys", "", "keys list", "keys/read", "200"},
	{"GET deletedkeys/{n}", "deletedkeys/absent", "", "keys get", "keys/read", "404 KeyNotFound"},
	{"DELETE deletedkeys/{n}", "deletedkeys/absent", "", "keys purge", "keys/purge/action", "404 KeyNotFound"},
	{"POST deletedkeys/{n}/recover", "deletedkeys/absent/recover", "", "keys recover", "keys/recover/action", "404 KeyNotFound"},
	{"POST rng", "rng", `{"count":8}`, "keys get", "keys/read", "200"},

	{"GET secrets", "secrets", "", "secrets list", "secrets/readMetadata/action", "200"},
	{"POST secrets/restore", "secrets/restore", `{"value":"AAAA"}`, "secrets restore", "secrets/restore/action", "400 " + vault.ReasonMalformedBackup},
	{"PUT secrets/{n}", "secrets/s1", `{"value":"x"}`, "secrets set", "secrets/setSecret/action", "200"},
	{"DELETE secrets/{n}", "secrets/absent", "", "secrets delete", "secrets/delete", "404 SecretNotFound"},
	{"GET secrets/{n}/versions", "secrets/s1/versions", "", "secrets list", "secrets/readMetadata/action", "200"},
	{"POST secrets/{n}/backup", "secrets/s1/backup", "", "secrets backup", "secrets/backup/action", "200"},
	{"GET secrets/{n}/{v}", "secrets/s1", "", "secrets get", "secrets/getSecret/action", "200"},
	{"PATCH secrets/{n}/{v}", "secrets/s1/", `{}`, "secrets set", "secrets/update/action", "200"},
	{"GET deletedsecrets", "deletedsecrets", "", "secrets list", "secrets/readMetadata/action", "200"},
	{"GET deletedsecrets/{n}", "deletedsecrets/absent", "", "secrets get", "secrets/readMetadata/action", "404 SecretNotFound"},
	{"DELETE deletedsecrets/{n}", "deletedsecrets/absent", "", "secrets purge", "secrets/purge/action", "404 SecretNotFound"},
	{"POST deletedsecrets/{n}/recover", "deletedsecrets/absent/recover", "", "secrets recover", "secrets/recover/action", "404 SecretNotFound"},
	{"GET certificates", "certificates", "", "certificates list", "certificates/read", "200"},
	{"POST certificates/restore", "certificates/restore", `{"value":"AAAA"}`, "certificates restore", "certificates/restore/action", "400 " + vault.ReasonMalformedBackup},
	{"GET certificates/contacts", "certificates/contacts", "", "certificates managecontacts", "certificatecontacts/write", "404 ContactsNotFound"},
	{"PUT certificates/contacts", "certificates/contacts", `{}`, "certificates managecontacts", "certificatecontacts/write", "200"},
	{"DELETE certificates/contacts", "certificates/contacts", "", "certificates managecontacts", "certificatecontacts/write", "404 ContactsNotFound"},
	{"GET certificates/issuers", "certificates/issuers", "", "certificates listissuers", "certificatecas/read", "200"},
	{"GET certificates/issuers/{n}", "certificates/issuers/absent", "", "certificates getissuers", "certificatecas/read", "404 CertificateIssuerNotFound"},
	{"PUT certificates/issuers/{n}", "certificates/issuers/i1", `{"provider":"Test"}`, "certificates setissuers", "certificatecas/write", "200"},
	{"PATCH certificates/issuers/{n}", "certificates/issuers/absent", `{}`, "certificates setissuers", "certificatecas/write", "404 CertificateIssuerNotFound"},
	{"DELETE certificates/issuers/{n}", "certificates/issuers/absent", "", "certificates deleteissuers", "certificatecas/delete", "404 CertificateIssuerNotFound"},
	{"POST certificates/{n}/create", "certificates/made-c/create", selfSigned, "certificates create", "certificates/create/action", "202"},
	{"POST certificates/{n}/import", "certificates/made-c/import", `{"value":"AAAA"}`, "certificates import", "certificates/import/action", "400 BadParameter"},
	{"DELETE certificates/{n}", "certificates/absent", "", "certificates delete", "certificates/delete", "404 CertificateNotFound"},
	{"GET certificates/{n}/versions", "certificates/c1/versions", "", "certificates list", "certificates/read", "200"},
	{"POST certificates/{n}/backup", "certificates/c1/backup", "", "certificates backup", "certificates/backup/action", "200"},
	{"GET certificates/{n}/policy", "certificates/c1/policy", "", "certificates get", "certificates/read", "200"},
	{"PATCH certificates/{n}/policy", "certificates/c1/policy", `{"x509_props":{"subject":"CN=c1"},"issuer":{"name":"Self"}}`, "certificates update", "certificates/update/action", "200"},
	{"GET certificates/{n}/pending", "certificates/c1/pending", "", "certificates get", "certificates/read", "200"},
	{"PATCH certificates/{n}/pending", "certificates/c1/pending", `{"cancellation_requested":true}`, "certificates update", "certificates/update/action", "403 PendingCertificateDone"},
	{"DELETE certificates/{n}/pending", "certificates/absent/pending", "", "certificates update", "certificates/update/action", "404 PendingCertificateNotFound"},
	{"POST certificates/{n}/pending/merge", "certificates/c1/pending/merge", `{"x5c":["AAAA"]}`, "certificates create", "certificates/create/action", "400 BadParameter"},
	{"GET certificates/{n}/{v}", "certificates/c1", "", "certificates get", "certificates/read", "200"},
	{"PATCH certificates/{n}/{v}", "certificates/c1/", `{"tags":{"a":"b"}}`, "certificates update", "certificates/update/action", "200"},
	{"GET deletedcertificates", "deletedcertificates", "", "certificates list", "certificates/read", "200"},
	{"GET deletedcertificates/{n}", "deletedcertificates/absent", "", "certificates get", "certificates/read", "404 CertificateNotFound"},
	{"DELETE deletedcertificates/{n}", "deletedcertificates/absent", "", "certificates purge", "certificates/purge/action", "404 CertificateNotFound"},
	{"POST deletedcertificates/{n}/recover", "deletedcertificates/absent/recover", "", "certificates recover", "certificates/recover/action", "404 CertificateNotFound"},
}

// notInAll are the permissions that the word "all" leaves out.
var notInAll = strings.Fields("purge rotate release getrotationpolicy setrotationpolicy")

// policyNames are the permissions that access policies know, by kind.
var policyNames = map[string][]string{
	"keys":         strings.Fields("all backup create decrypt delete encrypt get getrotationpolicy import list purge recover release restore rotate setrotationpolicy sign unwrapKey update verify wrapKey"),
	"secrets":      strings.Fields("all backup delete get list purge recover restore set"),
	"certificates": strings.Fields("all backup create delete deleteissuers get getissuers import list listissuers managecontacts manageissuers purge recover restore setissuers update"),
}

// roles are the built-in roles with their data actions, as published; "" for roles without any.
var roles = map[string]struct{ name, actions string }{
	"8e3af657-a8ff-443c-a75c-2fe8c4bcb635": {"Owner", ""},
	"b24988ac-6180-42a0-ab88-20f7382dd24c": {"Contributor", ""},
	"acdd72a7-3385-48ef-bd42-f606fba81ae7": {"Reader", ""},
	"f25e0fa2-a7c8-4377-a976-54943a77a395": {"Key Vault Contributor", ""},
	"8b54135c-b56d-4d72-a534-26097cfdc8d8": {"Key Vault Data Access Administrator", ""},
	"a68e7c17-0ab2-4c09-9a58-125dae29748c": {"Key Vault Purge Operator", ""},
	"00482a5a-887f-4fb3-b363-3b7fe8e74483": {"Key Vault Administrator", "*"},
	"21090545-7ca7-4776-b22c-e363652d74d2": {"Key Vault Reader", "*/read secrets/readMetadata/action"},
	"a4417e6f-fecd-4de8-b567-7b0420556985": {"Key Vault Certificates Officer", "certificatecas/* certificates/* certificatecontacts/write"},
	"db79e9a7-68ee-4b58-9aeb-b90e7c24fcba": {"Key Vault Certificate User", "certificates/read secrets/getSecret/action secrets/readMetadata/action keys/read"},
	"14b46e9e-c2b7-41b4-b07b-48a6ebf60603": {"Key Vault Crypto Officer", "keys/* keyrotationpolicies/*"},
	"e147488a-f6f5-4113-8e2d-b22465e65bf6": {"Key Vault Crypto Service Encryption User", "keys/read keys/wrap/action keys/unwrap/action"},
	"08bbd89e-9f13-488c-ac41-acfcb10c90ab": {"Key Vault Crypto Service Release User", "keys/release/action"},
	"12338af0-0e69-4776-bea7-57ae8d297424": {"Key Vault Crypto User", "keys/read keys/update/action keys/backup/action keys/encrypt/action keys/decrypt/action keys/wrap/action keys/unwrap/action keys/sign/action keys/verify/action"},
	"b86a8fe4-44ce-4948-aee5-eccb2c155cd7": {"Key Vault Secrets Officer", "secrets/*"},
	"4633458b-17de-408a-b874-0445c86b69e6": {"Key Vault Secrets User", "secrets/getSecret/action secrets/readMetadata/action"},
}

// covers applies a list of patterns, whose stars stand at one end.
func covers(patterns, action string) bool {
	for _, p := range strings.Fields(patterns) {
		switch {
		case strings.HasSuffix(p, "*") && strings.HasPrefix(action, strings.TrimSuffix(p, "*")),
			strings.HasPrefix(p, "*") && strings.HasSuffix(action, strings.TrimPrefix(p, "*")), p == action:
			return true
		}
	}
	return false
}

// court is a vault behind its face with a real directory and real roles.
type court struct {
	*world
	now   time.Time
	dir   *directory.Directory
	roles *rbac.Engine
	admin *directory.Admin
}

func newCourt(t *testing.T) *court {
	c := &court{world: &world{t: t}, now: time.Now()}
	db, err := store.Open("control", store.Options{FS: vfs.NewMem()})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	clock := func() time.Time { return c.now }
	c.dir, err = directory.Open(directory.Config{DB: db, Audit: c, Now: clock})
	must(t, err)
	c.admin, err = c.dir.Bootstrap(t.Context())
	must(t, err)
	c.roles, err = rbac.Open(rbac.Config{DB: db, Audit: c, Principals: c.dir.PrincipalExists, Tenant: c.dir.TenantID(), Now: clock})
	must(t, err)
	c.svc, err = vault.Open(vault.Config{DB: db, Audit: c, Authorizer: c.roles, Now: clock})
	must(t, err)
	c.serve(keyvault.New(keyvault.Config{Vaults: c.svc, Verifier: c.dir, TenantID: c.dir.TenantID(), LocalPort: func() int { return 8443 }}))
	c.set(false, vault.Permissions{})
	rsaKey, err := keyWithRSA()
	must(t, err)
	server := principal.Server("test")
	_, err = c.svc.ImportKey(t.Context(), server, "kv1", "k1", vault.KeySpec{KTY: "RSA"}, rsaKey)
	must(t, err)
	_, err = c.svc.CreateKey(t.Context(), server, "kv1", "ec", vault.KeySpec{KTY: "EC"})
	must(t, err)
	_, err = c.svc.CreateCertificate(t.Context(), server, "kv1", "c1", vault.CertificateSpec{Policy: &vault.CertificatePolicy{KTY: "EC", Subject: "CN=c1", Issuer: vault.IssuerSelf}})
	must(t, err)
	_, err = c.svc.SetSecret(t.Context(), server, "kv1", "s1", vault.SecretSpec{Value: ptr("x")})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// set gives the administrator a policy, or switches to roles.
func (c *court) set(byRole bool, p vault.Permissions) {
	c.put(vault.Spec{Location: "eastus", TenantID: c.dir.TenantID(), SKU: "standard", RBAC: &byRole,
		Policies: []vault.AccessPolicy{{TenantID: c.dir.TenantID(), ObjectID: c.admin.ObjectID, Permissions: p}}})
}

// token is a fresh access token of the administrator for an audience.
func (c *court) token(d *directory.Directory, clientID, secret, scope string) string {
	c.t.Helper()
	out, err := d.IssueToken(c.t.Context(), directory.TokenRequest{Grant: directory.GrantClientCredentials, ClientID: clientID, ClientSecret: secret, Scope: scope})
	if err != nil {
		c.t.Fatal(err)
	}
	return out.AccessToken
}

// outcome asks with a token and returns the status with the innermost code.
func (c *court) outcome(r row, token string) string {
	c.t.Helper()
	method, _, _ := strings.Cut(r.endpoint, " ")
	req, err := http.NewRequest(method, "https://kv1.vault.azure.net/"+r.path+"?"+version, strings.NewReader(r.body))
	if err != nil {
		c.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	a := c.send(req)
	var body struct {
		Error struct {
			Code  string
			Inner struct{ Code string } `json:"innererror"`
		}
	}
	_ = json.Unmarshal([]byte(a.body), &body)
	code := body.Error.Inner.Code
	if code == "" {
		code = body.Error.Code
	}
	return strings.TrimSpace(fmt.Sprint(a.status, " ", code))
}

// column asks every row with a token; allowed tells the rows that are answered, refusal what the others get.
func (c *court) column(name, token, refusal string, allowed func(row) bool) {
	c.t.Helper()
	for _, r := range matrix {
		want := refusal
		if allowed(r) {
			want = r.answer
		}
		if got := c.outcome(r, token); got != want {
			c.t.Errorf("%s, %s: got %q, want %q", name, r.endpoint, got, want)
		}
	}
}

func nobody(row) bool { return false }

// TestEveryCell asks every operation of the service as everybody: with each single permission of access
// policies, with each built-in role, with all of them and with none, and with tokens that prove nothing.
func TestEveryCell(t *testing.T) {
	c := newCourt(t)
	const scope = "https://vault.azure.net/.default"
	clientSecret := string(c.admin.Secret.Reveal())
	good := c.token(c.dir, c.admin.ClientID, clientSecret, scope)

	for kind, names := range policyNames {
		for _, name := range names {
			var p vault.Permissions
			switch kind {
			case "keys":
				p.Keys = []string{name}
			case "secrets":
				p.Secrets = []string{name}
			default:
				p.Certificates = []string{name}
			}
			c.set(false, p)
			c.column("permission "+kind+" "+name, good, "403 ForbiddenByPolicy", func(r row) bool {
				k, n, _ := strings.Cut(r.permission, " ")
				return k == kind && (n == name || name == "all" && !slices.Contains(notInAll, n) || name == "manageissuers" && strings.HasSuffix(n, "issuers"))
			})
		}
	}
	c.set(false, vault.Permissions{Keys: policyNames["keys"], Secrets: policyNames["secrets"], Certificates: policyNames["certificates"]})
	c.column("every permission", good, "", func(row) bool { return true })
	for name, token := range c.worthless(good, clientSecret) {
		c.column(name, token, "401 Unauthorized", nobody)
	}
	start := c.now
	c.now = start.Add(25 * time.Hour)
	c.column("expired token", good, "401 Unauthorized", nobody)
	c.now = start
	c.set(false, vault.Permissions{})
	c.column("no permission", good, "403 ForbiddenByPolicy", nobody)

	c.set(true, vault.Permissions{Keys: policyNames["keys"], Secrets: policyNames["secrets"], Certificates: policyNames["certificates"]})
	c.column("no role", good, "403 ForbiddenByRbac", nobody)
	for id, role := range roles {
		a := rbac.Assignment{ID: "99999999-9999-4999-8999-999999999999", RoleID: id, PrincipalID: c.admin.ObjectID, Scope: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv1"}
		_, _, err := c.roles.PutAssignment(t.Context(), principal.Server("test"), a)
		must(t, err)
		c.column("role "+role.name, good, "403 ForbiddenByRbac", func(r row) bool { return covers(role.actions, r.action) })
		_, ok, err := c.roles.DeleteAssignment(t.Context(), principal.Server("test"), a.Scope, a.ID)
		if must(t, err); !ok {
			t.Fatal("the assignment was not there")
		}
	}
}

// TestObjectScope: a role on one object opens that object and nothing beside it.
func TestObjectScope(t *testing.T) {
	c := newCourt(t)
	c.set(true, vault.Permissions{})
	token := c.token(c.dir, c.admin.ClientID, string(c.admin.Secret.Reveal()), "https://vault.azure.net/.default")
	for _, object := range []string{"keys/k1", "secrets/S1"} {
		a := rbac.Assignment{ID: "99999999-9999-4999-8999-999999999999", RoleID: "00482a5a-887f-4fb3-b363-3b7fe8e74483", PrincipalID: c.admin.ObjectID,
			Scope: "/subscriptions/s/resourceGroups/rg/providers/Microsoft.KeyVault/vaults/kv1/" + object}
		_, _, err := c.roles.PutAssignment(t.Context(), principal.Server("test"), a)
		must(t, err)
		c.column("administrator of "+object, token, "403 ForbiddenByRbac", func(r row) bool {
			return strings.HasPrefix(r.path+"/", strings.ToLower(object)+"/")
		})
		_, _, err = c.roles.DeleteAssignment(t.Context(), principal.Server("test"), a.Scope, a.ID)
		must(t, err)
	}
}

// worthless are tokens that prove nothing to a vault, by what is wrong with them.
func (c *court) worthless(good, clientSecret string) map[string]string {
	c.t.Helper()
	parts := strings.Split(good, ".")
	forged := slices.Clone(parts)
	forged[2] = strings.Repeat("A", len(parts[2]))
	unsigned := slices.Clone(parts)
	unsigned[0], unsigned[2] = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0", ""
	other := newForeigner(c.t)
	return map[string]string{
		"no token": "", "forged token": strings.Join(forged, "."), "unsigned token": strings.Join(unsigned, "."),
		"token for another audience": c.token(c.dir, c.admin.ClientID, clientSecret, "https://management.azure.com/.default"),
		"token of another tenant":    other,
	}
}

// newForeigner is a token that another directory issued, for a vault.
func newForeigner(t testing.TB) string {
	db, err := store.Open("control", store.Options{FS: vfs.NewMem()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	d, err := directory.Open(directory.Config{DB: db, Audit: &world{}})
	if err != nil {
		t.Fatal(err)
	}
	admin, err := d.Bootstrap(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c := &court{world: &world{t: t}}
	return c.token(d, admin.ClientID, string(admin.Secret.Reveal()), "https://vault.azure.net/.default")
}

// TestMatrixIsWhole: every endpoint has a row.
func TestMatrixIsWhole(t *testing.T) {
	rows := map[string]bool{}
	for _, r := range matrix {
		rows[r.endpoint] = true
	}
	for _, e := range keyvault.Endpoints() {
		if !rows[e] {
			t.Errorf("%s has no row in the matrix", e)
		}
	}
}
