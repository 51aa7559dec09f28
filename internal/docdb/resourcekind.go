package docdb

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
)

// ResourceKind is a kind of resource beside items: it is stored and given back as it was sent.
type ResourceKind byte

// The kinds. Their letters stand in keys of the store.
const (
	Users                ResourceKind = 'u' // in a database
	ClientEncryptionKeys ResourceKind = 'k' // in a database: wrapped by clients, opaque here
	Permissions          ResourceKind = 'p' // in a user
	StoredProcedures     ResourceKind = 's' // in a container, like all scripts
	Triggers             ResourceKind = 't'
	Functions            ResourceKind = 'f' // user-defined functions
)

// resourceKind is what the kinds differ in.
type resourceKind struct {
	kind    ResourceKind
	segment string // in links
	scope   string // of its actions, below sqlDatabases/
	counter byte   // of its numbers
	nibble  byte   // in byte 15 of resource ids below a container; 0 for others
	check   func(o jsonx.Object) (jsonx.Object, error)
}

var resourceKinds = []resourceKind{
	{Users, "users", "users", 'u', 0, noMembers},
	{ClientEncryptionKeys, "clientencryptionkeys", "clientEncryptionKeys", 'u', 0, checkClientKey},
	{Permissions, "permissions", "users/permissions", 'p', 0, checkPermission},
	{StoredProcedures, "sprocs", "containers/storedProcedures", 's', 0x80, checkScript},
	{Triggers, "triggers", "containers/triggers", 's', 0x70, checkTrigger},
	{Functions, "udfs", "containers/userDefinedFunctions", 's', 0x60, checkScript},
}

func kindOf(kind ResourceKind) *resourceKind {
	i := slices.IndexFunc(resourceKinds, func(k resourceKind) bool { return k.kind == kind })
	if i < 0 {
		return nil
	}
	return &resourceKinds[i]
}

// The verbs of actions.
const (
	verbRead   = "read"
	verbWrite  = "write"
	verbDelete = "delete"
)

// actionReadPermission is reading a permission, which gives a token out.
const actionReadPermission = "sqlDatabases/users/permissions/read"

// action is what the authorizer is asked. What a client needs to know to work with a container or to
// encrypt for it is metadata; users and permissions are not.
func (k *resourceKind) action(verb string) string {
	if verb == verbRead && k.kind != Users && k.kind != Permissions {
		return "readMetadata"
	}
	return "sqlDatabases/" + k.scope + "/" + verb
}

// parse reads the body of a resource.
func (k *resourceKind) parse(body []byte) (resourceRecord, error) {
	if len(body) > maxDocument {
		return resourceRecord{}, fault.New(fault.TooLarge, "RequestEntityTooLarge", textTooLarge)
	}
	o, err := jsonx.Parse(body)
	if err != nil {
		return resourceRecord{}, invalidJSON(err)
	}
	rec := resourceRecord{Name: textOf(o, "id")}
	if err := k.required(o); err != nil {
		return rec, err
	}
	if err := checkName(rec.Name); err != nil {
		return rec, err
	}
	o, err = k.check(o.Without(func(name string) bool { return name == "id" || strings.HasPrefix(name, "_") }))
	rec.Body = []byte(o.Join())
	return rec, err
}

// members are the required ones of each kind; all are strings or objects.
func (k *resourceKind) members() []string {
	switch k.kind {
	case Permissions:
		return []string{"id", "permissionMode", "resource"}
	case StoredProcedures, Functions:
		return []string{"id", "body"}
	case Triggers:
		return []string{"id", "body", "triggerType", "triggerOperation"}
	case ClientEncryptionKeys:
		return []string{"id", "wrappedDataEncryptionKey", "keyWrapMetadata"}
	}
	return []string{"id"}
}

// required has the service's text, which names what is missing.
func (k *resourceKind) required(o jsonx.Object) error {
	missing := ""
	for _, name := range k.members() {
		if v, ok := o.Get(name); !ok || v.Kind() == 'n' || string(v) == `""` {
			missing += name + "; "
		}
	}
	if missing != "" {
		return badRequest("The input content is invalid because the required properties - '%s' - are missing", missing)
	}
	return nil
}

// textOf is the string that a member is, "" for anything else.
func textOf(o jsonx.Object, name string) string {
	v, _ := o.Get(name)
	if v.Kind() != '"' {
		return ""
	}
	return jsonx.Unquote(v)
}

func noMembers(jsonx.Object) (jsonx.Object, error) { return nil, nil }

func checkScript(o jsonx.Object) (jsonx.Object, error) {
	if textOf(o, "body") == "" {
		return nil, badRequest("The input content is invalid because the property 'body' must be a string.")
	}
	return o, nil
}

// checkTrigger writes the words of a trigger as the service does; clients use either case.
func checkTrigger(o jsonx.Object) (jsonx.Object, error) {
	o, err := checkScript(o)
	if err != nil {
		return nil, err
	}
	for name, words := range map[string][]string{
		"triggerType": {"Pre", "Post"}, "triggerOperation": {"All", "Create", "Update", "Delete", "Replace", "Upsert"},
	} {
		word, ok := oneOf(words, textOf(o, name))
		if !ok {
			return nil, badRequest("The input content is invalid because the property '%s' must be one of %s.", name, strings.Join(words, ", "))
		}
		o = o.Set(name, jsonx.Quote(word))
	}
	return o, nil
}

// oneOf finds a word without regard to case.
func oneOf(words []string, s string) (string, bool) {
	i := slices.IndexFunc(words, func(w string) bool { return strings.EqualFold(w, s) })
	if i < 0 {
		return "", false
	}
	return words[i], true
}

// checkPermission checks the mode and the form of the partition key; the link is followed when the
// permission is stored.
func checkPermission(o jsonx.Object) (jsonx.Object, error) {
	if _, ok := oneOf([]string{modeRead, modeAll}, textOf(o, "permissionMode")); !ok {
		return nil, badRequest("The input content is invalid because the property 'permissionMode' must be Read or All.")
	}
	if textOf(o, "resource") == "" {
		return nil, badRequest("The input content is invalid because the property 'resource' must be a link.")
	}
	if v, ok := o.Get("resourcePartitionKey"); ok && v.Kind() != 'n' {
		if _, err := ParsePartitionKey(string(v)); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func checkClientKey(o jsonx.Object) (jsonx.Object, error) {
	if _, err := base64.StdEncoding.DecodeString(textOf(o, "wrappedDataEncryptionKey")); err != nil || textOf(o, "wrappedDataEncryptionKey") == "" {
		return nil, badRequest("The input content is invalid because the property 'wrappedDataEncryptionKey' must be base64.")
	}
	if v, _ := o.Get("keyWrapMetadata"); v.Kind() != '{' {
		return nil, badRequest("The input content is invalid because the property 'keyWrapMetadata' must be an object.")
	}
	return o, nil
}
