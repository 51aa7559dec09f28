// Package documentdb is the provider Microsoft.DocumentDB: database accounts, their keys and data
// roles, and the databases and containers in them. The rules are in packages account and docdb.
//
// Creating and changing an account runs as a long-running operation, because it asks the customer's
// vault. Most end before the answer is due: then the answer shows the end. A failure is told by the
// operation, as the service does, and the account is as it was before.
package documentdb

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/resource"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// patience is how long an operation may take before the client is asked to poll.
const patience = 800 * time.Millisecond

// Provider implements [arm.Provider].
type Provider struct {
	accounts  *account.Service
	documents *docdb.Service
	resources *resource.Service
}

var _ arm.Provider = (*Provider)(nil)

// New returns the provider.
func New(accounts *account.Service, documents *docdb.Service, resources *resource.Service) *Provider {
	return &Provider{accounts: accounts, documents: documents, resources: resources}
}

// Namespace is Microsoft.DocumentDB.
func (p *Provider) Namespace() string { return "Microsoft.DocumentDB" }

// ResourceTypes lists the types that az asks for.
func (p *Provider) ResourceTypes() []arm.ResourceType {
	v := []string{"2025-10-15", "2024-11-15", "2023-09-15", "2022-08-15-preview", "2021-10-15"}
	return []arm.ResourceType{{Name: "databaseAccounts", Versions: v}, {Name: "databaseAccountNames", Versions: v},
		{Name: "databaseAccounts/sqlDatabases", Versions: v}, {Name: "databaseAccounts/sqlDatabases/containers", Versions: v}}
}

// Handle routes by the chain of types.
func (p *Provider) Handle(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch types := r.Types(); {
	case types == "databaseaccounts" && r.IsCollection():
		return p.listAccounts(ctx, r)
	case types == "databaseaccounts":
		return p.account(ctx, r)
	case types == "databaseaccountnames" && (r.Method == http.MethodHead || r.Method == http.MethodGet):
		return p.nameExists(r)
	case types == "databaseaccounts/readonlykeys" && r.Method == http.MethodGet:
		return p.readOnlyKeys(ctx, r, accountID(r), "readonlykeys/read")
	case types == "databaseaccounts/latchkey":
		return p.operate(ctx, r)
	case strings.HasPrefix(types, "databaseaccounts/sqlroledefinitions"):
		return p.roleDefinitions(ctx, r)
	case strings.HasPrefix(types, "databaseaccounts/sqlroleassignments"):
		return p.roleAssignments(ctx, r)
	case strings.HasPrefix(types, "databaseaccounts/sqldatabases"):
		return p.databases(ctx, r, types)
	case r.Method == http.MethodGet && isEmptyList(types):
		return arm.List[any](nil), nil
	}
	return nil, fault.New(fault.NotFound, "InvalidResourceType", "The resource type could not be found in the namespace 'Microsoft.DocumentDB' for api version '%s'.", r.APIVersion)
}

// isEmptyList knows the collections that clients read and that are always empty here.
func isEmptyList(types string) bool {
	switch types {
	case "restorabledatabaseaccounts", "locations/restorabledatabaseaccounts", "locations", "operations",
		"databaseaccounts/privateendpointconnections", "databaseaccounts/privatelinkresources",
		"databaseaccounts/usages", "databaseaccounts/metrics", "databaseaccounts/metricdefinitions":
		return true
	}
	return false
}

// accountID is the id of the account that a request is below.
func accountID(r *arm.Request) uri.ResourceID {
	id := r.ID
	id.Segments = id.Segments[:1]
	return id
}

func (p *Provider) nameExists(r *arm.Request) (*arm.Response, error) {
	if !p.accounts.NameTaken(r.ID.Name()) {
		return &arm.Response{Status: http.StatusNotFound}, nil
	}
	return &arm.Response{Status: http.StatusOK}, nil
}

func (p *Provider) render(a account.Account, n naming.Names) any {
	return render(a, p.accounts.EncryptionStatus(a), n)
}

func (p *Provider) listAccounts(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if r.Method != http.MethodGet {
		return nil, methodNotAllowed(r)
	}
	list, err := p.accounts.List(ctx, r.Caller, r.ID.Subscription, r.ID.ResourceGroup)
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, a := range list {
		out = append(out, p.render(a, r.Names))
	}
	return arm.List(out), nil
}

func methodNotAllowed(r *arm.Request) error {
	return fault.New(fault.NotImplemented, "MethodNotAllowed", "The method %s is not allowed here.", r.Method)
}

func (p *Provider) account(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch r.Method {
	case http.MethodGet:
		a, err := p.accounts.Get(ctx, r.Caller, r.ID)
		if err != nil {
			return nil, err
		}
		return arm.OK(p.render(a, r.Names)), nil
	case http.MethodPut, http.MethodPatch:
		return p.changeAccount(ctx, r)
	case http.MethodDelete:
		return p.deleteAccount(ctx, r)
	case http.MethodPost:
		return p.action(ctx, r)
	}
	return nil, methodNotAllowed(r)
}

func (p *Provider) changeAccount(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b accountBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	a, work, err := p.begin(ctx, r, b.change())
	if err != nil {
		return nil, err
	}
	return p.run(r, p.render(a, r.Names), work)
}

func (p *Provider) begin(ctx context.Context, r *arm.Request, ch account.Change) (account.Account, account.Work, error) {
	if r.Method == http.MethodPatch {
		return p.accounts.BeginUpdate(ctx, r.Caller, r.ID, ch)
	}
	a, work, created, err := p.accounts.Begin(ctx, r.Caller, r.ID, ch)
	if err != nil || !created {
		return a, work, err
	}
	return a, func(ctx context.Context) (account.Account, error) {
		a, err := work(ctx)
		if f := fault.As(err); f != nil {
			c := *f
			c.Message = "Database account creation failed. Operation Id: " + r.Caller.Request + ", Error: " + f.Message
			err = &c
		}
		return a, err
	}, nil
}

// run starts the work as an operation. What ends in time is answered with its end; a failure, and
// what goes on, is answered with the operation to poll.
func (p *Provider) run(r *arm.Request, shown any, work account.Work) (*arm.Response, error) {
	op, err := p.resources.Operations.Start(r.Caller.ObjectID, patience, func(ctx context.Context) (any, error) {
		a, err := work(ctx)
		if err != nil {
			return nil, err
		}
		return p.render(a, r.Names), nil
	})
	switch {
	case err != nil:
		return nil, err
	case op.State == resource.Succeeded:
		return arm.OK(op.Result), nil
	}
	return &arm.Response{Status: http.StatusOK, Body: shown, Operation: op.ID}, nil
}

// accepted starts work that shows no resource: 202 and an operation.
func (p *Provider) accepted(r *arm.Request, work func(context.Context) error) (*arm.Response, error) {
	op, err := p.resources.Operations.Start(r.Caller.ObjectID, patience, func(ctx context.Context) (any, error) { return nil, work(ctx) })
	if err != nil {
		return nil, err
	}
	return &arm.Response{Status: http.StatusAccepted, Body: map[string]string{"status": "Enqueued"}, Operation: op.ID}, nil
}

func (p *Provider) deleteAccount(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	work, err := p.accounts.BeginDelete(ctx, r.Caller, r.ID)
	if fault.KindOf(err) == fault.NotFound {
		return &arm.Response{Status: http.StatusNoContent}, nil
	}
	if err != nil {
		return nil, err
	}
	return p.accepted(r, func(ctx context.Context) error { _, err := work(ctx); return err })
}

// action serves POST requests to an account.
func (p *Provider) action(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	switch strings.ToLower(r.Action) {
	case "listkeys":
		keys, err := p.accounts.ListKeys(ctx, r.Caller, r.ID, "listKeys/action")
		if err != nil {
			return nil, err
		}
		return arm.OK(map[string]string{
			"primaryMasterKey": keys.Values[account.Primary], "secondaryMasterKey": keys.Values[account.Secondary],
			"primaryReadonlyMasterKey": keys.Values[account.PrimaryReadonly], "secondaryReadonlyMasterKey": keys.Values[account.SecondaryReadonly],
		}), nil
	case "readonlykeys":
		return p.readOnlyKeys(ctx, r, r.ID, "readonlykeys/action")
	case "listconnectionstrings":
		return p.connectionStrings(ctx, r)
	case "regeneratekey":
		return p.regenerate(ctx, r)
	}
	return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support the action '%s' on database accounts.", r.Action)
}

func (p *Provider) readOnlyKeys(ctx context.Context, r *arm.Request, id uri.ResourceID, action string) (*arm.Response, error) {
	keys, err := p.accounts.ListReadOnlyKeys(ctx, r.Caller, id, action)
	if err != nil {
		return nil, err
	}
	return arm.OK(map[string]string{
		"primaryReadonlyMasterKey":   keys.Values[account.PrimaryReadonly],
		"secondaryReadonlyMasterKey": keys.Values[account.SecondaryReadonly],
	}), nil
}

// connectionKinds are the connection strings in the service's order.
var connectionKinds = []struct {
	kind        account.KeyKind
	name        string
	description string
}{
	{account.Primary, "Primary", "Primary SQL Connection String"}, {account.Secondary, "Secondary", "Secondary SQL Connection String"},
	{account.PrimaryReadonly, "PrimaryReadonly", "Primary Read-Only SQL Connection String"},
	{account.SecondaryReadonly, "SecondaryReadonly", "Secondary Read-Only SQL Connection String"},
}

func (p *Provider) connectionStrings(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	keys, err := p.accounts.ListKeys(ctx, r.Caller, r.ID, "listConnectionStrings/action")
	if err != nil {
		return nil, err
	}
	out := []any{}
	for _, k := range connectionKinds {
		out = append(out, map[string]string{"description": k.description, "keyKind": k.name, "type": "Sql",
			"connectionString": "AccountEndpoint=" + r.Names.DocumentsEndpoint(r.ID.Name()) + ";AccountKey=" + keys.Values[k.kind] + ";"})
	}
	return arm.OK(map[string]any{"connectionStrings": out}), nil
}

func (p *Provider) regenerate(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	var b struct {
		KeyKind string `json:"keyKind"`
	}
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	work, err := p.accounts.BeginRegenerate(ctx, r.Caller, r.ID, account.KeyKind(b.KeyKind))
	if err != nil {
		return nil, err
	}
	return p.accepted(r, func(ctx context.Context) error { _, err := work(ctx); return err })
}
