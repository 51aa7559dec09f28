package graph

import (
	"context"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/directory"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// body is a request body: its members by name, in lower case of the name for what is interpreted.
type body map[string]jsontext.Value

// kind is one collection of objects.
type kind struct {
	name   string // in the words of addresses
	search map[string]bool
	list   func(c *call) ([]object, error)
	get    func(c *call, id string) (object, error)
	create func(c *call, b body) (object, error)
	update func(c *call, id string, b body) error
	remove func(*directory.Directory, context.Context, principal.Caller, string) error
}

// Members that are kept and given back without being interpreted, by kind.
var (
	keptApplication = []string{"api", "appRoles", "description", "groupMembershipClaims", "info", "notes", "optionalClaims", "publicClient",
		"requiredResourceAccess", "serviceManagementReference", "signInAudience", "spa", "tags", "web"}
	keptPrincipal = []string{"appRoleAssignmentRequired", "description", "homepage", "loginUrl", "notes", "replyUrls", "tags"}
	keptUser      = []string{"givenName", "jobTitle", "mail", "mailNickname", "mobilePhone", "officeLocation", "onPremisesImmutableId", "preferredLanguage", "surname", "usageLocation"}
	keptGroup     = []string{"description", "groupTypes", "mailEnabled", "mailNickname", "securityEnabled", "visibility"}
)

func searchable(names ...string) map[string]bool {
	m := map[string]bool{"id": true, "displayname": true}
	for _, n := range names {
		m[n] = true
	}
	return m
}

var applications = &kind{
	name: "applications", search: searchable("appid", "identifieruris", "signinaudience", "tags"),
	list: func(c *call) ([]object, error) {
		all, err := c.dir.Applications(c.ctx, c.caller)
		return objects(all, applicationObject), err
	},
	get: func(c *call, id string) (object, error) {
		return shaped(applicationObject)(c.dir.Application(c.ctx, c.caller, id))
	},
	create: func(c *call, b body) (object, error) {
		spec, err := applicationSpec(b)
		if err != nil {
			return object{}, err
		}
		return shaped(applicationObject)(c.dir.CreateApplication(c.ctx, c.caller, spec))
	},
	update: func(c *call, id string, b body) error {
		spec, err := applicationSpec(b)
		if err != nil {
			return err
		}
		return c.dir.UpdateApplication(c.ctx, c.caller, id, spec)
	},
	remove: (*directory.Directory).DeleteApplication,
}

var servicePrincipals = &kind{
	name: "servicePrincipals", search: searchable("appid", "serviceprincipalnames", "serviceprincipaltype", "alternativenames", "accountenabled", "appownerorganizationid", "tags"),
	list: func(c *call) ([]object, error) {
		all, err := c.dir.ServicePrincipals(c.ctx, c.caller)
		return objects(all, servicePrincipalObject), err
	},
	get: func(c *call, id string) (object, error) {
		return shaped(servicePrincipalObject)(c.dir.ServicePrincipal(c.ctx, c.caller, id))
	},
	create: func(c *call, b body) (object, error) {
		var appID string
		spec, err := principalSpec(b)
		if err == nil {
			err = b.read("appid", &appID)
		}
		if err != nil {
			return object{}, err
		}
		return shaped(servicePrincipalObject)(c.dir.CreateServicePrincipal(c.ctx, c.caller, appID, spec))
	},
	update: func(c *call, id string, b body) error {
		spec, err := principalSpec(b)
		if err != nil {
			return err
		}
		return c.dir.UpdateServicePrincipal(c.ctx, c.caller, id, spec)
	},
	remove: (*directory.Directory).DeleteServicePrincipal,
}

var users = &kind{
	name: "users", search: searchable("userprincipalname", "mail", "mailnickname", "accountenabled", "givenname", "surname", "usertype"),
	list: func(c *call) ([]object, error) {
		all, err := c.dir.Users(c.ctx, c.caller)
		return objects(all, userObject), err
	},
	get: func(c *call, id string) (object, error) {
		return shaped(userObject)(c.dir.User(c.ctx, c.caller, id))
	},
	create: func(c *call, b body) (object, error) {
		spec, err := userSpec(b)
		if err != nil {
			return object{}, err
		}
		return shaped(userObject)(c.dir.CreateUser(c.ctx, c.caller, spec))
	},
	update: func(c *call, id string, b body) error {
		spec, err := userSpec(b)
		if err != nil {
			return err
		}
		return c.dir.UpdateUser(c.ctx, c.caller, id, spec)
	},
	remove: (*directory.Directory).DeleteUser,
}

var groups = &kind{
	name: "groups", search: searchable("mailnickname", "mail", "mailenabled", "securityenabled", "description"),
	list: func(c *call) ([]object, error) {
		all, err := c.dir.Groups(c.ctx, c.caller)
		return objects(all, groupObject), err
	},
	get: func(c *call, id string) (object, error) {
		return shaped(groupObject)(c.dir.Group(c.ctx, c.caller, id))
	},
	create: func(c *call, b body) (object, error) {
		spec, err := groupSpec(b)
		if err != nil {
			return object{}, err
		}
		return shaped(groupObject)(c.dir.CreateGroup(c.ctx, c.caller, spec))
	},
	update: func(c *call, id string, b body) error {
		spec, err := groupSpec(b)
		if err != nil {
			return err
		}
		return c.dir.UpdateGroup(c.ctx, c.caller, id, spec)
	},
	remove: (*directory.Directory).DeleteGroup,
}

func objects[T any](all []*T, shape func(*T) object) []object {
	out := []object{}
	for _, x := range all {
		out = append(out, shape(x))
	}
	return out
}

// shaped lifts a shape over the answer of the directory.
func shaped[T any](shape func(*T) object) func(*T, error) (object, error) {
	return func(x *T, err error) (object, error) {
		if err != nil {
			return object{}, err
		}
		return shape(x), nil
	}
}

func badRequest(format string, args ...any) error {
	return fault.New(fault.Invalid, "BadRequest", format, args...)
}

// read decodes a member, if it is there and not null.
func (b body) read(name string, v any) error {
	raw, ok := b[name]
	if !ok || string(raw) == "null" {
		return nil
	}
	if err := json.Unmarshal(raw, v, json.MatchCaseInsensitiveNames(true)); err != nil {
		return badRequest("Invalid value specified for property '%s'.", name)
	}
	return nil
}

// readAll decodes members in pairs of name and target.
func (b body) readAll(pairs map[string]any) error {
	for name, v := range pairs {
		if err := b.read(name, v); err != nil {
			return err
		}
	}
	return nil
}

// kept picks the members that are kept as they are.
func (b body) kept(names []string) directory.Properties {
	p := directory.Properties{}
	for _, n := range names {
		if raw, ok := b[strings.ToLower(n)]; ok {
			p[n] = []byte(raw)
		}
	}
	return p
}

func applicationSpec(b body) (directory.ApplicationSpec, error) {
	s := directory.ApplicationSpec{Properties: b.kept(keptApplication)}
	var certificates *[]keyBody
	err := b.readAll(map[string]any{
		"displayname": &s.DisplayName, "identifieruris": &s.IdentifierURIs, "isfallbackpublicclient": &s.PublicClient, "keycredentials": &certificates,
	})
	if err != nil || certificates == nil {
		return s, err
	}
	k, err := credentials(*certificates)
	s.Keys = &k
	return s, err
}

func principalSpec(b body) (directory.PrincipalSpec, error) {
	s := directory.PrincipalSpec{Properties: b.kept(keptPrincipal)}
	return s, b.read("accountenabled", &s.Enabled)
}

func userSpec(b body) (directory.UserSpec, error) {
	s := directory.UserSpec{Properties: b.kept(keptUser)}
	var profile struct {
		Password *string `json:"password"`
	}
	err := b.readAll(map[string]any{
		"userprincipalname": &s.Name, "displayname": &s.DisplayName, "accountenabled": &s.Enabled, "passwordprofile": &profile,
	})
	s.Password = profile.Password
	return s, err
}

func groupSpec(b body) (directory.GroupSpec, error) {
	s := directory.GroupSpec{Properties: b.kept(keptGroup)}
	return s, b.read("displayname", &s.DisplayName)
}

// jsonTexts returns the texts of a kept member that searches compare.
func jsonTexts(v jsontext.Value) []string {
	var decoded any
	if json.Unmarshal(v, &decoded) != nil {
		return nil
	}
	l, ok := decoded.([]any)
	if !ok {
		return texts(decoded)
	}
	var out []string
	for _, x := range l {
		out = append(out, texts(x)...)
	}
	return out
}
