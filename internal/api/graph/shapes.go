package graph

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/latchkey-db/latchkey/internal/directory"
)

// object is the wire form of a directory object. aliases are further values of displayName that
// searches find and answers do not show.
type object struct {
	members map[string]any
	aliases []string
}

// newObject starts with what all objects have, and with the members that are only kept.
func newObject(kind, id, name string, created time.Time, p directory.Properties) map[string]any {
	m := map[string]any{}
	for k, v := range p {
		m[k] = jsontext.Value(v)
	}
	m["@odata.type"] = "#microsoft.graph." + kind
	m["id"], m["objectId"], m["displayName"] = id, id, name
	m["createdDateTime"], m["deletedDateTime"] = date(created), nil
	return m
}

func date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// list never encodes as null.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

// setDefault adds members that have not been set.
func setDefault(m map[string]any, defaults map[string]any) {
	for k, v := range defaults {
		if _, ok := m[k]; !ok {
			m[k] = v
		}
	}
}

func applicationObject(a *directory.Application) object {
	m := newObject("application", a.ID, a.DisplayName, a.Created, a.Properties)
	m["appId"], m["identifierUris"] = a.AppID, list(a.IdentifierURIs)
	m["isFallbackPublicClient"] = a.PublicClient
	m["passwordCredentials"], m["keyCredentials"] = passwords(a.Passwords), keys(a.Keys)
	setDefault(m, map[string]any{
		"signInAudience": "AzureADMyOrg", "publisherDomain": "latchkey.localhost", "tags": []string{}, "appRoles": []string{},
		"requiredResourceAccess": []string{}, "api": map[string]any{"oauth2PermissionScopes": []string{}},
		"web": map[string]any{"redirectUris": []string{}}, "publicClient": map[string]any{"redirectUris": []string{}},
		"spa": map[string]any{"redirectUris": []string{}},
	})
	return object{members: m}
}

func servicePrincipalObject(p *directory.ServicePrincipal) object {
	m := newObject("servicePrincipal", p.ID, p.DisplayName, p.Created, p.Properties)
	m["appId"], m["appDisplayName"], m["accountEnabled"] = p.AppID, p.DisplayName, !p.Disabled
	m["servicePrincipalNames"], m["servicePrincipalType"] = list(p.Names), p.Type
	m["alternativeNames"], m["appOwnerOrganizationId"] = list(p.AlternativeNames), p.OwnerTenant
	m["passwordCredentials"], m["keyCredentials"] = passwords(p.Passwords), keys(p.Keys)
	scopes := []map[string]any{}
	if p.FirstParty {
		m["signInAudience"] = "AzureADMultipleOrgs"
		scopes = append(scopes, map[string]any{"id": "8741c20d-e8c0-41ff-8adf-b7b9ba168197", "value": "user_impersonation", "type": "User", "isEnabled": true})
	}
	setDefault(m, map[string]any{
		"oauth2PermissionScopes": scopes, "appRoles": []string{}, "tags": []string{}, "signInAudience": "AzureADMyOrg",
		"appRoleAssignmentRequired": false, "homepage": nil, "replyUrls": []string{},
	})
	return object{members: m, aliases: p.Aliases}
}

func userObject(u *directory.User) object {
	m := newObject("user", u.ID, u.DisplayName, u.Created, u.Properties)
	m["userPrincipalName"], m["accountEnabled"] = u.Name, !u.Disabled
	local, _, _ := strings.Cut(u.Name, "@")
	setDefault(m, map[string]any{
		"mail": nil, "mailNickname": local, "givenName": nil, "surname": nil, "jobTitle": nil, "businessPhones": []string{},
		"mobilePhone": nil, "officeLocation": nil, "preferredLanguage": nil, "userType": "Member",
	})
	return object{members: m}
}

func groupObject(g *directory.Group) object {
	m := newObject("group", g.ID, g.DisplayName, g.Created, g.Properties)
	setDefault(m, map[string]any{
		"description": nil, "groupTypes": []string{}, "mail": nil, "mailEnabled": false, "mailNickname": g.DisplayName, "securityEnabled": true,
	})
	return object{members: m}
}

type passwordBody struct {
	KeyID       string  `json:"keyId"`
	DisplayName *string `json:"displayName"`
	Hint        string  `json:"hint"`
	Start       string  `json:"startDateTime"`
	End         string  `json:"endDateTime"`
	Secret      *string `json:"secretText"`
	Identifier  *string `json:"customKeyIdentifier"`
}

func password(p directory.PasswordCredential) passwordBody {
	b := passwordBody{KeyID: p.KeyID, Hint: p.Hint, Start: date(p.Start), End: date(p.End)}
	if p.DisplayName != "" {
		b.DisplayName = &p.DisplayName
	}
	return b
}

func passwords(all []directory.PasswordCredential) []passwordBody {
	out := []passwordBody{}
	for _, p := range all {
		out = append(out, password(p))
	}
	return out
}

type keyBody struct {
	KeyID       string    `json:"keyId"`
	DisplayName string    `json:"displayName"`
	Type        string    `json:"type"`
	Usage       string    `json:"usage"`
	Key         *string   `json:"key"` // base64 DER when written; never shown
	Start       time.Time `json:"startDateTime"`
	End         time.Time `json:"endDateTime"`
	Identifier  string    `json:"customKeyIdentifier"`
}

func keys(all []directory.KeyCredential) []keyBody {
	out := []keyBody{}
	for _, k := range all {
		out = append(out, keyBody{KeyID: k.KeyID, DisplayName: k.DisplayName, Type: k.Type, Usage: k.Usage, Start: k.Start, End: k.End, Identifier: k.Thumbprint})
	}
	return out
}

// credentials reads certificates as clients write them.
func credentials(all []keyBody) ([]directory.KeyCredential, error) {
	out := []directory.KeyCredential{}
	for _, k := range all {
		c := directory.KeyCredential{KeyID: strings.ToLower(k.KeyID), DisplayName: k.DisplayName, Type: k.Type, Usage: k.Usage, Start: k.Start, End: k.End}
		if k.Key != nil {
			der, err := base64.StdEncoding.DecodeString(*k.Key)
			if err != nil {
				return nil, badRequest("Key credential value is not base64.")
			}
			c.Certificate = der
		}
		out = append(out, c)
	}
	return out, nil
}

// values returns what a search compares for one property.
func (o object) values(property string) []string {
	for name, v := range o.members {
		if strings.EqualFold(name, property) {
			out := texts(v)
			if property == "displayname" {
				out = append(out, o.aliases...)
			}
			return out
		}
	}
	return nil
}

func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case bool:
		if v {
			return []string{"true"}
		}
		return []string{"false"}
	case []string:
		return v
	case jsontext.Value:
		return jsonTexts(v)
	}
	return nil
}
