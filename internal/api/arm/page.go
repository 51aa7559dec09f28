package arm

import (
	"net/url"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/fault"
)

// Page answers 200 with the items that $top and $skiptoken select, and with a nextLink when there are
// more. Without $top the page is the whole list.
func Page[T any](r *Request, items []T) (*Response, error) {
	from, err := number(r, "$skiptoken", 0)
	if err != nil {
		return nil, err
	}
	top, err := number(r, "$top", len(items))
	if err != nil {
		return nil, err
	}
	items = items[min(from, len(items)):]
	if top >= len(items) || top == 0 {
		return List(items), nil
	}
	return OK(map[string]any{"value": items[:top], "nextLink": r.nextLink(from + top)}), nil
}

// maxNumber bounds the numbers of a query, so that sums stay small.
const maxNumber = 1 << 30

func number(r *Request, name string, otherwise int) (int, error) {
	text := r.Query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxNumber {
		return 0, fault.New(fault.Invalid, "InvalidQueryParameter", "The value '%s' of the query parameter '%s' is invalid.", text, name)
	}
	return n, nil
}

// nextLink is the address of the page that starts at an item: this request's own, with another token.
func (r *Request) nextLink(from int) string {
	q := url.Values{}
	for k, v := range r.Query {
		q[k] = v
	}
	q.Set("$skiptoken", strconv.Itoa(from))
	u := url.URL{Scheme: "https", Host: r.Names.ManagementHost(), Path: r.Path, RawQuery: q.Encode()}
	return u.String()
}
