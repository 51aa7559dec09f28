// Package azurelog is the audit log in the form in which Key Vault writes its own: one AuditEvent record
// for each operation on a vault or in one, as JSON.
//
// Our log tells of a change twice, when it is allowed and when it is done, because without the first
// record there is no operation. The service has one record for each request, so an [Exporter] holds the
// first one back until the second comes. One whose second never comes (the server was stopped in between,
// or the operation is one of Resource Manager, which is recorded when it is allowed) is written as it is,
// with the signature Authorized and no status.
package azurelog

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/access"
	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// Record is one record of the service's log. The names are the service's.
type Record struct {
	Time        string     `json:"time"`
	Category    string     `json:"category"`
	Operation   string     `json:"operationName"`
	Version     string     `json:"operationVersion"`
	Result      string     `json:"resultType"`
	Signature   string     `json:"resultSignature"`
	Description string     `json:"resultDescription"`
	Duration    int64      `json:"durationMs"`
	Address     string     `json:"callerIpAddress"`
	Correlation string     `json:"correlationId"`
	Identity    Identity   `json:"identity"`
	Properties  Properties `json:"properties"`
	Resource    string     `json:"resourceId"`
}

// Identity is who the token said was asking.
type Identity struct {
	Claim Claim `json:"claim"`
}

// Claim are claims of the token.
type Claim struct {
	ObjectID string `json:"oid,omitempty"`
	AppID    string `json:"appid,omitempty"`
	UPN      string `json:"upn,omitempty"`
}

// Properties are what depends on the operation.
type Properties struct {
	ID            string     `json:"id"`
	ClientInfo    string     `json:"clientInfo"`
	RequestURI    string     `json:"requestUri,omitempty"`
	Status        int        `json:"httpStatusCode,omitempty"`
	Key           *audit.Key `json:"keyProperties,omitempty"`
	RBAC          bool       `json:"isRbacAuthorized"`
	PolicyMatch   bool       `json:"isAccessPolicyMatch"`
	AddressPassed bool       `json:"isAddressAuthorized"`
}

// Filter chooses what is exported. Zero members choose everything.
type Filter struct {
	Vault string // name
	Since time.Time
}

// maxHeld bounds how many records wait for the end of an operation that was allowed before.
const maxHeld = 1 << 12

// Exporter turns entries of the audit log into records, in order. Use [New], then Add for every entry
// from the first on, then Flush.
type Exporter struct {
	filter Filter
	write  func(Record) error
	held   []held
	open   map[string]int // operations that wait for their end, by operation and request: absolute index
	base   int            // absolute index of held[0]
}

// held is a record in its place; done is false while its operation may still end.
type held struct {
	rec  Record
	key  string
	done bool
	drop bool
}

// New returns an exporter that calls write with every record that the filter lets through.
func New(f Filter, write func(Record) error) *Exporter {
	return &Exporter{filter: f, write: write, open: map[string]int{}}
}

// Add takes the next entry of the log.
func (x *Exporter) Add(e audit.Event) error {
	vault, id := vaultOf(e)
	if vault == "" || x.filter.Vault != "" && !strings.EqualFold(vault, x.filter.Vault) || e.Time.Before(x.filter.Since) {
		return nil
	}
	h := held{rec: record(e, id), key: e.Request + " " + e.Operation, done: true}
	if i, ok := x.open[h.key]; ok && e.Outcome != audit.Allowed {
		x.held[i-x.base].done, x.held[i-x.base].drop = true, true
		delete(x.open, h.key)
	}
	if e.Outcome == audit.Allowed && e.Request != "" {
		h.done = false
		x.open[h.key] = x.base + len(x.held)
	}
	x.held = append(x.held, h)
	return x.release(maxHeld)
}

// release writes what needs not wait any more, and everything but the last limit records in any case.
func (x *Exporter) release(limit int) error {
	for len(x.held) > 0 && (x.held[0].done || len(x.held) > limit) {
		h := x.held[0]
		x.held = x.held[1:]
		x.base++
		if !h.done {
			delete(x.open, h.key)
		}
		if h.drop {
			continue
		}
		if err := x.write(h.rec); err != nil {
			return err
		}
	}
	return nil
}

// Flush writes what is left.
func (x *Exporter) Flush() error { return x.release(0) }

// vaultOf is the vault that an event is about, by name and resource id; "" for none.
func vaultOf(e audit.Event) (name, id string) {
	for _, s := range []string{e.Scope, e.Resource} {
		r, err := uri.ParseResourceID(s)
		if err == nil && strings.EqualFold(r.Provider, "Microsoft.KeyVault") && len(r.Segments) > 0 && strings.EqualFold(r.Segments[0].Type, "vaults") {
			r.Segments = r.Segments[:1]
			return r.Name(), r.String()
		}
	}
	u, err := url.Parse(e.Resource)
	if err != nil || u.Host == "" {
		return "", ""
	}
	if t, ok := naming.Resolve(u.Host, 0); ok && t.Service == naming.Vault {
		return t.Label, ""
	}
	return "", ""
}

// operations are the service's names of operations that we call otherwise.
var operations = map[string]string{
	"KeyGetRotationPolicy": "KeyRotationPolicyGet", "KeySetRotationPolicy": "KeyRotationPolicySet",
	"VaultAccess": "Authentication", "VaultAccessPolicyChange": "VaultPatch", "VaultPermissionModelChange": "VaultPatch",
	"Microsoft.KeyVault/vaults/read": "VaultGet", "Microsoft.KeyVault/deletedVaults/read": "VaultListDeleted",
}

func operationOf(e audit.Event) string {
	if e.Operation == "KeyRotate" && e.Principal == "" {
		return "KeyRotateIfDue"
	}
	if name, ok := operations[e.Operation]; ok {
		return name
	}
	return e.Operation
}

func record(e audit.Event, id string) Record {
	r := Record{
		Time: e.Time.UTC().Format("2006-01-02T15:04:05.0000000Z"), Category: "AuditEvent", Operation: operationOf(e), Result: "Success",
		Description: e.Reason, Duration: e.Micros / 1000, Address: e.Address, Correlation: e.Request, Resource: strings.ToUpper(id),
		Identity: Identity{Claim{ObjectID: e.Principal, AppID: e.AppID, UPN: upn(e)}},
		Properties: Properties{ID: e.Resource, ClientInfo: e.Client, RequestURI: e.URI, Status: status(e), Key: e.Key,
			RBAC: e.Outcome != audit.Denied && e.Gate == access.DataRole, PolicyMatch: e.Outcome != audit.Denied && e.Gate == access.AccessPolicy,
			AddressPassed: e.Gate != access.Firewall && e.Reason != "ForbiddenByFirewall"},
	}
	if u, err := url.Parse(e.URI); err == nil {
		r.Version = u.Query().Get("api-version")
	}
	switch s := r.Properties.Status; {
	case s == 0:
		r.Signature = "Authorized"
	default:
		r.Signature = http.StatusText(s)
		if s >= http.StatusBadRequest {
			r.Result = "Failed"
		}
	}
	return r
}

// upn is the user's name; programs have none.
func upn(e audit.Event) string {
	if strings.Contains(e.Caller, "@") {
		return e.Caller
	}
	return ""
}

// status is the HTTP status of the answer; 0 when the operation was allowed and its end is not recorded.
func status(e audit.Event) int {
	switch {
	case e.Outcome == audit.Allowed:
		return 0
	case e.Outcome == audit.Succeeded && strings.HasSuffix(e.Operation, "Purge"):
		return http.StatusNoContent
	case e.Outcome == audit.Succeeded:
		return http.StatusOK
	case e.Kind != fault.Internal:
		return wire.Status(e.Kind)
	case e.Outcome == audit.Denied:
		return http.StatusForbidden
	case strings.HasSuffix(e.Reason, "NotFound"): // entries of the first servers tell the reason only
		return http.StatusNotFound
	case e.Reason == "BadParameter":
		return http.StatusBadRequest
	case e.Reason != "InternalServerError":
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}
