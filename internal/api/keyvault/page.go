package keyvault

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/vault"
)

// maxResults is the largest page, and the size of one when none is asked for.
const maxResults = 25

// pageToken is the content of $skiptoken.
type pageToken struct {
	NextMarker     string
	TargetLocation int
}

func parsePage(q url.Values) (vault.Page, error) {
	p := vault.Page{Max: maxResults}
	if s := q.Get("maxresults"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxResults {
			return p, badParameter("The value of maxresults must be between 1 and %d.", maxResults)
		}
		p.Max = n
	}
	if s := q.Get("$skiptoken"); s != "" {
		raw, ok := decode64(s)
		var t pageToken
		if !ok || json.Unmarshal(raw, &t) != nil || t.NextMarker == "" {
			return p, badParameter("The value of $skiptoken is not valid.")
		}
		p.Marker = t.NextMarker
	}
	return p, nil
}

// page answers with one page of a list at path; show is the form of an item.
func page[T, U any](x *exchange, path string, get func(vault.Page) ([]T, string, error), show func(T) U) (int, any, error) {
	q := x.r.URL.Query()
	p, err := parsePage(q)
	if err != nil {
		return 0, nil, err
	}
	items, next, err := get(p)
	if err != nil {
		return 0, nil, err
	}
	out := list[U]{Value: []U{}}
	for _, item := range items {
		out.Value = append(out.Value, show(item))
	}
	if next == "" {
		return http.StatusOK, out, nil
	}
	token, err := json.Marshal(pageToken{NextMarker: next})
	if err != nil {
		return 0, nil, err
	}
	out.NextLink = pointer(x.base() + path + "?api-version=" + url.QueryEscape(q.Get("api-version")) +
		"&$skiptoken=" + b64.EncodeToString(token) + "&maxresults=" + strconv.Itoa(p.Max))
	return http.StatusOK, out, nil
}
