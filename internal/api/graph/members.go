package graph

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// jsonValue is a raw JSON value.
type jsonValue = jsontext.Value

// maxIDs is the most ids that getByIds takes.
const maxIDs = 1000

// references serves …/owners and …/members: the list, POST …/$ref and DELETE …/{id}/$ref.
func (c *call) references(k *kind, id string, r directory.Relation) error {
	tail := c.path[3:]
	switch method := c.r.Method; {
	case len(tail) == 0 && method == http.MethodGet:
		return c.listReferences(id, r)
	case len(tail) == 1 && tail[0] == "$ref" && method == http.MethodPost:
		target, err := c.referenceTarget()
		if err != nil {
			return err
		}
		return c.done(c.dir.AddReference(c.ctx, c.caller, id, r, target))
	case len(tail) == 2 && tail[1] == "$ref" && method == http.MethodDelete:
		return c.done(c.dir.RemoveReference(c.ctx, c.caller, id, r, strings.ToLower(tail[0])))
	}
	return methodNotAllowed(c.r.Method)
}

func (c *call) done(err error) error {
	if err != nil {
		return err
	}
	return c.noContent()
}

func (c *call) listReferences(id string, r directory.Relation) error {
	ids, err := c.dir.References(c.ctx, c.caller, id, r)
	if err != nil {
		return err
	}
	return c.page("directoryObjects", c.find(ids), true)
}

// referenceTarget reads {"@odata.id": ".../{collection}/{id}"}.
func (c *call) referenceTarget() (string, error) {
	var in struct {
		ID string `json:"@odata.id"`
	}
	if err := wire.ReadJSON(c.r, maxBody, &in); err != nil {
		return "", err
	}
	id := in.ID[strings.LastIndexByte(in.ID, '/')+1:]
	if id == "" {
		return "", badRequest("Invalid URL format specified in payload.")
	}
	return strings.ToLower(id), nil
}

// find returns the objects of any kind with the given ids; ids without an object are left out.
func (c *call) find(ids []string) []object {
	out := []object{}
	for _, id := range ids {
		for _, k := range []*kind{servicePrincipals, users, groups, applications} {
			if o, err := k.get(c, id); err == nil {
				out = append(out, o)
				break
			}
		}
	}
	return out
}

func (c *call) directoryObjects() error {
	switch {
	case len(c.path) == 2 && strings.EqualFold(c.path[1], "getByIds") && c.r.Method == http.MethodPost:
		return c.getByIDs()
	case len(c.path) == 2 && c.r.Method == http.MethodGet:
		found := c.find([]string{strings.ToLower(c.path[1])})
		if len(found) == 0 {
			return fault.New(fault.NotFound, "ResourceNotFound", "Resource '%s' does not exist or one of its queried reference-property objects are not present.", printable(c.path[1]))
		}
		return c.answer(http.StatusOK, found[0].members)
	case len(c.path) == 3 && c.r.Method == http.MethodPost && strings.EqualFold(c.path[2], "checkMemberGroups"):
		return c.checkMemberGroups(strings.ToLower(c.path[1]))
	case len(c.path) == 3 && c.r.Method == http.MethodPost && strings.EqualFold(c.path[2], "getMemberGroups"):
		return c.memberGroups(strings.ToLower(c.path[1]), nil)
	}
	return unknownSegment(c.path[len(c.path)-1])
}

func (c *call) getByIDs() error {
	var in struct {
		IDs   []string `json:"ids"`
		Types []string `json:"types"`
	}
	if err := wire.ReadJSON(c.r, maxBody, &in); err != nil {
		return err
	}
	if len(in.IDs) > maxIDs {
		return badRequest("Too many ids: at most %d are allowed.", maxIDs)
	}
	for i := range in.IDs {
		in.IDs[i] = strings.ToLower(in.IDs[i])
	}
	found := slices.DeleteFunc(c.find(in.IDs), func(o object) bool { return len(in.Types) > 0 && !hasType(o, in.Types) })
	// Nobody follows pages here: all that was asked for is in one answer.
	value := []map[string]any{}
	for _, o := range found {
		value = append(value, o.members)
	}
	return c.answer(http.StatusOK, map[string]any{"@odata.context": c.root() + "/$metadata#directoryObjects", "value": value})
}

func hasType(o object, types []string) bool {
	t, _ := o.members["@odata.type"].(string)
	t = strings.TrimPrefix(t, "#microsoft.graph.")
	return slices.ContainsFunc(types, func(x string) bool { return strings.EqualFold(x, t) || strings.EqualFold(x, "directoryObject") })
}

// memberGroups answers with the groups of an object, of those in only when only is not nil.
func (c *call) memberGroups(id string, only []string) error {
	ids, err := c.dir.MemberOf(c.ctx, c.caller, id)
	if err != nil {
		return err
	}
	if only != nil {
		ids = slices.DeleteFunc(ids, func(x string) bool { return !slices.Contains(only, x) })
	}
	return c.answer(http.StatusOK, map[string]any{"@odata.context": c.root() + "/$metadata#Collection(Edm.String)", "value": list(ids)})
}

func (c *call) checkMemberGroups(id string) error {
	in := struct {
		IDs []string `json:"groupIds"`
	}{IDs: []string{}}
	if err := wire.ReadJSON(c.r, maxBody, &in); err != nil {
		return err
	}
	return c.memberGroups(id, list(in.IDs))
}

func (c *call) memberOf(id string) error {
	ids, err := c.dir.MemberOf(c.ctx, c.caller, id)
	if err != nil {
		return err
	}
	return c.page("directoryObjects", c.find(ids), true)
}

// me serves /me for users. Applications get the refusal that clients know to read.
func (c *call) me() error {
	switch {
	case c.caller.Kind != principal.User:
		return fault.New(fault.Invalid, "NotDelegated", "/me request is only valid with delegated authentication flow.")
	case c.r.Method != http.MethodGet && len(c.path) < 3:
		return methodNotAllowed(c.r.Method)
	case len(c.path) == 1:
		return c.one(users, c.caller.ObjectID)
	case len(c.path) == 2 && strings.EqualFold(c.path[1], "ownedObjects"):
		return c.ownedObjects()
	case len(c.path) == 2 && strings.EqualFold(c.path[1], "memberOf"):
		return c.memberOf(c.caller.ObjectID)
	}
	return unknownSegment(c.path[len(c.path)-1])
}

func (c *call) ownedObjects() error {
	owned := []object{}
	for _, k := range []*kind{applications, servicePrincipals, groups} {
		all, err := k.list(c)
		if err != nil {
			return err
		}
		for _, o := range all {
			owners, err := c.dir.References(c.ctx, c.caller, o.id(), directory.Owners)
			if err == nil && slices.Contains(owners, c.caller.ObjectID) {
				owned = append(owned, o)
			}
		}
	}
	return c.page("directoryObjects", owned, true)
}

func (c *call) organization() error {
	if c.r.Method != http.MethodGet {
		return methodNotAllowed(c.r.Method)
	}
	t := c.dir.Tenant()
	return c.answer(http.StatusOK, map[string]any{
		"@odata.context": c.root() + "/$metadata#organization",
		"value": []map[string]any{{
			"id": t.ID, "objectId": t.ID, "displayName": t.DisplayName, "tenantType": "AAD", "createdDateTime": date(t.Created),
			"verifiedDomains": []map[string]any{{"name": t.DefaultDomain, "isDefault": true, "isInitial": true, "type": "Managed", "capabilities": ""}},
		}},
	})
}

// permissionGrants: there are none, because every application of the tenant may ask for every
// resource, and the resource decides.
func (c *call) permissionGrants() error {
	if c.r.Method == http.MethodGet && len(c.path) == 1 {
		return c.page("oauth2PermissionGrants", nil, false)
	}
	return fault.New(fault.NotImplemented, "NotSupported", "Delegated permission grants are not kept by this server.")
}
