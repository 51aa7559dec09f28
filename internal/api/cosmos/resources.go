package cosmos

import (
	"net/http"
	"strconv"
	"time"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// feeds are the names of lists on the wire.
var feeds = map[docdb.ResourceKind]string{
	docdb.Users: "Users", docdb.Permissions: "Permissions", docdb.ClientEncryptionKeys: "ClientEncryptionKeys",
	docdb.StoredProcedures: "StoredProcedures", docdb.Triggers: "Triggers", docdb.Functions: "UserDefinedFunctions",
}

// resourcePath is the place of a request's resources, and the name of the one that it asks for.
func (x *exchange) resourcePath(kind docdb.ResourceKind) (at docdb.ResourcePath, name string) {
	at = docdb.ResourcePath{Account: x.account.ID, Database: x.at.name(0), Kind: kind}
	switch kind {
	case docdb.Users, docdb.ClientEncryptionKeys:
		return at, x.at.name(1)
	case docdb.Permissions:
		at.User = x.at.name(1)
	default:
		at.Container = x.at.name(1)
	}
	return at, x.at.name(2)
}

// resourceRequest reads the headers of a request for resources.
func (x *exchange) resourceRequest() (docdb.ResourceRequest, error) {
	q := docdb.ResourceRequest{IfMatch: x.r.Header.Get("If-Match"), Upsert: x.flag("x-ms-documentdb-is-upsert")}
	v := x.r.Header.Get("x-ms-documentdb-expiry-seconds")
	if v == "" {
		return q, nil
	}
	seconds, err := strconv.ParseInt(v, 10, 32)
	if err != nil || seconds <= 0 {
		return q, fault.New(fault.Invalid, "BadRequest", "The header x-ms-documentdb-expiry-seconds is not a number of seconds.")
	}
	q.Expiry = time.Duration(seconds) * time.Second
	return q, nil
}

// resources serves the feed of a kind of resource.
func resources(kind docdb.ResourceKind) func(*exchange) error {
	return func(x *exchange) error {
		at, _ := x.resourcePath(kind)
		q, err := x.resourceRequest()
		switch {
		case err != nil:
			return err
		case x.r.Method == http.MethodGet || x.isQuery():
			return x.listResources(at, q)
		case x.r.Method != http.MethodPost:
			return methodNotAllowed()
		}
		body, err := x.body()
		if err != nil {
			return err
		}
		res, created, err := x.Service.CreateResource(x.r.Context(), x.caller, at, body, q)
		if err != nil {
			return err
		}
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		x.resource(status, res.ETag, res.JSON)
		return nil
	}
}

func (x *exchange) listResources(at docdb.ResourcePath, q docdb.ResourceRequest) error {
	list, parent, err := x.Service.Resources(x.r.Context(), x.caller, at, q)
	if err != nil {
		return err
	}
	var all [][]byte
	for _, r := range list {
		all = append(all, r.JSON)
	}
	return x.selected(parent, feeds[at.Kind], all)
}

// one serves one resource of a kind.
func one(kind docdb.ResourceKind) func(*exchange) error {
	return func(x *exchange) error {
		at, name := x.resourcePath(kind)
		q, err := x.resourceRequest()
		if err != nil {
			return err
		}
		switch ctx := x.r.Context(); {
		case x.r.Method == http.MethodGet:
			res, err := x.Service.Resource(ctx, x.caller, at, name, q)
			return x.answerResource(res, err)
		case x.r.Method == http.MethodPut:
			body, err := x.body()
			if err != nil {
				return err
			}
			res, err := x.Service.ReplaceResource(ctx, x.caller, at, name, body, q)
			return x.answerResource(res, err)
		case x.r.Method == http.MethodDelete && kind != docdb.ClientEncryptionKeys: // as in the service, keys stay
			return x.deleted(x.Service.DeleteResource(ctx, x.caller, at, name, q))
		case x.r.Method == http.MethodPost && kind == docdb.StoredProcedures:
			return x.Service.ExecuteStoredProcedure(ctx, x.caller, at, name)
		}
		return methodNotAllowed()
	}
}

func (x *exchange) answerResource(res docdb.Resource, err error) error {
	if err != nil {
		return err
	}
	x.resource(http.StatusOK, res.ETag, res.JSON)
	return nil
}
