package keyvault

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// bodyLimit bounds a request body, in bytes; the largest honest one is an imported 4096 bit key.
const bodyLimit = 128 << 10

func (x *exchange) read(v any) error { return wire.ReadJSON(x.r, bodyLimit, v) }

// one answers with a key.
func (x *exchange) one(k vault.Key, err error) (int, any, error) {
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, x.bundle(k), nil
}

func createKey(s *vault.Service, x *exchange) (int, any, error) {
	var in keyIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return x.one(s.CreateKey(x.ctx, x.caller, x.vault, x.route.name, in.spec()))
}

func importKey(s *vault.Service, x *exchange) (int, any, error) {
	var in importIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return x.one(s.ImportKey(x.ctx, x.caller, x.vault, x.route.name, in.spec(), in.private()))
}

func getKey(s *vault.Service, x *exchange) (int, any, error) {
	return x.one(s.Key(x.ctx, x.caller, x.vault, x.route.name, x.route.version))
}

func updateKey(s *vault.Service, x *exchange) (int, any, error) {
	var in keyIn
	if err := x.read(&in); err != nil {
		return 0, nil, err
	}
	return x.one(s.UpdateKey(x.ctx, x.caller, x.vault, x.route.name, x.route.version, in.spec()))
}

func rotateKey(s *vault.Service, x *exchange) (int, any, error) {
	return x.one(s.RotateKey(x.ctx, x.caller, x.vault, x.route.name))
}

func deleteKey(s *vault.Service, x *exchange) (int, any, error) {
	return x.one(s.DeleteKey(x.ctx, x.caller, x.vault, x.route.name))
}

func getDeleted(s *vault.Service, x *exchange) (int, any, error) {
	return x.one(s.DeletedKey(x.ctx, x.caller, x.vault, x.route.name))
}

func recoverKey(s *vault.Service, x *exchange) (int, any, error) {
	return x.one(s.RecoverKey(x.ctx, x.caller, x.vault, x.route.name))
}

func purgeKey(s *vault.Service, x *exchange) (int, any, error) {
	return http.StatusNoContent, nil, s.PurgeKey(x.ctx, x.caller, x.vault, x.route.name)
}

func listKeys(s *vault.Service, x *exchange) (int, any, error) {
	return x.page("/keys", func(p vault.Page) ([]vault.Key, string, error) { return s.Keys(x.ctx, x.caller, x.vault, p) })
}

func listDeleted(s *vault.Service, x *exchange) (int, any, error) {
	return x.page("/deletedkeys", func(p vault.Page) ([]vault.Key, string, error) { return s.DeletedKeys(x.ctx, x.caller, x.vault, p) })
}

func listVersions(s *vault.Service, x *exchange) (int, any, error) {
	return x.page("/keys/"+x.route.name+"/versions", func(p vault.Page) ([]vault.Key, string, error) {
		return s.KeyVersions(x.ctx, x.caller, x.vault, x.route.name, p)
	})
}

// operationOut is the result of a cryptographic operation. Verify answers with a bool.
type operationOut struct {
	ID    string `json:"kid"`
	Value string `json:"value"`
}

func crypt(s *vault.Service, x *exchange) (int, any, error) {
	var body operationIn
	if err := x.read(&body); err != nil {
		return 0, nil, err
	}
	in, err := body.input(x.route.operation)
	if err != nil {
		return 0, nil, err
	}
	out, err := s.Crypt(x.ctx, x.caller, x.vault, x.route.name, x.route.version, x.route.operation, in)
	switch {
	case err != nil:
		return 0, nil, err
	case x.route.operation == vault.Verify:
		return http.StatusOK, map[string]bool{"value": out.Valid}, nil
	}
	return http.StatusOK, operationOut{x.keyID(out.Name, out.Version), b64.EncodeToString(out.Value)}, nil
}

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

// page answers with one page of a list at path.
func (x *exchange) page(path string, get func(vault.Page) ([]vault.Key, string, error)) (int, any, error) {
	q := x.r.URL.Query()
	p, err := parsePage(q)
	if err != nil {
		return 0, nil, err
	}
	keys, next, err := get(p)
	if err != nil {
		return 0, nil, err
	}
	out := list{Value: []item{}}
	for _, k := range keys {
		out.Value = append(out.Value, x.item(k))
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

// notOffered answers for the parts of the service that this server does not have.
func notOffered(*vault.Service, *exchange) (int, any, error) {
	return 0, nil, fault.New(fault.NotImplemented, "NotImplemented", "This vault does not offer this operation.")
}

// noContacts: clients read the contacts of certificates whenever they read a vault.
func noContacts(*vault.Service, *exchange) (int, any, error) {
	return 0, nil, fault.New(fault.NotFound, "ContactsNotFound", "Contacts not found")
}
