package keyvault

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault"
	"github.com/latchkey-db/latchkey/internal/vault/material"
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
	if len(s) == len("7.x") && s[:2] == "7." && '0' <= s[2] && s[2] <= '6' { // what clients send, without a regular expression
		return apiVersion(s[2] - '0'), nil
	}
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
	handle  handler
	name    string
	version string // "" for the current one
}

// endpoint is a method and the form of a path. Words match in any case; {n} is a name; {v} is a version,
// which may be empty, and at the end missing too.
type endpoint struct {
	method, path string
	handle       handler
}

// endpoints are tried in order: words before versions.
var endpoints = indexed([]endpoint{
	{"GET", "keys", listKeys},
	{"POST", "keys/restore", restoreKey},
	{"PUT", "keys/{n}", importKey},
	{"DELETE", "keys/{n}", deleteKey},
	{"GET", "keys/{n}/versions", listVersions},
	{"POST", "keys/{n}/create", createKey},
	{"POST", "keys/{n}/rotate", rotateKey},
	{"POST", "keys/{n}/backup", backUpKey},
	{"GET", "keys/{n}/rotationpolicy", getRotationPolicy},
	{"PUT", "keys/{n}/rotationpolicy", setRotationPolicy},
	{"GET", "keys/{n}/attestation", getAttestation}, {"GET", "keys/{n}/{v}/attestation", getAttestation},
	{"POST", "keys/{n}/encrypt", crypt(material.Encrypt)}, {"POST", "keys/{n}/{v}/encrypt", crypt(material.Encrypt)},
	{"POST", "keys/{n}/decrypt", crypt(material.Decrypt)}, {"POST", "keys/{n}/{v}/decrypt", crypt(material.Decrypt)},
	{"POST", "keys/{n}/wrapkey", crypt(material.Wrap)}, {"POST", "keys/{n}/{v}/wrapkey", crypt(material.Wrap)},
	{"POST", "keys/{n}/unwrapkey", crypt(material.Unwrap)}, {"POST", "keys/{n}/{v}/unwrapkey", crypt(material.Unwrap)},
	{"POST", "keys/{n}/sign", crypt(material.Sign)}, {"POST", "keys/{n}/{v}/sign", crypt(material.Sign)},
	{"POST", "keys/{n}/verify", crypt(material.Verify)}, {"POST", "keys/{n}/{v}/verify", crypt(material.Verify)},
	{"POST", "keys/{n}/release", releaseKey}, {"POST", "keys/{n}/{v}/release", releaseKey},
	{"GET", "keys/{n}/{v}", getKey},
	{"PATCH", "keys/{n}/{v}", updateKey},
	{"GET", "deletedkeys", listDeleted},
	{"GET", "deletedkeys/{n}", getDeleted},
	{"DELETE", "deletedkeys/{n}", purgeKey},
	{"POST", "deletedkeys/{n}/recover", recoverKey},
	{"POST", "rng", randomBytes},

	{"GET", "secrets", listSecrets},
	{"POST", "secrets/restore", restoreSecret},
	{"PUT", "secrets/{n}", setSecret},
	{"DELETE", "secrets/{n}", deleteSecret},
	{"GET", "secrets/{n}/versions", listSecretVersions},
	{"POST", "secrets/{n}/backup", backUpSecret},
	{"GET", "secrets/{n}/{v}", getSecret},
	{"PATCH", "secrets/{n}/{v}", updateSecret},
	{"GET", "deletedsecrets", listDeletedSecrets},
	{"GET", "deletedsecrets/{n}", getDeletedSecret},
	{"DELETE", "deletedsecrets/{n}", purgeSecret},
	{"POST", "deletedsecrets/{n}/recover", recoverSecret},

	{"GET", "certificates", listCertificates},
	{"POST", "certificates/restore", restoreCertificate},
	{"GET", "certificates/contacts", getContacts},
	{"PUT", "certificates/contacts", setContacts},
	{"DELETE", "certificates/contacts", deleteContacts},
	{"GET", "certificates/issuers", listIssuers},
	{"GET", "certificates/issuers/{n}", getIssuer},
	{"PUT", "certificates/issuers/{n}", setIssuer},
	{"PATCH", "certificates/issuers/{n}", updateIssuer},
	{"DELETE", "certificates/issuers/{n}", deleteIssuer},
	{"POST", "certificates/{n}/create", createCertificate},
	{"POST", "certificates/{n}/import", importCertificate},
	{"DELETE", "certificates/{n}", deleteCertificate},
	{"GET", "certificates/{n}/versions", listCertificateVersions},
	{"POST", "certificates/{n}/backup", backUpCertificate},
	{"GET", "certificates/{n}/policy", getCertPolicy},
	{"PATCH", "certificates/{n}/policy", setCertPolicy},
	{"GET", "certificates/{n}/pending", getPending},
	{"PATCH", "certificates/{n}/pending", updatePending},
	{"DELETE", "certificates/{n}/pending", deletePending},
	{"POST", "certificates/{n}/pending/merge", mergeCertificate},
	{"GET", "certificates/{n}/{v}", getCertificate},
	{"PATCH", "certificates/{n}/{v}", updateCertificate},
	{"GET", "deletedcertificates", listDeletedCertificates},
	{"GET", "deletedcertificates/{n}", getDeletedCertificate},
	{"DELETE", "deletedcertificates/{n}", purgeCertificate},
	{"POST", "deletedcertificates/{n}/recover", recoverCertificate},
})

// notHeld are the collections of the service that this server does not hold.
var notHeld = map[string]bool{"storage": true, "deletedstorage": true}

// pattern is an endpoint with its path in segments.
type pattern struct {
	segments []string
	handle   handler
}

// place is where endpoints are looked up: the method and the first segment.
type place struct{ method, collection string }

func indexed(list []endpoint) map[place][]pattern {
	m := map[place][]pattern{}
	for _, e := range list {
		segments := strings.Split(e.path, "/")
		p := place{e.method, segments[0]}
		m[p] = append(m[p], pattern{segments, e.handle})
	}
	return m
}

// The places in a path that are no words.
const (
	nameSegment    = "{n}"
	versionSegment = "{v}"
)

// maxSegments is more than any path has.
const maxSegments = 8

// parseRoute finds what a path asks for. Leading and trailing slashes do not count; an empty segment
// between two others is the current version.
func parseRoute(method, path string) (route, error) {
	parts := strings.SplitN(strings.Trim(path, "/"), "/", maxSegments)
	collection := strings.ToLower(parts[0])
	for _, p := range endpoints[place{method, collection}] {
		if rt, ok := p.match(parts); ok {
			return rt, nil
		}
	}
	if notHeld[collection] {
		return route{handle: notOffered}, nil
	}
	return route{}, fault.New(fault.NotFound, "NotFound", "The method %s is not served at this path.", bounded(method))
}

func (p pattern) match(parts []string) (route, bool) {
	rt := route{handle: p.handle}
	if len(parts) > len(p.segments) {
		return rt, false
	}
	for i, want := range p.segments {
		switch {
		case i == len(parts):
			return rt, want == versionSegment // nothing follows a version that is missing
		case want == nameSegment:
			rt.name = parts[i]
			if rt.name == "" {
				return rt, false
			}
		case want == versionSegment:
			rt.version = parts[i]
		case !strings.EqualFold(want, parts[i]):
			return rt, false
		}
	}
	return rt, true
}
