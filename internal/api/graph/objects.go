package graph

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// Page sizes: Graph's default and maximum for directory objects.
const (
	defaultPage = 100
	maxPage     = 999
)

// readBody reads the body's members by lower-case name.
func (c *call) readBody() (body, error) {
	raw := body{}
	if err := wire.ReadJSON(c.r, maxBody, (*map[string]jsonValue)(&raw)); err != nil {
		return nil, err
	}
	b := body{}
	for k, v := range raw {
		b[strings.ToLower(k)] = v
	}
	return b, nil
}

// objects serves /{collection}[/{id}[/…]].
func (c *call) objects(k *kind) error {
	if len(c.path) == 1 {
		switch c.r.Method {
		case http.MethodGet:
			return c.listOf(k)
		case http.MethodPost:
			return c.create(k)
		}
		return methodNotAllowed(c.r.Method)
	}
	id, err := c.resolve(k, c.path[1])
	if err != nil {
		return err
	}
	if len(c.path) > 2 {
		return c.below(k, id)
	}
	switch c.r.Method {
	case http.MethodGet:
		return c.one(k, id)
	case http.MethodPatch:
		return c.update(k, id)
	case http.MethodDelete:
		if err := k.remove(c.dir, c.ctx, c.caller, id); err != nil {
			return err
		}
		return c.noContent()
	}
	return methodNotAllowed(c.r.Method)
}

// resolve turns the key of an address into an object id: an id, a user principal name, or the form
// (appId='…').
func (c *call) resolve(k *kind, key string) (string, error) {
	inner, ok := strings.CutPrefix(key, "(")
	if !ok {
		return strings.ToLower(key), nil
	}
	inner = strings.TrimSuffix(inner, ")")
	name, value, named := strings.Cut(inner, "=")
	if !named {
		return strings.ToLower(strings.Trim(inner, "'")), nil
	}
	all, err := k.list(c)
	if err != nil {
		return "", err
	}
	name, value = strings.ToLower(strings.TrimSpace(name)), strings.Trim(strings.TrimSpace(value), "'")
	if !k.search[name] {
		return "", badRequest("The key '%s' is not supported.", printable(name))
	}
	for _, o := range all {
		if slices.ContainsFunc(texts(o.member(name)), func(v string) bool { return strings.EqualFold(v, value) }) {
			return o.id(), nil
		}
	}
	return "", fault.New(fault.NotFound, "ResourceNotFound", "Resource '%s' does not exist or one of its queried reference-property objects are not present.", printable(value))
}

func (o object) id() string { id, _ := o.members["id"].(string); return id }

func (o object) member(lower string) any {
	for name, v := range o.members {
		if strings.EqualFold(name, lower) {
			return v
		}
	}
	return nil
}

func (c *call) create(k *kind) error {
	b, err := c.readBody()
	if err != nil {
		return err
	}
	o, err := k.create(c, b)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", c.root()+"/"+k.name+"/"+o.id())
	return c.answer(http.StatusCreated, c.entity(k, o))
}

func (c *call) one(k *kind, id string) error {
	o, err := k.get(c, id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, c.entity(k, o))
}

func (c *call) update(k *kind, id string) error {
	b, err := c.readBody()
	if err != nil {
		return err
	}
	if err := k.update(c, id, b); err != nil {
		return err
	}
	return c.noContent()
}

// entity is the answer for a single object.
func (c *call) entity(k *kind, o object) map[string]any {
	m := selected(o.members, c.r.URL.Query().Get("$select"))
	delete(m, "@odata.type")
	m["@odata.context"] = c.root() + "/$metadata#" + k.name + "/$entity"
	return m
}

// selected copies the members that $select names; id and objectId are always there.
func selected(members map[string]any, names string) map[string]any {
	out := map[string]any{}
	for k, v := range members {
		wanted := names == "" || strings.HasPrefix(k, "@") || k == "id" || k == "objectId" ||
			slices.ContainsFunc(strings.Split(names, ","), func(n string) bool { return strings.EqualFold(strings.TrimSpace(n), k) })
		if wanted {
			out[k] = v
		}
	}
	return out
}

func (c *call) listOf(k *kind) error {
	all, err := k.list(c)
	if err != nil {
		return err
	}
	if text := c.r.URL.Query().Get("$filter"); text != "" {
		match, err := parseFilter(text, k.search)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(o object) bool { return !match(o.values) })
	}
	return c.page(k.name, all, false)
}

// page answers with a list, or with the part of it that $top and $skiptoken say. typed keeps
// @odata.type, which lists of mixed kinds need. The token is the id of the last object shown.
func (c *call) page(context string, all []object, typed bool) error {
	q := c.r.URL.Query()
	top := defaultPage
	if text := q.Get("$top"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return fault.New(fault.Invalid, "PageInvalid", "Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", printable(text), maxPage)
		}
		top = n
	}
	start, err := pageStart(all, q.Get("$skiptoken"))
	if err != nil {
		return err
	}
	out := map[string]any{"@odata.context": c.root() + "/$metadata#" + context}
	if q.Get("$count") == "true" {
		out["@odata.count"] = len(all)
	}
	rest := all[start:]
	if len(rest) > top {
		rest = rest[:top]
		out["@odata.nextLink"] = c.nextLink(q, rest[top-1].id())
	}
	value := []map[string]any{}
	for _, o := range rest {
		m := selected(o.members, q.Get("$select"))
		if !typed {
			delete(m, "@odata.type")
		}
		value = append(value, m)
	}
	out["value"] = value
	return c.answer(http.StatusOK, out)
}

func pageStart(all []object, token string) (int, error) {
	if token == "" {
		return 0, nil
	}
	bad := fault.New(fault.Invalid, "PageInvalid", "The specified page token is invalid or has expired.")
	id, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, bad
	}
	i := slices.IndexFunc(all, func(o object) bool { return o.id() == string(id) })
	if i < 0 {
		return 0, bad
	}
	return i + 1, nil
}

func (c *call) nextLink(q url.Values, last string) string {
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(last)))
	path := strings.TrimPrefix(c.r.URL.Path, "/")
	if _, rest, ok := strings.Cut(path, "/"); ok {
		path = rest
	}
	return c.root() + "/" + path + "?" + q.Encode()
}

// below serves what is below one object: credentials, references and group membership.
func (c *call) below(k *kind, id string) error {
	name := strings.ToLower(c.path[2])
	switch method := c.r.Method; {
	case len(c.path) == 3 && name == "addpassword" && method == http.MethodPost && holdsCredentials(k):
		return c.addPassword(id)
	case len(c.path) == 3 && name == "removepassword" && method == http.MethodPost && holdsCredentials(k):
		return c.removePassword(id)
	case len(c.path) == 3 && (name == "getmembergroups" || name == "getmemberobjects") && method == http.MethodPost:
		return c.memberGroups(id, nil)
	case len(c.path) == 3 && name == "checkmembergroups" && method == http.MethodPost:
		return c.checkMemberGroups(id)
	case len(c.path) == 3 && (name == "memberof" || name == "transitivememberof") && method == http.MethodGet:
		return c.memberOf(id)
	case len(c.path) == 3 && name == "federatedidentitycredentials" && method == http.MethodGet && k == applications:
		return c.page("federatedIdentityCredentials", nil, true)
	case name == string(directory.Owners) && k != users, name == string(directory.Members) && k == groups:
		return c.references(k, id, directory.Relation(name))
	}
	return unknownSegment(c.path[2])
}

func holdsCredentials(k *kind) bool { return k == applications || k == servicePrincipals }

func (c *call) addPassword(id string) error {
	var in struct {
		Credential struct {
			DisplayName string    `json:"displayName"`
			Start       time.Time `json:"startDateTime"`
			End         time.Time `json:"endDateTime"`
		} `json:"passwordCredential"`
	}
	if err := wire.ReadJSON(c.r, maxBody, &in); err != nil {
		return err
	}
	p, text, err := c.dir.AddPassword(c.ctx, c.caller, id, directory.PasswordSpec{DisplayName: in.Credential.DisplayName, Start: in.Credential.Start, End: in.Credential.End})
	if err != nil {
		return err
	}
	out := struct {
		Context string `json:"@odata.context"`
		passwordBody
	}{Context: c.root() + "/$metadata#microsoft.graph.passwordCredential", passwordBody: password(p)}
	out.Secret = &text
	return c.answer(http.StatusOK, out)
}

func (c *call) removePassword(id string) error {
	var in struct {
		KeyID string `json:"keyId"`
	}
	if err := wire.ReadJSON(c.r, maxBody, &in); err != nil {
		return err
	}
	if err := c.dir.RemovePassword(c.ctx, c.caller, id, in.KeyID); err != nil {
		return err
	}
	return c.noContent()
}
