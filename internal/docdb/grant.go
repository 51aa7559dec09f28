package docdb

import (
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Who comes with a resource token may do what its mode allows, which the authorizer decides by the action,
// and only at the place that its permission opens, which is decided here: in guard for the container, in
// covers for items, in coversAll for feeds and in coversScript for scripts. Callers of other doors have no grant,
// and the authorizer alone decides about them.

// insufficient refuses what a resource token does not open, in the service's words.
func insufficient() *fault.Error {
	return fault.New(fault.Denied, "InsufficientPermissions",
		"Insufficient permissions provided in the authorization header for the corresponding request. Please retry with another authorization header.")
}

// opens decides whether a grant reaches into a container, or leads to what is asked of it. Everything above
// containers is closed to grants.
func (a *account) opens(g *principal.Grant, action, database, containerName string) error {
	if g == nil {
		return nil
	}
	if containerName == "" {
		return insufficient()
	}
	d, err := a.database(database)
	if err != nil {
		return insufficient().Because(err)
	}
	id, err := a.containerKey(d, containerName)
	if err != nil || id.rid() != g.Container {
		return insufficient().Because(err)
	}
	isItems := strings.Contains(action, "/items/") || action == actionQuery || action == actionChangeFeed
	if g.Kind != "" && g.Kind != "docs" && isItems {
		return insufficient()
	}
	return nil
}

// bound is the key that a grant is bound to; nil for none.
func (r *session) bound() (*PartitionKey, error) {
	if r.grant == nil || r.grant.PartitionKey == "" {
		return nil, nil
	}
	k, err := ParsePartitionKey(r.grant.PartitionKey)
	if err != nil {
		return nil, r.refuse(insufficient().Because(err))
	}
	return &k, nil
}

// within reports whether a key is the bound one, or below it where that is a prefix.
func (k PartitionKey) within(bound PartitionKey) bool {
	if len(k) < len(bound) {
		return false
	}
	for i := range bound {
		if k[i] != bound[i] {
			return false
		}
	}
	return true
}

// covers decides whether the session may touch items of a logical partition.
func (r *session) covers(k PartitionKey, ids ...string) error {
	if r.grant == nil {
		return nil
	}
	bound, err := r.bound()
	if err != nil {
		return err
	}
	if bound != nil && !k.within(*bound) {
		return r.refuse(insufficient())
	}
	for _, id := range ids {
		if r.grant.Kind == "docs" && r.grant.Child != id {
			return r.refuse(insufficient())
		}
	}
	return nil
}

// coversAll decides whether the session may read all that a feed or query looks at.
func (r *session) coversAll(q *FeedRequest) error {
	if r.grant == nil {
		return nil
	}
	if r.grant.Kind != "" {
		return r.refuse(insufficient())
	}
	bound, err := r.bound()
	if err != nil || bound == nil {
		return err
	}
	if q.PartitionKey == nil {
		return r.refuse(insufficient())
	}
	return r.covers(*q.PartitionKey)
}

// coversScript decides whether the session may see, or run, the script with a resource id; "" stands for
// all of its kind.
func (r *session) coversScript(kind *resourceKind, rid string) error {
	switch g := r.grant; {
	case g == nil, g.Kind == "" && g.PartitionKey == "", g.Kind == kind.segment && g.Child == rid && rid != "":
		return nil
	}
	return r.refuse(insufficient())
}
