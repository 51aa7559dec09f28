package cosmos

import (
	"net/http"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/docdb"
)

// offers serves the feed of throughput, which clients query by the owner's resource id.
func (x *exchange) offers() error {
	if x.r.Method != http.MethodGet && !x.isQuery() {
		return methodNotAllowed()
	}
	list, err := x.Service.Offers(x.r.Context(), x.caller, x.account.ID)
	if err != nil {
		return err
	}
	var all [][]byte
	for _, o := range list {
		all = append(all, o.JSON())
	}
	return x.selected("", "Offers", all)
}

// offer serves the throughput of one database or container.
func (x *exchange) offer() error {
	rid := x.at.name(0)
	var o docdb.Offer
	var err error
	switch x.r.Method {
	case http.MethodGet:
		o, err = x.Service.Offer(x.r.Context(), x.caller, x.account.ID, rid)
	case http.MethodPut:
		o, err = x.replaceOffer(rid)
	default:
		return methodNotAllowed()
	}
	if err != nil {
		return err
	}
	x.w.Header().Set("x-ms-offer-replace-pending", "false")
	x.w.Header().Set("x-ms-cosmos-min-throughput", strconv.Itoa(o.Minimum()))
	x.resource(http.StatusOK, o.ETag, o.JSON())
	return nil
}

func (x *exchange) replaceOffer(rid string) (docdb.Offer, error) {
	body, err := x.body()
	if err != nil {
		return docdb.Offer{}, err
	}
	t, err := docdb.ParseOffer(body)
	if err != nil {
		return docdb.Offer{}, err
	}
	return x.Service.ReplaceOffer(x.r.Context(), x.caller, x.account.ID, rid, t, x.r.Header.Get("If-Match"))
}
