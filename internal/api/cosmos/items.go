package cosmos

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// flag reads a header that is a boolean in any case.
func (x *exchange) flag(name string) bool { return strings.EqualFold(x.r.Header.Get(name), "true") }

// isQuery reports whether a POST on a feed is a query; clients say so in three ways.
func (x *exchange) isQuery() bool {
	return x.r.Method == http.MethodPost && (strings.HasPrefix(x.r.Header.Get("Content-Type"), "application/query+json") ||
		x.flag("x-ms-documentdb-isquery") || x.flag("x-ms-documentdb-query"))
}

// partitionKey reads the header: nil when it is absent.
func (x *exchange) partitionKey() (*docdb.PartitionKey, error) {
	v := x.r.Header.Get(headerPartitionKey)
	if v == "" {
		return nil, nil
	}
	k, err := docdb.ParsePartitionKey(v)
	return &k, err
}

// container's path and what the request asks of its state.
func (x *exchange) containerPath() docdb.ContainerPath {
	return docdb.ContainerPath{Account: x.account.ID, Database: x.at.name(0), Container: x.at.name(1)}
}

func (x *exchange) consistency() docdb.Consistency {
	return docdb.Consistency{SessionToken: x.r.Header.Get(headerSession), ContainerRID: x.r.Header.Get("x-ms-cosmos-intended-collection-rid")}
}

func (x *exchange) itemRequest() (docdb.ItemRequest, error) {
	k, err := x.partitionKey()
	return docdb.ItemRequest{
		Path: x.containerPath(), PartitionKey: k, Consistency: x.consistency(),
		Conditions: docdb.Conditions{IfMatch: x.r.Header.Get("If-Match"), IfNoneMatch: x.r.Header.Get("If-None-Match")},
	}, err
}

// items serves the feed of documents: what a POST is, its headers say, in this order.
func (x *exchange) items() error {
	switch {
	case x.r.Method == http.MethodGet && x.r.Header.Get("A-IM") != "":
		return x.changeFeed()
	case x.r.Method == http.MethodGet:
		return x.readFeed()
	case x.r.Method != http.MethodPost:
		return methodNotAllowed()
	case x.flag("x-ms-cosmos-is-batch-request"):
		return x.batch()
	case x.flag("x-ms-cosmos-is-query-plan-request"):
		return x.queryPlan()
	case x.isQuery():
		return x.query()
	}
	return x.write("")
}

// item serves one document.
func (x *exchange) item() error {
	id := x.at.name(2)
	switch x.r.Method {
	case http.MethodGet:
		q, err := x.itemRequest()
		if err != nil {
			return err
		}
		result, err := x.Service.ReadItem(x.r.Context(), x.caller, q, id)
		if err != nil {
			return err
		}
		x.result(http.StatusOK, result)
		return nil
	case http.MethodPut, http.MethodPatch, http.MethodDelete:
		return x.write(id)
	}
	return methodNotAllowed()
}

// write carries out one change of one document.
func (x *exchange) write(id string) error {
	q, err := x.itemRequest()
	if err != nil {
		return err
	}
	body, err := x.body()
	if err != nil {
		return err
	}
	if err := x.checkScripts(); err != nil {
		return err
	}
	result, err := x.change(q, id, body)
	if err != nil {
		return err
	}
	switch {
	case x.r.Method == http.MethodDelete:
		x.result(http.StatusNoContent, result)
	case result.Created:
		x.result(http.StatusCreated, result)
	default:
		x.result(http.StatusOK, result)
	}
	return nil
}

func (x *exchange) change(q docdb.ItemRequest, id string, body []byte) (docdb.Result, error) {
	ctx := x.r.Context()
	switch {
	case x.r.Method == http.MethodPut:
		return x.Service.ReplaceItem(ctx, x.caller, q, id, body)
	case x.r.Method == http.MethodPatch:
		return x.Service.PatchItem(ctx, x.caller, q, id, body)
	case x.r.Method == http.MethodDelete:
		return x.Service.DeleteItem(ctx, x.caller, q, id)
	case x.flag("x-ms-documentdb-is-upsert"):
		return x.Service.UpsertItem(ctx, x.caller, q, body)
	}
	return x.Service.CreateItem(ctx, x.caller, q, body)
}

// checkScripts refuses writes that want triggers to run: silently leaving them out would be wrong.
func (x *exchange) checkScripts() error {
	if x.r.Header.Get("x-ms-documentdb-pre-trigger-include") != "" || x.r.Header.Get("x-ms-documentdb-post-trigger-include") != "" {
		return unsupported("triggers")
	}
	return nil
}

// result answers with one document, without its text when the caller prefers that.
func (x *exchange) result(status int, res docdb.Result) {
	x.receipt(res.Receipt)
	if res.ETag != "" {
		x.w.Header().Set("Etag", res.ETag)
	}
	body := []byte(res.JSON)
	switch {
	case res.NotModified:
		status = http.StatusNotModified
	case x.r.Method != http.MethodGet && x.minimal():
		body = nil
	}
	x.answer(status, body)
}

// receipt sets the headers that tell where an operation took place.
func (x *exchange) receipt(r docdb.Receipt) {
	h, lsn := x.w.Header(), strconv.FormatUint(r.LSN, 10)
	h.Set("x-ms-request-charge", strconv.FormatFloat(r.Charge, 'f', -1, 64))
	h.Set("x-ms-content-path", r.ContainerRID)
	h.Set("x-ms-alt-content-path", r.AltPath)
	h.Set(headerSession, r.RangeID+":-1#"+lsn)
	h.Set("x-ms-documentdb-partitionkeyrangeid", r.RangeID)
	h.Set("lsn", lsn)
	h.Set("x-ms-cosmos-llsn", lsn)
	h.Set("x-ms-global-committed-lsn", lsn)
	h.Set("x-ms-number-of-read-regions", "0")
	h.Set("x-ms-schemaversion", "1.18")
}

// feedRequest reads what all feeds have in common.
func (x *exchange) feedRequest() (q docdb.FeedRequest, err error) {
	h := x.r.Header
	q = docdb.FeedRequest{
		Path: x.containerPath(), RangeID: h.Get("x-ms-documentdb-partitionkeyrangeid"),
		Continuation: h.Get(headerContinuation), Consistency: x.consistency(),
		MinEPK: h.Get("x-ms-start-epk"), MaxEPK: h.Get("x-ms-end-epk"),
	}
	if strings.EqualFold(q.MaxEPK, "FF") {
		q.MaxEPK = "" // the end of everything
	}
	if v := h.Get("x-ms-max-item-count"); v != "" {
		if q.MaxItems, err = strconv.Atoi(v); err != nil {
			return q, fault.New(fault.Invalid, "BadRequest", "The header x-ms-max-item-count is not a number.")
		}
	}
	q.PartitionKey, err = x.partitionKey()
	if q.PartitionKey != nil && len(*q.PartitionKey) == 0 {
		q.PartitionKey = nil
	}
	return q, err
}

func (x *exchange) readFeed() error {
	q, err := x.feedRequest()
	if err != nil {
		return err
	}
	page, err := x.Service.ReadFeed(x.r.Context(), x.caller, q)
	if err != nil {
		return err
	}
	x.page(page)
	return nil
}

// page answers with a page of documents or results.
func (x *exchange) page(p docdb.Page) {
	x.receipt(p.Receipt)
	if p.Continuation != "" {
		x.w.Header().Set(headerContinuation, p.Continuation)
	}
	values := make([][]byte, len(p.Items))
	for i, v := range p.Items {
		values[i] = v
	}
	x.feed(p.ContainerRID, "Documents", values)
}

// changeFeed answers with what changed since an etag; nothing new is 304.
func (x *exchange) changeFeed() error {
	f, err := x.feedRequest()
	if err != nil {
		return err
	}
	q := docdb.ChangeFeedRequest{FeedRequest: f, Since: x.r.Header.Get("If-None-Match")}
	switch mode := strings.ToLower(strings.TrimSpace(x.r.Header.Get("A-IM"))); mode {
	case "incremental feed":
	case "full-fidelity feed":
		q.AllVersions = true
	default:
		return fault.New(fault.Invalid, "BadRequest", "The header A-IM does not name a change feed.")
	}
	if v := x.r.Header.Get("If-Modified-Since"); v != "" {
		if q.Start, err = parseDate(v); err != nil {
			return fault.New(fault.Invalid, "BadRequest", "The header If-Modified-Since is not a date.")
		}
	}
	page, err := x.Service.ChangeFeed(x.r.Context(), x.caller, q)
	if err != nil {
		return err
	}
	x.w.Header().Set("Etag", page.ETag)
	if len(page.Items) == 0 {
		x.receipt(page.Receipt)
		x.answer(http.StatusNotModified, nil)
		return nil
	}
	x.page(page.Page)
	return nil
}

// rangeBody is a partition key range on the wire.
type rangeBody struct {
	RID      string   `json:"_rid"`
	ID       string   `json:"id"`
	ETag     string   `json:"_etag"`
	Min      string   `json:"minInclusive"`
	Max      string   `json:"maxExclusive"`
	Prefix   int      `json:"ridPrefix"`
	Self     string   `json:"_self"`
	Fraction float64  `json:"throughputFraction"`
	Status   string   `json:"status"`
	Parents  []string `json:"parents"`
	TS       int64    `json:"_ts"`
	LSN      uint64   `json:"lsn"`
}

// ranges serves the partition key ranges. Clients read them as an incremental feed, until 304.
func (x *exchange) ranges() error {
	if x.r.Method != http.MethodGet {
		return methodNotAllowed()
	}
	list, etag, receipt, err := x.Service.PartitionKeyRanges(x.r.Context(), x.caller, x.containerPath())
	if err != nil {
		return err
	}
	x.receipt(receipt)
	x.w.Header().Set("Etag", etag)
	if x.r.Header.Get("If-None-Match") == etag {
		x.answer(http.StatusNotModified, nil)
		return nil
	}
	var all [][]byte
	for _, r := range list {
		all = append(all, mustJSON(rangeBody{RID: r.RID, ID: r.ID, ETag: etag, Min: r.Min, Max: r.Max, Self: r.Self,
			Fraction: 1 / float64(len(list)), Status: "online", Parents: r.Parents, TS: r.TS, LSN: r.LSN}))
	}
	x.feed(receipt.ContainerRID, "PartitionKeyRanges", all)
	return nil
}

// operation carries out an operation on a container.
func (x *exchange) operation() error {
	switch {
	case !strings.EqualFold(x.at.name(2), "partitionkeydelete"):
		return noSuchPath()
	case x.r.Method != http.MethodPost:
		return methodNotAllowed()
	}
	q, err := x.itemRequest()
	if err != nil {
		return err
	}
	receipt, err := x.Service.ErasePartition(x.r.Context(), x.caller, q)
	if err != nil {
		return err
	}
	x.receipt(receipt)
	x.answer(http.StatusOK, nil)
	return nil
}
