package docdb

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// The modes of permissions.
const (
	modeRead = "Read"
	modeAll  = "All"
)

// opening is what a permission opens, fixed when the permission was stored: a container or a script that
// is made later under the same name is another one.
type opening struct {
	Container string `json:"container"`       // resource id
	Kind      string `json:"kind,omitempty"`  // docs, sprocs, triggers, udfs; "" for all of the container
	Child     string `json:"child,omitempty"` // id of the item, resource id of the script
}

// opening follows the link of a permission, which must lead to what is in the user's database.
func (r *session) opening(p place, body []byte) (*opening, error) {
	v, _ := jsonx.Find(body, "resource")
	link, err := parseLink(jsonx.Unquote(v))
	if err != nil {
		return nil, err
	}
	d, err := r.database(link.database)
	if err == nil && !bytes.Equal(be32(d.Number), p.id[:4]) {
		return nil, badRequest("The resource of a permission must be in the database of its user.")
	}
	if err != nil {
		return nil, err
	}
	id, err := r.containerKey(d, link.container)
	if err != nil {
		return nil, err
	}
	out := &opening{Container: id.rid(), Kind: link.kind, Child: link.child}
	switch link.kind {
	case "":
	case "docs":
		out.Child, err = r.itemOf(id, link.child)
	default:
		out.Child, err = r.scriptOf(id, link)
	}
	return out, err
}

// itemOf is the id of an item that a link names by id or by resource id. It need not be there.
func (r *session) itemOf(id containerID, name string) (string, error) {
	state, err := r.load(id)
	if err != nil {
		return "", err
	}
	state.life.RLock()
	defer state.life.RUnlock()
	return r.idOf(state, name)
}

func (r *session) scriptOf(id containerID, link link) (string, error) {
	for i := range resourceKinds {
		if k := &resourceKinds[i]; k.segment == link.kind {
			p := place{kind: k, id: id[:]}
			rec, err := r.resource(p, link.child)
			return p.rid(rec.Number), err
		}
	}
	return "", errMissing
}

// link is a link to a container or to one thing in it.
type link struct{ database, container, kind, child string }

// parseLink takes dbs/{d}/colls/{c}[/{kind}/{child}] apart. Names may be percent-encoded, as some clients
// build links from URLs.
func parseLink(s string) (link, error) {
	parts := strings.Split(strings.Trim(s, "/"), "/")
	for i, p := range parts {
		if name, err := url.PathUnescape(p); err == nil {
			parts[i] = name
		}
		if parts[i] == "" {
			return link{}, badLink()
		}
	}
	if len(parts) != 4 && len(parts) != 6 || parts[0] != "dbs" || parts[2] != "colls" {
		return link{}, badLink()
	}
	l := link{database: parts[1], container: parts[3]}
	if len(parts) == 4 {
		return l, nil
	}
	l.kind, l.child = parts[4], parts[5]
	switch l.kind {
	case "docs", "sprocs", "triggers", "udfs":
		return l, nil
	}
	return link{}, badLink()
}

func badLink() error {
	return badRequest("The property 'resource' of a permission must be the link of a container, an item, a stored procedure, a trigger or a user-defined function.")
}

// A resource token is type=resource&ver=1&sig={MAC};{claims};, both base64. The claims name the permission
// with its version and that of its user, so that a token is worth nothing as soon as either is replaced or
// deleted; what it opens is looked up at every use. Layout of the claims, big-endian:
//
//	0      version, 1
//	1-8    user: database number and user number
//	9-12   permission number
//	13-28  version of the user: the UUID of its etag
//	29-44  version of the permission
//	45-52  start, Unix seconds
//	53-60  end, Unix seconds, exclusive
//
// The MAC is HMAC-SHA256 of the claims under the account's secret for resource tokens.
const (
	claimsVersion = 1
	claimsSize    = 61
	tokenPrefix   = "type=resource&ver=1&sig="
)

// The life of a resource token.
const (
	usualTokenLife = time.Hour
	leastTokenLife = 10 * time.Minute
	mostTokenLife  = 24 * time.Hour
)

// claims is what a resource token says.
type claims struct {
	user              [8]byte
	permission        uint32
	userVersion       uuid.UUID
	permissionVersion uuid.UUID
	start, end        int64
}

func (c claims) encode() []byte {
	b := append([]byte{claimsVersion}, c.user[:]...)
	b = binary.BigEndian.AppendUint32(b, c.permission)
	b = append(append(b, c.userVersion[:]...), c.permissionVersion[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(c.start))
	return binary.BigEndian.AppendUint64(b, uint64(c.end))
}

func decodeClaims(b []byte) (c claims, ok bool) {
	if len(b) != claimsSize || b[0] != claimsVersion {
		return c, false
	}
	copy(c.user[:], b[1:])
	c.permission = binary.BigEndian.Uint32(b[9:])
	copy(c.userVersion[:], b[13:])
	copy(c.permissionVersion[:], b[29:])
	c.start, c.end = int64(binary.BigEndian.Uint64(b[45:])), int64(binary.BigEndian.Uint64(b[53:]))
	return c, true
}

// version128 is the UUID in an etag of ours.
func version128(etag string) (uuid.UUID, error) { return uuid.Parse(unquoted(etag)) }

// issue makes a token for a permission.
func (r *session) issue(p place, rec resourceRecord, life time.Duration) (string, error) {
	if life == 0 {
		life = usualTokenLife
	}
	if life < leastTokenLife || life > mostTokenLife {
		return "", badRequest("The life of a resource token must be between %d and %d seconds.", int(leastTokenLife/time.Second), int(mostTokenLife/time.Second))
	}
	c := claims{user: [8]byte(p.id), permission: rec.Number, start: r.now.Unix(), end: r.now.Add(life).Unix()}
	var errUser, errPermission error
	c.userVersion, errUser = version128(p.user.ETag)
	c.permissionVersion, errPermission = version128(rec.ETag)
	secret, err := r.secretAt(keyTokenSecret, &r.tokenSecret)
	if err := errors.Join(errUser, errPermission, err); err != nil {
		return "", err
	}
	b := c.encode()
	return tokenPrefix + base64.StdEncoding.EncodeToString(claimsMAC(secret, b)) + ";" + base64.StdEncoding.EncodeToString(b) + ";", nil
}

func claimsMAC(secret, claims []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write(claims)
	return m.Sum(nil)
}

// parseToken takes the signature of a resource token apart: {MAC};{claims};
func parseToken(sig string) (mac, raw []byte, c claims, ok bool) {
	first, rest, ok1 := strings.Cut(sig, ";")
	second, rest, ok2 := strings.Cut(rest, ";")
	mac, errMAC := base64.StdEncoding.Strict().DecodeString(first)
	raw, errRaw := base64.StdEncoding.Strict().DecodeString(second)
	if !ok1 || !ok2 || rest != "" || strings.ContainsAny(sig, "\r\n") || errMAC != nil || errRaw != nil || len(mac) != sha256.Size {
		return nil, nil, c, false
	}
	c, ok = decodeClaims(raw)
	return mac, raw, c, ok
}

// VerifyResourceToken returns the caller that the signature of a resource token proves: whoever holds the
// token, with what its permission opens at this moment.
func (s *Service) VerifyResourceToken(ctx context.Context, accountID, sig string) (principal.Caller, error) {
	mac, raw, claims, ok := parseToken(sig)
	if !ok {
		return principal.Caller{}, fault.New(fault.Unauthenticated, reasonMalformedToken, "The resource token in the authorization header is not well formed.")
	}
	a, release, err := s.acquire(ctx, accountID)
	if err != nil {
		return principal.Caller{}, err
	}
	defer release()
	secret, err := a.secretAt(keyTokenSecret, &a.tokenSecret)
	if err != nil {
		return principal.Caller{}, err
	}
	if !hmac.Equal(mac, claimsMAC(secret, raw)) {
		return principal.Caller{}, fault.New(fault.Unauthenticated, "ResourceTokenSignature",
			"The input authorization token can't serve the request. The resource token was not issued by this account.")
	}
	if err := claims.checkTime(s.cfg.Now()); err != nil {
		return principal.Caller{}, err
	}
	grant, err := a.grant(claims)
	if err != nil {
		return principal.Caller{}, err
	}
	return principal.Caller{Door: principal.AccountResourceToken, Account: accountID, Grant: grant}, nil
}

// checkTime refuses a token outside its life, in the service's words.
func (c claims) checkTime(now time.Time) error {
	if n := now.Unix(); n < c.end && n >= c.start-int64(leastTokenLife/time.Second) {
		return nil
	}
	shown := func(t time.Time) string { return t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	return fault.New(fault.Denied, "ResourceTokenExpired",
		"The authorization token is not valid at the current time. Please create another token and retry (token start time: %s, token expiry time: %s, current server time: %s).",
		shown(time.Unix(c.start, 0)), shown(time.Unix(c.end, 0)), shown(now))
}

// grant looks up what the permission opens, if it and its user are still those of the token.
func (a *account) grant(c claims) (*principal.Grant, error) {
	users := place{kind: kindOf(Users), id: c.user[:4]}
	permissions := place{kind: kindOf(Permissions), id: c.user[:]}
	user, err := record[resourceRecord](a.db, users.recordKey(binary.BigEndian.Uint32(c.user[4:])))
	if err == nil && user.ETag != etagOf(c.userVersion) {
		err = errMissing
	}
	var rec resourceRecord
	if err == nil {
		rec, err = record[resourceRecord](a.db, permissions.recordKey(c.permission))
	}
	if errors.Is(err, errMissing) || err == nil && (rec.ETag != etagOf(c.permissionVersion) || rec.Opens == nil) {
		return nil, insufficient().Because(errors.New("the permission of the token, or its user, was replaced or deleted"))
	}
	if err != nil {
		return nil, err
	}
	mode, _ := jsonx.Find(rec.Body, "permissionMode")
	g := &principal.Grant{Permission: permissions.rid(rec.Number), Container: rec.Opens.Container, Kind: rec.Opens.Kind, Child: rec.Opens.Child,
		Write: strings.EqualFold(jsonx.Unquote(mode), modeAll)}
	if k, ok := jsonx.Find(rec.Body, "resourcePartitionKey"); ok && k.Kind() != 'n' {
		g.PartitionKey = string(k)
	}
	return g, nil
}

func etagOf(id uuid.UUID) string { return `"` + id.String() + `"` }
