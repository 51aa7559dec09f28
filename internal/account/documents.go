package account

import (
	"context"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Resolve returns the account that a data-plane host label means: its name, or its name followed by
// "-" and its location, the form of regional addresses.
func (s *Service) Resolve(label string) (Account, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	label = nameKey(label)
	if rec := s.byName[label]; rec != nil {
		return rec.clone().Account, nil
	}
	for i := strings.LastIndexByte(label, '-'); i > 0; i = strings.LastIndexByte(label[:i], '-') {
		if rec := s.byName[label[:i]]; rec != nil && strings.EqualFold(rec.Location, label[i+1:]) {
			return rec.clone().Account, nil
		}
	}
	return Account{}, fault.New(fault.NotFound, "AccountNotFound", "The database account does not exist.")
}

// VerifyKey returns the door that a signature with one of the account's master keys opens.
func (s *Service) VerifyKey(accountID, stringToSign string, sig []byte) (principal.Door, error) {
	s.mu.RLock()
	rec := s.byID[accountID]
	s.mu.RUnlock()
	if rec != nil {
		if door, ok := rec.Keys.door(stringToSign, sig); ok {
			return door, nil
		}
	}
	return "", signatureRefused(stringToSign)
}

// signatureRefused has the service's text, which tools match on. It shows the payload that was
// signed, as the service does: it holds nothing that the caller did not send.
func signatureRefused(payload string) error {
	return fault.New(fault.Unauthenticated, "MACSignature",
		"The input authorization token can't serve the request. Please check that the expected payload is built as per the protocol, and check the key being used. Server used the following payload to sign: '%s'", payload)
}

// AuthorizeDocuments decides whether a caller may do action, a suffix below
// Microsoft.DocumentDB/databaseAccounts/, on a scope inside an account ("/", "/dbs/d" or
// "/dbs/d/colls/c"). Which rule decides depends on the door:
//
//	AccountKey          everything in that account
//	AccountReadOnlyKey  reading in that account
//	AccountToken        the account's own data roles; never changes of databases and containers
//	AccountResourceToken
//	                    items and metadata, by the mode of its permission; which ones, docdb decides
//	Management          RBAC on the Resource Manager id of the database or container
//	Platform            everything
//
// All but the last two must come from an address that the account's network rules admit (network.go).
func (s *Service) AuthorizeDocuments(ctx context.Context, c principal.Caller, accountID, action, scope string) error {
	if err := s.admit(c, accountID); err != nil {
		return err
	}
	switch c.Door {
	case principal.Platform:
		return nil
	case principal.AccountKey, principal.AccountReadOnlyKey:
		return authorizeKey(c, accountID, action)
	case principal.AccountResourceToken:
		return authorizeGrant(c, accountID, action)
	case principal.AccountToken:
		return s.authorizeToken(c, accountID, action, scope)
	case principal.Management:
		return s.authorizeManagement(ctx, c, accountID, action, scope)
	}
	return fault.New(fault.Denied, "AuthorizationFailed", "The caller came through a door that does not lead to documents.")
}

func authorizeKey(c principal.Caller, accountID, action string) error {
	if c.Account != accountID {
		return signatureRefused("")
	}
	if c.Door == principal.AccountReadOnlyKey && !isRead(action) {
		return fault.New(fault.Unauthenticated, "ReadOnlyKey",
			"The input authorization token can't serve the request. The key that was used allows reading only.")
	}
	return nil
}

// authorizeGrant decides by what the holder of a resource token may do, not where.
func authorizeGrant(c principal.Caller, accountID, action string) error {
	if c.Account != accountID || c.Grant == nil || isControl(action) || !c.Grant.Write && !isRead(action) {
		return fault.New(fault.Denied, "InsufficientPermissions",
			"Insufficient permissions provided in the authorization header for the corresponding request. Please retry with another authorization header.")
	}
	return nil
}

// isRead reports whether action changes nothing. Reading a permission is no mere reading: it gives a
// token out, which may write.
func isRead(action string) bool {
	if strings.HasPrefix(action, "sqlDatabases/users/permissions/") {
		return false
	}
	for _, suffix := range []string{"read", "readMetadata", "executeQuery", "readChangeFeed"} {
		if strings.HasSuffix(action, suffix) {
			return true
		}
	}
	return false
}

// isControl reports whether action changes databases, containers, throughput or scripts, or has to do
// with users and permissions, which no Entra or resource token may do on the data plane.
func isControl(action string) bool {
	return strings.HasPrefix(action, "sqlDatabases/users/") || !strings.Contains(action, "/containers/items/") && !isRead(action) &&
		!strings.HasSuffix(action, "executeStoredProcedure") && !strings.HasSuffix(action, "manageConflicts")
}

// Sub-statuses of refused data-plane requests, which the face sends as x-ms-substatus.
const (
	reasonControlByToken = "5300"
	reasonMetadata       = "5301"
	reasonData           = "5302"
)

func (s *Service) authorizeToken(c principal.Caller, accountID, action, scope string) error {
	if isControl(action) {
		return fault.New(fault.Denied, reasonControlByToken, "The given request cannot be authorized by AAD token in data plane.")
	}
	if action == "sqlDatabases/containers/conflicts/read" { // data roles know no other action for it
		action = "sqlDatabases/containers/manageConflicts"
	}
	if s.roles.allow(accountID, c, action, scope) {
		return nil
	}
	reason := reasonData
	if action == "readMetadata" {
		reason = reasonMetadata
	}
	s.mu.RLock()
	rec := s.byID[accountID]
	s.mu.RUnlock()
	name := ""
	if rec != nil {
		name = rec.Name
	}
	return fault.New(fault.Denied, reason,
		"Request blocked by Auth %s : Request is blocked because principal [%s] does not have required RBAC permissions to perform action [%s/%s] on resource [%s]. Learn more: https://aka.ms/cosmos-native-rbac.",
		name, c.ObjectID, Type, action, shownScope(scope))
}

// shownScope is a scope as the service shows it: the account as "/", everything else without the
// leading slash.
func shownScope(scope string) string {
	if scope == "/" {
		return scope
	}
	return strings.TrimPrefix(scope, "/")
}

func (s *Service) authorizeManagement(ctx context.Context, c principal.Caller, accountID, action, scope string) error {
	s.mu.RLock()
	rec := s.byID[accountID]
	s.mu.RUnlock()
	if rec == nil {
		return fault.New(fault.NotFound, "ResourceNotFound", "The database account does not exist.")
	}
	id, kind := managementScope(rec.ResourceID(), scope)
	if action == "readMetadata" {
		action = kind + "/read"
	}
	return s.cfg.Authorizer.Authorize(ctx, c, Type+"/"+action, id.String())
}

// managementScope turns a data-plane scope into a Resource Manager id and the type suffix of what
// stands there.
func managementScope(account uri.ResourceID, scope string) (uri.ResourceID, string) {
	parts := strings.Split(strings.Trim(scope, "/"), "/")
	id, kind := account, "sqlDatabases"
	if len(parts) >= 2 && parts[0] == "dbs" {
		id = id.Child("sqlDatabases", parts[1])
	}
	if len(parts) >= 4 && parts[2] == "colls" {
		id, kind = id.Child("containers", parts[3]), "sqlDatabases/containers"
	}
	return id, kind
}
