package documentdb

import (
	"context"
	"net/http"
	"strings"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
)

// containerAction serves POST requests to a container.
func (s *sql) containerAction() (*arm.Response, error) {
	if !strings.EqualFold(s.r.Action, "partitionMerge") {
		return nil, fault.New(fault.NotImplemented, "NotSupported", "This server does not support the action '%s' on containers.", s.r.Action)
	}
	var b struct {
		Rehearsal bool `json:"isDryRun"`
	}
	if err := s.r.Decode(&b); err != nil {
		return nil, err
	}
	list, err := s.documents.MergeSmall(s.ctx, s.r.Caller, docdb.ContainerPath{Account: s.account, Database: s.db, Container: s.container}, b.Rehearsal)
	if err != nil {
		return nil, s.wireFault(err)
	}
	out := []any{}
	for _, r := range list {
		out = append(out, map[string]any{"id": r.ID, "storageInKB": float64(r.Bytes) / 1024})
	}
	return s.done(s.r, map[string]any{"physicalPartitionStorageInfoCollection": out})
}

// reshapeBody says what to split or merge. Without a range the largest is split, and whatever is small is merged.
type reshapeBody struct {
	Database  string `json:"database"`
	Container string `json:"container"`
	Range     string `json:"range"`
	At        string `json:"at"`
}

// reshape serves the operations split and merge.
func (p *Provider) reshape(ctx context.Context, r *arm.Request, verb string) (*arm.Response, error) {
	a, err := p.located(ctx, r)
	if err != nil {
		return nil, err
	}
	var b reshapeBody
	if err := r.Decode(&b); err != nil {
		return nil, err
	}
	if b.Database == "" || b.Container == "" {
		return nil, fault.New(fault.Invalid, "BadRequest", "The names of the database and the container are needed.")
	}
	s := &sql{Provider: p, ctx: ctx, r: r, account: a.ID, db: b.Database, container: b.Container}
	list, err := s.reshaped(verb, b)
	if err != nil {
		return nil, s.wireFault(err)
	}
	out := []map[string]any{}
	for _, x := range list {
		out = append(out, map[string]any{"id": x.ID, "min": x.Min, "max": x.Max, "parents": x.Parents})
	}
	return &arm.Response{Status: http.StatusOK, Body: map[string]any{"ranges": out}}, nil
}

func (s *sql) reshaped(verb string, b reshapeBody) ([]docdb.PartitionKeyRange, error) {
	path := docdb.ContainerPath{Account: s.account, Database: b.Database, Container: b.Container}
	switch {
	case verb == "split":
		return s.documents.Split(s.ctx, s.r.Caller, path, b.Range, b.At)
	case b.Range != "":
		return s.documents.Merge(s.ctx, s.r.Caller, path, b.Range, "")
	}
	if _, err := s.documents.MergeSmall(s.ctx, s.r.Caller, path, false); err != nil {
		return nil, err
	}
	list, _, _, err := s.documents.PartitionKeyRanges(s.ctx, s.r.Caller, path)
	return list, err
}
