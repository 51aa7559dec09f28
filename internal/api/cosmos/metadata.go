package cosmos

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// maxBody bounds the bodies of requests: the service's limit.
const maxBody = 2<<20 + 64<<10

// body reads the request's body.
func (x *exchange) body() ([]byte, error) {
	b, err := wire.ReadBody(x.r, maxBody)
	if fault.KindOf(err) == fault.TooLarge {
		err = fault.New(fault.TooLarge, "RequestEntityTooLarge", "Request size is too large")
	}
	return b, err
}

// databaseBody is a database on the wire.
type databaseBody struct {
	ID    string `json:"id"`
	RID   string `json:"_rid"`
	Self  string `json:"_self"`
	ETag  string `json:"_etag"`
	Colls string `json:"_colls"`
	Users string `json:"_users"`
	TS    int64  `json:"_ts"`
}

func renderDatabase(d docdb.Database) []byte {
	return mustJSON(databaseBody{ID: d.ID, RID: d.RID, Self: d.Self, ETag: d.ETag, Colls: "colls/", Users: "users/", TS: d.TS})
}

// databases serves the feed of databases.
func (x *exchange) databases() error {
	switch {
	case x.r.Method == http.MethodGet || x.isQuery():
		list, err := x.Service.Databases(x.r.Context(), x.caller, x.account.ID)
		if err != nil {
			return err
		}
		var all [][]byte
		for _, d := range list {
			all = append(all, renderDatabase(d))
		}
		return x.selected("", "Databases", all)
	case x.r.Method != http.MethodPost:
		return methodNotAllowed()
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	var in struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(body, &in) != nil {
		return badBody()
	}
	spec := docdb.DatabaseSpec{ID: in.ID}
	if spec.Throughput, spec.Autoscale, err = x.throughput(); err != nil {
		return err
	}
	d, err := x.Service.CreateDatabase(x.r.Context(), x.caller, x.account.ID, spec)
	if err != nil {
		return err
	}
	x.resource(http.StatusCreated, d.ETag, renderDatabase(d))
	return nil
}

// database serves one database.
func (x *exchange) database() error {
	name := x.at.name(0)
	switch x.r.Method {
	case http.MethodGet:
		d, err := x.Service.Database(x.r.Context(), x.caller, x.account.ID, name)
		if err != nil {
			return err
		}
		x.resource(http.StatusOK, d.ETag, renderDatabase(d))
		return nil
	case http.MethodDelete:
		return x.deleted(x.Service.DeleteDatabase(x.r.Context(), x.caller, x.account.ID, name))
	}
	return methodNotAllowed()
}

// containers serves the feed of a database's containers.
func (x *exchange) containers() error {
	db := x.at.name(0)
	switch {
	case x.r.Method == http.MethodGet || x.isQuery():
		d, err := x.Service.Database(x.r.Context(), x.caller, x.account.ID, db)
		if err != nil {
			return err
		}
		list, err := x.Service.Containers(x.r.Context(), x.caller, x.account.ID, db)
		if err != nil {
			return err
		}
		var all [][]byte
		for _, c := range list {
			all = append(all, c.Properties)
		}
		return x.selected(d.RID, "DocumentCollections", all)
	case x.r.Method != http.MethodPost:
		return methodNotAllowed()
	}
	spec, err := x.containerSpec()
	if err != nil {
		return err
	}
	c, err := x.Service.CreateContainer(x.r.Context(), x.caller, x.account.ID, db, spec)
	return x.container1(http.StatusCreated, c, err)
}

func (x *exchange) containerSpec() (spec docdb.ContainerSpec, err error) {
	if spec.Properties, err = x.body(); err != nil {
		return spec, err
	}
	if !json.Valid(spec.Properties) {
		return spec, badBody()
	}
	spec.IfMatch = x.r.Header.Get("If-Match")
	spec.Throughput, spec.Autoscale, err = x.throughput()
	return spec, err
}

// container serves one container.
func (x *exchange) container() error {
	ctx, db, name := x.r.Context(), x.at.name(0), x.at.name(1)
	switch x.r.Method {
	case http.MethodGet:
		c, err := x.Service.Container(ctx, x.caller, x.account.ID, db, name)
		if x.flag("x-ms-documentdb-populatequotainfo") {
			x.w.Header().Set("x-ms-documentdb-collection-index-transformation-progress", strconv.Itoa(c.IndexProgress))
		}
		return x.container1(http.StatusOK, c, err)
	case http.MethodPut:
		spec, err := x.containerSpec()
		if err != nil {
			return err
		}
		c, err := x.Service.ReplaceContainer(ctx, x.caller, x.account.ID, db, name, spec)
		return x.container1(http.StatusOK, c, err)
	case http.MethodDelete:
		return x.deleted(x.Service.DeleteContainer(ctx, x.caller, x.account.ID, db, name))
	}
	return methodNotAllowed()
}

// container1 answers with one container.
func (x *exchange) container1(status int, c docdb.Container, err error) error {
	if err != nil {
		return err
	}
	h := x.w.Header()
	h.Set("x-ms-documentdb-collection-index-transformation-progress", "100")
	h.Set("x-ms-content-path", c.RID)
	h.Set("x-ms-alt-content-path", "dbs/"+x.at.name(0))
	h.Set(headerSession, "0:-1#"+strconv.FormatUint(c.LSN, 10))
	x.resource(status, c.ETag, c.Properties)
	return nil
}

// resource answers with one resource, honouring If-None-Match on reads.
func (x *exchange) resource(status int, etag string, body []byte) {
	x.w.Header().Set("Etag", etag)
	if x.r.Method == http.MethodGet && etag != "" && x.r.Header.Get("If-None-Match") == etag {
		status = http.StatusNotModified
	}
	x.answer(status, body)
}

// deleted answers a removal.
func (x *exchange) deleted(err error) error {
	if err != nil {
		return err
	}
	x.answer(http.StatusNoContent, nil)
	return nil
}

// conflicts answers the feed of conflicts, which is empty.
func (x *exchange) conflicts() error {
	if x.r.Method != http.MethodGet && !x.isQuery() {
		return methodNotAllowed()
	}
	receipt, err := x.Service.Conflicts(x.r.Context(), x.caller, x.containerPath(), x.consistency())
	if err != nil {
		return err
	}
	x.receipt(receipt)
	return x.selected(receipt.ContainerRID, "Conflicts", nil)
}

// conflict serves one conflict: there is none.
func (x *exchange) conflict() error {
	switch x.r.Method {
	case http.MethodGet:
		return x.Service.Conflict(x.r.Context(), x.caller, x.containerPath(), x.consistency())
	case http.MethodDelete:
		return x.Service.DeleteConflict(x.r.Context(), x.caller, x.containerPath(), x.consistency())
	}
	return methodNotAllowed()
}

// feed answers with a list below the resource id of its parent.
func (x *exchange) feed(rid, name string, items [][]byte) {
	b := []byte(`{"_rid":` + string(mustJSON(rid)) + `,"` + name + `":[`)
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item...)
	}
	b = append(b, `],"_count":`+strconv.Itoa(len(items))+`}`...)
	x.w.Header().Set("x-ms-item-count", strconv.Itoa(len(items)))
	x.answer(http.StatusOK, b)
}

// throughput reads the headers of provisioned throughput: manual, or the maximum of autoscale.
func (x *exchange) throughput() (manual, autoscale int, err error) {
	if v := x.r.Header.Get("x-ms-offer-throughput"); v != "" {
		if manual, err = strconv.Atoi(v); err != nil {
			return 0, 0, fault.New(fault.Invalid, "BadRequest", "The header x-ms-offer-throughput is not a number.")
		}
	}
	var in struct {
		Max int `json:"maxThroughput"`
	}
	if v := x.r.Header.Get("x-ms-cosmos-offer-autopilot-settings"); v != "" && json.Unmarshal([]byte(v), &in) != nil {
		return 0, 0, fault.New(fault.Invalid, "BadRequest", "The header x-ms-cosmos-offer-autopilot-settings is not valid JSON.")
	}
	return manual, in.Max, nil
}

func badBody() error {
	return fault.New(fault.Invalid, "BadRequest", "The request payload is invalid. Ensure to provide a valid request payload.")
}
