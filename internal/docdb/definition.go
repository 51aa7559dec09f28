package docdb

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/latchkey-db/latchkey/internal/docdb/index"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/jsonx"
)

// maxName is the longest name of a database or container, in characters.
const maxName = 255

// checkName refuses names that the service refuses: they could not be addressed.
func checkName(name string) error {
	switch {
	case name == "":
		return fault.New(fault.Invalid, "BadRequest", textNoID)
	case utf8.RuneCountInString(name) > maxName || !utf8.ValidString(name):
		return badRequest("The specified name is too long or not valid text.")
	case strings.ContainsAny(name, `/\#?`) || strings.HasSuffix(name, " "):
		return badRequest("The specified name contains characters that are not allowed, or ends with a space.")
	}
	return nil
}

// definition is what is kept of a container's properties. The policies that this program does not
// act upon are kept as they were sent.
type definition struct {
	ID                       string                  `json:"id"`
	IndexingPolicy           json.RawMessage         `json:"indexingPolicy,omitempty"`
	PartitionKey             *PartitionKeyDefinition `json:"partitionKey,omitempty"`
	DefaultTTL               *int64                  `json:"defaultTtl,omitempty"`
	UniqueKeyPolicy          *UniqueKeyPolicy        `json:"uniqueKeyPolicy,omitempty"`
	ConflictResolutionPolicy json.RawMessage         `json:"conflictResolutionPolicy,omitempty"`
	GeospatialConfig         json.RawMessage         `json:"geospatialConfig,omitempty"`
	AnalyticalTTL            json.RawMessage         `json:"analyticalStorageTtl,omitempty"`
	ComputedProperties       json.RawMessage         `json:"computedProperties,omitempty"`
	VectorEmbeddingPolicy    json.RawMessage         `json:"vectorEmbeddingPolicy,omitempty"`
	FullTextPolicy           json.RawMessage         `json:"fullTextPolicy,omitempty"`
	ChangeFeedPolicy         json.RawMessage         `json:"changeFeedPolicy,omitempty"`
	ClientEncryptionPolicy   json.RawMessage         `json:"clientEncryptionPolicy,omitempty"`
}

// UniqueKeyPolicy lists combinations of paths whose values are unique in a logical partition.
type UniqueKeyPolicy struct {
	UniqueKeys []UniqueKey `json:"uniqueKeys"`
}

// UniqueKey is one combination of paths.
type UniqueKey struct {
	Paths []string `json:"paths"`
}

// Limits of unique key policies (the service's).
const (
	maxUniqueKeys  = 10
	maxUniquePaths = 16
)

// specName is the id in a container's properties, "" when there is none.
func specName(properties []byte) string {
	v, _ := jsonx.Find(properties, "id")
	return jsonx.Unquote(v)
}

// parseDefinition reads a container's properties. Members that are null count as absent.
func parseDefinition(body []byte) (definition, error) {
	var spec definition
	if err := jsonx.Check(body); err != nil {
		return spec, badRequest("The input content is not valid JSON.")
	}
	if err := json.Unmarshal(body, &spec); err != nil {
		return spec, badRequest("The input content is invalid: %s.", wrongMember(err))
	}
	return spec, nil
}

// wrongMember names the member of a body that has the wrong type.
func wrongMember(err error) string {
	var t *json.UnmarshalTypeError
	if errors.As(err, &t) {
		return "property '" + t.Field + "' has the wrong type"
	}
	return "it cannot be read as this resource"
}

// normalize checks the parts that matter here and fills in what the service fills in.
func (s *definition) normalize() error {
	if err := checkName(s.ID); err != nil {
		return err
	}
	if s.PartitionKey == nil {
		s.PartitionKey = &PartitionKeyDefinition{Paths: []string{"/_partitionKey"}, Kind: KindHash, Version: 2, SystemKey: true}
	}
	if err := s.PartitionKey.normalize(); err != nil {
		return err
	}
	if t := s.DefaultTTL; t != nil && *t != -1 && (*t <= 0 || *t > maxTTL) {
		return badRequest("The value of defaultTtl must be -1 or a positive number of seconds up to %d.", maxTTL)
	}
	if err := s.UniqueKeyPolicy.check(); err != nil {
		return err
	}
	for _, p := range s.policies() {
		if err := p.fill(); err != nil {
			return err
		}
	}
	if err := s.normalizeConflicts(); err != nil {
		return err
	}
	if err := s.checkAnalytical(); err != nil {
		return err
	}
	if err := s.checkRetention(); err != nil {
		return err
	}
	return s.normalizeIndexing()
}

// policy is a member that is kept as text and may have a default.
type policy struct {
	text     *json.RawMessage
	name     string
	standard string // used when the member is absent; "" for none
}

func (s *definition) policies() []policy {
	return []policy{
		{&s.IndexingPolicy, "indexingPolicy", `{}`},
		{&s.ConflictResolutionPolicy, "conflictResolutionPolicy", `{}`},
		{&s.GeospatialConfig, "geospatialConfig", `{"type":"Geography"}`},
		{&s.AnalyticalTTL, "analyticalStorageTtl", ""},
		{&s.ComputedProperties, "computedProperties", ""},
		{&s.VectorEmbeddingPolicy, "vectorEmbeddingPolicy", ""},
		{&s.FullTextPolicy, "fullTextPolicy", ""},
		{&s.ChangeFeedPolicy, "changeFeedPolicy", ""},
		{&s.ClientEncryptionPolicy, "clientEncryptionPolicy", ""},
	}
}

func (p policy) fill() error {
	if t := bytes.TrimSpace(*p.text); len(t) == 0 || string(t) == "null" {
		*p.text = json.RawMessage(p.standard)
		return nil
	}
	if jsonx.Check(*p.text) != nil {
		return badRequest("The input content is invalid: property '%s' cannot be read.", p.name)
	}
	return nil
}

// normalizeIndexing gives the indexing policy its defaults: consistent, automatic, everything but
// the etag.
func (s *definition) normalizeIndexing() error {
	o, err := jsonx.Parse(s.IndexingPolicy)
	if err != nil {
		return badRequest("The input content is invalid: property 'indexingPolicy' is not an object.")
	}
	mode, err := indexingMode(o)
	if err != nil {
		return err
	}
	out := jsonx.Object{jsonx.NewMember("indexingMode", jsonx.Quote(mode))}
	defaults := jsonx.Object{
		jsonx.NewMember("automatic", []byte(map[bool]string{true: "true", false: "false"}[mode != "none"])),
		jsonx.NewMember("includedPaths", []byte(`[{"path":"/*"}]`)),
		jsonx.NewMember("excludedPaths", []byte(`[{"path":"/\"_etag\"/?"}]`)),
	}
	if mode == "none" {
		defaults = defaults.Set("includedPaths", []byte(`[]`)).Set("excludedPaths", []byte(`[]`))
	}
	for _, d := range defaults {
		if v, ok := o.Get(d.Name); ok && v.Kind() != 'n' {
			d.Value = v
		}
		out = append(out, d)
	}
	out = append(out, o.Without(func(n string) bool { _, ok := out.Get(n); return ok })...)
	s.IndexingPolicy = json.RawMessage(withEtagExcluded(out, mode).Join())
	_, err = index.ParsePolicy(s.IndexingPolicy)
	return policyFault(err)
}

// indexed reports whether writes pay for an index.
func (s *definition) indexed() bool {
	v, _ := jsonx.Find(s.IndexingPolicy, "indexingMode")
	return jsonx.Unquote(v) != "none"
}

func indexingMode(o jsonx.Object) (string, error) {
	v, ok := o.Get("indexingMode")
	if !ok || v.Kind() == 'n' {
		return "consistent", nil
	}
	switch mode := strings.ToLower(jsonx.Unquote(v)); mode {
	case "consistent", "none", "lazy":
		return mode, nil
	}
	return "", badRequest("The indexing mode of the indexing policy is invalid.")
}

// withEtagExcluded adds the exclusion of the etag that the service always has.
func withEtagExcluded(o jsonx.Object, mode string) jsonx.Object {
	excluded, _ := o.Get("excludedPaths")
	paths, err := jsonx.Elements(excluded)
	if err != nil || mode == "none" || bytes.Contains(excluded, []byte(`_etag`)) {
		return o
	}
	return o.Set("excludedPaths", jsonx.JoinArray(append(paths, []byte(`{"path":"/\"_etag\"/?"}`))))
}

func (p *UniqueKeyPolicy) check() error {
	if p == nil {
		return nil
	}
	n := 0
	for _, k := range p.UniqueKeys {
		if n += len(k.Paths); len(k.Paths) == 0 {
			return badRequest("A unique key must have at least one path.")
		}
		for _, path := range k.Paths {
			if _, ok := parsePath(path); !ok {
				return badRequest("The unique key path '%s' is invalid.", path)
			}
		}
	}
	if len(p.UniqueKeys) > maxUniqueKeys || n > maxUniquePaths {
		return badRequest("A unique key policy has at most %d keys and %d paths.", maxUniqueKeys, maxUniquePaths)
	}
	return nil
}

// maxRetention bounds for how long old versions are kept.
const maxRetention = 30 * 24 * time.Hour

// retention is for how long old versions are kept for the change feed of all versions; 0 for not at all.
// The text was checked by normalize.
func (s *definition) retention() time.Duration {
	v, ok := jsonx.Find(s.ChangeFeedPolicy, "retentionDuration")
	if !ok {
		return 0
	}
	minutes, err := strconv.ParseUint(string(v), 10, 32)
	if err != nil {
		return 0
	}
	return time.Duration(minutes) * time.Minute
}

func (s *definition) checkRetention() error {
	if len(s.ChangeFeedPolicy) == 0 {
		return nil
	}
	v, ok := jsonx.Find(s.ChangeFeedPolicy, "retentionDuration")
	if minutes, err := strconv.ParseUint(string(v), 10, 32); ok && (err != nil || time.Duration(minutes)*time.Minute > maxRetention) {
		return badRequest("The retentionDuration of the changeFeedPolicy must be a number of minutes up to %d.", int(maxRetention/time.Minute))
	}
	return nil
}

// checkAnalytical refuses an analytical store: there is none. 0, and nothing, ask for none.
func (s *definition) checkAnalytical() error {
	if v := string(s.AnalyticalTTL); v != "" && v != "0" {
		return badRequest("The property 'analyticalStorageTtl' is not supported: the account has no analytical store (Azure Synapse Link is not enabled).")
	}
	return nil
}

// immutableChanged reports whether next differs from s in what a container keeps for life.
func (s *definition) immutableChanged(next *definition) string {
	switch {
	case s.ID != next.ID:
		return "id"
	case !bytes.Equal(mustJSON(s.PartitionKey), mustJSON(next.PartitionKey)):
		return "partitionKey"
	case !bytes.Equal(mustJSON(s.UniqueKeyPolicy.keys()), mustJSON(next.UniqueKeyPolicy.keys())):
		return "uniqueKeyPolicy"
	case !bytes.Equal(s.ConflictResolutionPolicy, next.ConflictResolutionPolicy):
		return "conflictResolutionPolicy"
	}
	return ""
}

func (p *UniqueKeyPolicy) keys() []UniqueKey {
	if p == nil || len(p.UniqueKeys) == 0 {
		return nil
	}
	return p.UniqueKeys
}
