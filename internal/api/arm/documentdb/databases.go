package documentdb

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/latchkey-db/latchkey/internal/account"
	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/uri"
)

// sqlBody is the body of a create or update of a database or container.
type sqlBody struct {
	Properties struct {
		Resource json.RawMessage `json:"resource"`
		Options  struct {
			unitsBody
		} `json:"options"`
	} `json:"properties"`
}

// databases serves everything below sqlDatabases.
func (p *Provider) databases(ctx context.Context, r *arm.Request, types string) (*arm.Response, error) {
	a, err := p.located(ctx, r)
	if err != nil {
		return nil, err
	}
	s := &sql{Provider: p, ctx: ctx, r: r, account: a.ID, db: r.ID.Segments[1].Name}
	switch types {
	case "databaseaccounts/sqldatabases":
		return s.database()
	case "databaseaccounts/sqldatabases/containers":
		s.container = r.ID.Segments[2].Name
		if r.Method == http.MethodPost {
			return s.containerAction()
		}
		return s.containers()
	case "databaseaccounts/sqldatabases/throughputsettings", "databaseaccounts/sqldatabases/containers/throughputsettings":
		if len(r.ID.Segments) > 3 {
			s.container = r.ID.Segments[2].Name
		}
		return s.throughput()
	case "databaseaccounts/sqldatabases/clientencryptionkeys", "databaseaccounts/sqldatabases/containers/storedprocedures",
		"databaseaccounts/sqldatabases/containers/triggers", "databaseaccounts/sqldatabases/containers/userdefinedfunctions":
		if r.Method == http.MethodGet && r.IsCollection() {
			return arm.List[any](nil), nil
		}
	}
	return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support this resource of database accounts through Resource Manager.")
}

// located is the account that a request is below. What may be done there, docdb decides.
func (p *Provider) located(ctx context.Context, r *arm.Request) (account.Account, error) {
	a, err := p.accounts.At(accountID(r))
	if err == nil {
		return a, nil
	}
	// Who may not read the account must not learn from a 404 that it is not there.
	if _, e := p.accounts.Get(ctx, r.Caller, accountID(r)); e != nil {
		err = e
	}
	return a, err
}

// sql is one request about a database or container.
type sql struct {
	*Provider
	ctx           context.Context
	r             *arm.Request
	account       string
	db, container string
}

func (s *sql) database() (*arm.Response, error) {
	switch {
	case s.r.IsCollection() && s.r.Method == http.MethodGet:
		list, err := s.documents.Databases(s.ctx, s.r.Caller, s.account)
		if err != nil {
			return nil, s.wireFault(err)
		}
		out := []any{}
		for _, d := range list {
			out = append(out, renderDatabase(accountID(s.r), d))
		}
		return arm.List(out), nil
	case s.r.Method == http.MethodGet:
		d, err := s.documents.Database(s.ctx, s.r.Caller, s.account, s.db)
		if err != nil {
			return nil, s.wireFault(err)
		}
		return arm.OK(renderDatabase(accountID(s.r), d)), nil
	case s.r.Method == http.MethodPut:
		return s.putDatabase()
	case s.r.Method == http.MethodDelete:
		return s.deleted(s.documents.DeleteDatabase(s.ctx, s.r.Caller, s.account, s.db))
	}
	return nil, methodNotAllowed(s.r)
}

// deleted answers a deletion; what is not there is deleted already.
func (s *sql) deleted(err error) (*arm.Response, error) {
	if fault.KindOf(err) == fault.NotFound {
		return &arm.Response{Status: http.StatusNoContent}, nil
	}
	if err != nil {
		return nil, s.wireFault(err)
	}
	return s.done(s.r, nil)
}

// putDatabase makes a database; one that is there already stays as it is.
func (s *sql) putDatabase() (*arm.Response, error) {
	var b sqlBody
	if err := s.r.Decode(&b); err != nil {
		return nil, err
	}
	d, err := s.documents.CreateDatabase(s.ctx, s.r.Caller, s.account, docdb.DatabaseSpec{ID: s.db, Throughput: int(b.Properties.Options.Throughput), Autoscale: int(b.Properties.Options.Autoscale.Max)})
	if fault.KindOf(err) == fault.Conflict {
		d, err = s.documents.Database(s.ctx, s.r.Caller, s.account, s.db)
	}
	if err != nil {
		return nil, s.wireFault(err)
	}
	return s.done(s.r, renderDatabase(accountID(s.r), d))
}

func (s *sql) containers() (*arm.Response, error) {
	id := accountID(s.r).Child("sqlDatabases", s.db)
	switch {
	case s.r.IsCollection() && s.r.Method == http.MethodGet:
		list, err := s.documents.Containers(s.ctx, s.r.Caller, s.account, s.db)
		if err != nil {
			return nil, s.wireFault(err)
		}
		out := []any{}
		for _, c := range list {
			out = append(out, renderContainer(id, c))
		}
		return arm.List(out), nil
	case s.r.Method == http.MethodGet:
		c, err := s.documents.Container(s.ctx, s.r.Caller, s.account, s.db, s.container)
		if err != nil {
			return nil, s.wireFault(err)
		}
		return arm.OK(renderContainer(id, c)), nil
	case s.r.Method == http.MethodPut:
		return s.putContainer(id)
	case s.r.Method == http.MethodDelete:
		return s.deleted(s.documents.DeleteContainer(s.ctx, s.r.Caller, s.account, s.db, s.container))
	}
	return nil, methodNotAllowed(s.r)
}

// putContainer makes a container or replaces its policies.
func (s *sql) putContainer(id uri.ResourceID) (*arm.Response, error) {
	var b sqlBody
	if err := s.r.Decode(&b); err != nil {
		return nil, err
	}
	properties, err := containerProperties(b.Properties.Resource, s.container)
	if err != nil {
		return nil, err
	}
	spec := docdb.ContainerSpec{Properties: properties, Throughput: int(b.Properties.Options.Throughput), Autoscale: int(b.Properties.Options.Autoscale.Max)}
	c, err := s.documents.CreateContainer(s.ctx, s.r.Caller, s.account, s.db, spec)
	if fault.KindOf(err) == fault.Conflict {
		c, err = s.documents.ReplaceContainer(s.ctx, s.r.Caller, s.account, s.db, s.container, spec)
	}
	if err != nil {
		return nil, s.wireFault(err)
	}
	return s.done(s.r, renderContainer(id, c))
}

// containerProperties drops what only Resource Manager knows and sets the name of the path.
func containerProperties(raw json.RawMessage, name string) (json.RawMessage, error) {
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fault.New(fault.Invalid, "BadRequest", "The resource of a container must be a JSON object.").Because(err)
	}
	for _, k := range []string{"createMode", "restoreParameters", "_rid", "_ts", "_etag", "_self", "_docs", "_sprocs", "_triggers", "_udfs", "_conflicts", "statistics"} {
		delete(m, k)
	}
	id, err := json.Marshal(name)
	if err != nil {
		return nil, err
	}
	m["id"] = id
	return json.Marshal(m)
}

// wireFault gives the faults of the data plane codes that Resource Manager has. While the account's
// key is denied, writing is refused like every other change of the account.
func (s *sql) wireFault(err error) error {
	f := fault.As(err)
	if f == nil {
		return err
	}
	if f.Kind == fault.KeyDenied && s.r.Method != http.MethodGet {
		return account.ErrRevokedUpdate()
	}
	code, ok := map[fault.Kind]string{fault.Invalid: "BadRequest", fault.NotFound: "NotFound", fault.Conflict: "Conflict", fault.KeyDenied: "Forbidden"}[f.Kind]
	if !ok {
		return err
	}
	c := *f
	c.Reason = code
	return &c
}

func renderDatabase(id uri.ResourceID, d docdb.Database) any {
	return map[string]any{"id": id.Child("sqlDatabases", d.ID).String(), "name": d.ID, "type": account.Type + "/sqlDatabases",
		"properties": map[string]any{"resource": map[string]any{"id": d.ID, "_rid": d.RID, "_self": d.Self, "_etag": d.ETag,
			"_colls": "colls/", "_users": "users/", "_ts": d.TS}}}
}

func renderContainer(id uri.ResourceID, c docdb.Container) any {
	return map[string]any{"id": id.Child("containers", c.ID).String(), "name": c.ID, "type": account.Type + "/sqlDatabases/containers",
		"properties": map[string]any{"resource": c.Properties}}
}
