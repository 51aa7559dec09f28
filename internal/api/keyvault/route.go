package keyvault

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// apiVersion is a version of the protocol as a number: the minor version of 7.x, dated for later ones.
type apiVersion int

// dated stands for the versions that are named by a date; they have everything that 7.6 has.
const dated apiVersion = 100

// firstDated is the oldest version that is named by a date.
const firstDated = "2025-07-01"

var (
	minorVersion = regexp.MustCompile(`^7\.([0-6])(-preview(\.\d+)?)?$`)
	datedVersion = regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})(-preview(\.\d+)?)?$`)
)

// parseVersion accepts 7.0 to 7.6, their previews, and every dated version from the first on.
func parseVersion(s string) (apiVersion, error) {
	if m := minorVersion.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		return apiVersion(n), err
	}
	if m := datedVersion.FindStringSubmatch(s); m != nil && m[1] >= firstDated {
		return dated, nil
	}
	if s == "" {
		return 0, fault.New(fault.Invalid, "BadParameter", "The api-version query parameter is required for all requests.")
	}
	return 0, fault.New(fault.Invalid, "BadParameter", "The specified version (%s) is not recognized. Consider using the latest supported version (%s).", bounded(s), firstDated)
}

// handler serves one kind of request: a status, and a body or nil.
type handler func(*vault.Service, *exchange) (status int, body any, err error)

// route is a parsed path with its handler.
type route struct {
	handle    handler
	name      string
	version   string // "" for the current one
	operation vault.Operation
}

// verb is a method and a word of a path in lower case.
type verb struct{ method, word string }

// Handlers by the number and kind of segments. cryptographic operations stand beside.
var (
	keyHandlers = map[string]handler{ // /keys/{name}
		"PUT": importKey, "DELETE": deleteKey, "GET": getKey, "PATCH": updateKey,
	}
	versionHandlers = map[string]handler{"GET": getKey, "PATCH": updateKey} // /keys/{name}/{version}
	wordHandlers    = map[verb]handler{                                     // /keys/{name}/{word}
		{"GET", "versions"}: listVersions, {"POST", "create"}: createKey, {"POST", "rotate"}: rotateKey,
		{"POST", "backup"}: notOffered, {"POST", "release"}: notOffered,
		{"GET", "rotationpolicy"}: getRotationPolicy, {"PUT", "rotationpolicy"}: setRotationPolicy,
	}
	deletedHandlers = map[string]handler{"GET": getDeleted, "DELETE": purgeKey} // /deletedkeys/{name}
	operations      = map[string]vault.Operation{
		"encrypt": vault.Encrypt, "decrypt": vault.Decrypt, "wrapkey": vault.Wrap, "unwrapkey": vault.Unwrap,
		"sign": vault.Sign, "verify": vault.Verify,
	}
	// words are the second segments below a key's name that are no versions.
	words = map[string]bool{"versions": true, "create": true, "rotate": true, "backup": true, "rotationpolicy": true, "release": true}
	// later are the collections of the service that this server does not hold.
	later = map[string]bool{"secrets": true, "deletedsecrets": true, "certificates": true, "deletedcertificates": true,
		"storage": true, "deletedstorage": true, "rng": true}
)

// parseRoute finds what a path asks for. Segments are kept empty where they are: an empty version is
// the current one.
func parseRoute(method, path string) (route, error) {
	parts := strings.Split(strings.TrimLeft(path, "/"), "/")
	collection, rest := strings.ToLower(parts[0]), parts[1:]
	for len(rest) > 0 && rest[len(rest)-1] == "" && len(rest) != 2 {
		rest = rest[:len(rest)-1] // a trailing slash, but not the empty version of /keys/{name}/
	}
	var rt route
	switch {
	case collection == "keys":
		rt = keyRoute(method, rest)
	case collection == "deletedkeys":
		rt = deletedRoute(method, rest)
	case collection == "certificates" && method == "GET" && len(rest) > 0 && strings.EqualFold(rest[0], "contacts"):
		rt.handle = noContacts
	case later[collection]:
		rt.handle = notOffered
	}
	if rt.handle == nil {
		return rt, fault.New(fault.NotFound, "NotFound", "The method %s is not served at this path.", method)
	}
	return rt, nil
}

// keyRoute parses what follows /keys.
func keyRoute(method string, rest []string) route {
	switch len(rest) {
	case 0:
		if method == "GET" {
			return route{handle: listKeys}
		}
	case 1:
		if method == "POST" && strings.EqualFold(rest[0], "restore") {
			return route{handle: notOffered}
		}
		return route{handle: keyHandlers[method], name: rest[0]}
	case 2:
		return wordRoute(method, rest[0], rest[1])
	case 3:
		if op, ok := operations[strings.ToLower(rest[2])]; ok && method == "POST" {
			return route{handle: crypt, name: rest[0], version: rest[1], operation: op}
		}
		if w := strings.ToLower(rest[2]); w == "release" || w == "attestation" {
			return route{handle: notOffered}
		}
	}
	return route{}
}

// wordRoute parses /keys/{name}/{second}: a word, an operation with the current version, or a version.
func wordRoute(method, name, second string) route {
	word := strings.ToLower(second)
	if op, ok := operations[word]; ok && method == "POST" {
		return route{handle: crypt, name: name, operation: op}
	}
	if words[word] {
		return route{handle: wordHandlers[verb{method, word}], name: name}
	}
	return route{handle: versionHandlers[method], name: name, version: second}
}

// deletedRoute parses what follows /deletedkeys.
func deletedRoute(method string, rest []string) route {
	if len(rest) == 2 && rest[1] == "" {
		rest = rest[:1]
	}
	switch {
	case len(rest) == 0 && method == "GET":
		return route{handle: listDeleted}
	case len(rest) == 1:
		return route{handle: deletedHandlers[method], name: rest[0]}
	case len(rest) == 2 && method == "POST" && strings.EqualFold(rest[1], "recover"):
		return route{handle: recoverKey, name: rest[0]}
	}
	return route{}
}
