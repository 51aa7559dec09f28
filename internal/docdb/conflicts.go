package docdb

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/latchkey-db/latchkey/internal/principal"
)

// A container is written in one place, so two versions of an item never meet: the feed of conflicts is
// empty, and truly so. The policy that would resolve them is checked and kept, because templates and clients
// that send one must be told when it is wrong.

// Actions on conflicts. Data roles know one for both.
const (
	actionReadConflicts   = "sqlDatabases/containers/conflicts/read"
	actionManageConflicts = "sqlDatabases/containers/manageConflicts"
)

// Conflicts returns the feed of conflicts of a container, which has none.
func (s *Service) Conflicts(ctx context.Context, c principal.Caller, path ContainerPath, q Consistency) (Receipt, error) {
	r, state, end, err := s.begin(ctx, c, actionReadConflicts, path, q)
	if err != nil {
		return Receipt{}, err
	}
	defer end()
	return r.receipt(state, state.parts[0], state.parts[0].log.Visible(), 1)
}

// Conflict fails: no conflict is there to be read.
func (s *Service) Conflict(ctx context.Context, c principal.Caller, path ContainerPath, q Consistency) error {
	if _, err := s.Conflicts(ctx, c, path, q); err != nil {
		return err
	}
	return notFound()
}

// DeleteConflict fails: no conflict is there to be deleted.
func (s *Service) DeleteConflict(ctx context.Context, c principal.Caller, path ContainerPath, q Consistency) error {
	_, _, end, err := s.begin(ctx, c, actionManageConflicts, path, q)
	if err != nil {
		return err
	}
	end()
	return notFound()
}

// The ways to resolve conflicts.
const (
	lastWriterWins = "LastWriterWins"
	customConflict = "Custom"
)

// conflictPolicy is a container's conflict resolution policy.
type conflictPolicy struct {
	Mode      string `json:"mode"`
	Path      string `json:"conflictResolutionPath"`
	Procedure string `json:"conflictResolutionProcedure"`
}

// normalizeConflicts checks the policy and gives it its defaults.
func (s *definition) normalizeConflicts() error {
	var p conflictPolicy
	if err := json.Unmarshal(s.ConflictResolutionPolicy, &p); err != nil {
		return badRequest("The input content is invalid: property 'conflictResolutionPolicy' cannot be read.")
	}
	if err := p.normalize(); err != nil {
		return err
	}
	s.ConflictResolutionPolicy = mustJSON(p)
	return nil
}

func (p *conflictPolicy) normalize() error {
	switch {
	case p.Mode == "" || strings.EqualFold(p.Mode, lastWriterWins):
		return p.lastWriter()
	case strings.EqualFold(p.Mode, customConflict):
		return p.custom()
	}
	return badRequest("The conflict resolution mode '%.64s' is invalid. It must be %s or %s.", p.Mode, lastWriterWins, customConflict)
}

func (p *conflictPolicy) lastWriter() error {
	if p.Mode = lastWriterWins; p.Path == "" {
		p.Path = "/_ts"
	}
	if p.Procedure != "" {
		return badRequest("A conflictResolutionProcedure can be specified with the conflict resolution mode %s only.", customConflict)
	}
	if _, ok := parsePath(p.Path); !ok {
		return badRequest("The conflictResolutionPath '%.64s' is invalid.", p.Path)
	}
	return nil
}

// custom checks the link of a procedure, which need not be there yet.
func (p *conflictPolicy) custom() error {
	p.Mode = customConflict
	if p.Path != "" {
		return badRequest("A conflictResolutionPath can be specified with the conflict resolution mode %s only.", lastWriterWins)
	}
	parts := strings.Split(strings.Trim(p.Procedure, "/"), "/")
	if p.Procedure != "" && (len(parts) != 6 || parts[0] != "dbs" || parts[2] != "colls" || parts[4] != "sprocs" || checkName(parts[5]) != nil) {
		return badRequest("The conflictResolutionProcedure '%.64s' is invalid. It must be the link of a stored procedure: dbs/{database}/colls/{container}/sprocs/{procedure}.", p.Procedure)
	}
	return nil
}
