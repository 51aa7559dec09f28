package keyvault

import (
	"encoding/base64"
	"strings"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/vault"
)

// b64 is the protocol's binary form: base64url without padding.
var b64 = base64.RawURLEncoding

func decode64(s string) ([]byte, bool) {
	raw, err := b64.DecodeString(strings.TrimRight(s, "="))
	return raw, err == nil
}

func badParameter(format string, args ...any) error {
	return fault.New(fault.Invalid, "BadParameter", format, args...)
}

// attributesIn are the attributes that a caller may set; times are Unix seconds.
type attributesIn struct {
	Enabled    *bool  `json:"enabled"`
	NotBefore  *int64 `json:"nbf"`
	Expires    *int64 `json:"exp"`
	Exportable *bool  `json:"exportable"`
}

// changeIn are the members that every object's body may have.
type changeIn struct {
	Attributes *attributesIn     `json:"attributes"`
	Tags       map[string]string `json:"tags"`
}

func (c changeIn) change() vault.Change {
	out := vault.Change{Tags: c.Tags}
	if a := c.Attributes; a != nil {
		out.Enabled, out.NotBefore, out.Expires = a.Enabled, a.NotBefore, a.Expires
	}
	return out
}

// blobJSON is a backup in both directions.
type blobJSON struct {
	Value string `json:"value"`
}

// blob reads a backup; what is no base64url is no backup.
func (x *exchange) blob() ([]byte, error) {
	var in blobJSON
	if err := wire.ReadJSON(x.r, blobLimit, &in); err != nil {
		return nil, err
	}
	if raw, ok := decode64(in.Value); ok {
		return raw, nil
	}
	return nil, fault.New(fault.Invalid, vault.ReasonMalformedBackup, "Backup blob is corrupt.")
}

// blobLimit bounds the body of a restore, in bytes.
const blobLimit = 12 << 20

// attributesOut are the attributes with what the service adds; which of them depends on the api-version.
type attributesOut struct {
	Enabled         bool   `json:"enabled"`
	NotBefore       *int64 `json:"nbf,omitzero"`
	Expires         *int64 `json:"exp,omitzero"`
	Created         int64  `json:"created"`
	Updated         int64  `json:"updated"`
	RecoveryLevel   string `json:"recoveryLevel"`
	RecoverableDays *int   `json:"recoverableDays,omitzero"`
	Exportable      *bool  `json:"exportable,omitzero"`
	HSMPlatform     string `json:"hsmPlatform,omitzero"`
}

// deletionOut are the members of what was deleted.
type deletionOut struct {
	RecoveryID string `json:"recoveryId,omitzero"`
	Deleted    int64  `json:"deletedDate,omitzero"`
	Purge      int64  `json:"scheduledPurgeDate,omitzero"`
}

// list is a page. The link is null on the last one.
type list[T any] struct {
	Value    []T     `json:"value"`
	NextLink *string `json:"nextLink"`
}

// The api-versions that introduced attributes.
const (
	withRecoverableDays apiVersion = 1
	withExportable      apiVersion = 3
	withPlatform        apiVersion = 5
)

// softwarePlatform says that a key is kept in software (FIPS 140-2 level 1), whatever its type is called.
const softwarePlatform = "0"

// tokenPlatform says that a key is in a hardware security module. What that is certified for is not known
// here: this is the service's word for the lowest level.
const tokenPlatform = "1"

func (x *exchange) attributes(p vault.Properties) attributesOut {
	a := attributesOut{Enabled: p.Attributes.Enabled, Created: p.Created.Unix(), Updated: p.Updated.Unix(), RecoveryLevel: p.RecoveryLevel}
	if t := p.Attributes.NotBefore; t != nil {
		a.NotBefore = pointer(t.Unix())
	}
	if t := p.Attributes.Expires; t != nil {
		a.Expires = pointer(t.Unix())
	}
	if x.version >= withRecoverableDays {
		a.RecoverableDays = &p.RecoverableDays
	}
	return a
}

func pointer[T any](v T) *T { return &v }

// id is the address of an object, with its version where one is given.
func (x *exchange) id(collection, name, version string) string {
	id := x.base() + "/" + collection + "/" + name
	if version != "" {
		id += "/" + version
	}
	return id
}

// deletion is what is told of an object of a collection that was deleted.
func (x *exchange) deletion(collection string, p vault.Properties) deletionOut {
	if p.Deletion == nil {
		return deletionOut{}
	}
	return deletionOut{RecoveryID: x.id("deleted"+collection, p.Name, ""), Deleted: p.Deletion.At.Unix(), Purge: p.Deletion.PurgeAt.Unix()}
}
