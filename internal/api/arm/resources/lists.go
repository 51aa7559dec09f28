package resources

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/api/arm"
	"github.com/latchkey-db/latchkey/internal/resource"
)

func (p *Provider) groups(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if err := p.svc.ReadSubscription(ctx, r.Caller, "Microsoft.Resources/subscriptions/resourceGroups/read"); err != nil {
		return nil, err
	}
	f, err := parseFilter(r)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, g := range p.svc.Groups(ctx, r.Caller) {
		if f.selects(shown{name: g.Name, location: g.Location, tags: g.Tags}) {
			list = append(list, renderGroup(g))
		}
	}
	return arm.Page(r, list)
}

// everything lists the resources of the subscription, or of one group.
func (p *Provider) everything(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	f, err := parseFilter(r)
	if err != nil {
		return nil, err
	}
	all, err := p.visible(ctx, r)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, g := range all {
		if f.selects(shown{typ: g.ID.Type(), name: g.ID.Name(), group: g.ID.ResourceGroup, location: g.Location, tags: g.Tags}) {
			list = append(list, renderGeneric(g, r.Query.Get("$expand")))
		}
	}
	return arm.Page(r, list)
}

func (p *Provider) visible(ctx context.Context, r *arm.Request) ([]resource.Generic, error) {
	if r.ID.ResourceGroup != "" {
		return p.svc.GroupContents(ctx, r.Caller, r.ID)
	}
	if err := p.svc.ReadSubscription(ctx, r.Caller, "Microsoft.Resources/subscriptions/resources/read"); err != nil {
		return nil, err
	}
	return p.svc.List(ctx, r.Caller, "")
}

func renderGeneric(g resource.Generic, expand string) any {
	m := map[string]any{"id": g.ID.String(), "name": g.ID.Name(), "type": g.ID.Type(), "location": g.Location}
	if g.Kind != "" {
		m["kind"] = g.Kind
	}
	if len(g.Tags) > 0 {
		m["tags"] = g.Tags
	}
	for name, value := range map[string]string{
		"createdTime": g.Created.UTC().Format(time.RFC3339Nano), "changedTime": g.Created.UTC().Format(time.RFC3339Nano), "provisioningState": g.State,
	} {
		if strings.Contains(strings.ToLower(expand), strings.ToLower(name)) {
			m[name] = value
		}
	}
	return m
}

// tagNames lists the tags of all groups and resources that the caller may read, with their counts.
func (p *Provider) tagNames(ctx context.Context, r *arm.Request) (*arm.Response, error) {
	if err := p.svc.ReadSubscription(ctx, r.Caller, "Microsoft.Resources/subscriptions/tagNames/read"); err != nil {
		return nil, err
	}
	all, err := p.svc.List(ctx, r.Caller, "")
	if err != nil {
		return nil, err
	}
	counts := map[string]map[string]int{}
	count := func(tags map[string]string) {
		for k, v := range tags {
			if counts[k] == nil {
				counts[k] = map[string]int{}
			}
			counts[k][v]++
		}
	}
	for _, g := range p.svc.Groups(ctx, r.Caller) {
		count(g.Tags)
	}
	for _, g := range all {
		count(g.Tags)
	}
	return arm.Page(r, p.renderTags(counts))
}

func (p *Provider) renderTags(counts map[string]map[string]int) []any {
	total := func(n int) any { return map[string]any{"type": "Total", "value": n} }
	list := []any{}
	for _, name := range sortedKeys(counts) {
		id := "/subscriptions/" + p.svc.Subscription().ID + "/tagNames/" + name
		values, sum := []any{}, 0
		for _, v := range sortedKeys(counts[name]) {
			sum += counts[name][v]
			values = append(values, map[string]any{"id": id + "/tagValues/" + v, "tagValue": v, "count": total(counts[name][v])})
		}
		list = append(list, map[string]any{"id": id, "tagName": name, "count": total(sum), "values": values})
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
