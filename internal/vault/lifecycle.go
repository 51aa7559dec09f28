package vault

import (
	"context"
	"slices"
	"strings"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// What all kinds of objects do alike. Each function ends the request that it is given.

// change stores what edit makes of an object as the only change of the service. The vault must still be
// there; r.vault is it as it is at that moment.
func change[R record[R]](r *request, h *shelf[R], edit func() (R, error)) (R, error) {
	var rec R
	err := r.s.change(r.ctx, func() error {
		vault, err := r.s.live(r.vault.Name)
		if err != nil {
			return err
		}
		if rec, err = edit(); err != nil {
			return err
		}
		r.vault = vault
		return r.s.commit(func(c *changes) { h.putIn(c, vault.Name, rec) })
	})
	if err == nil {
		r.s.changed(r.vault.Name, h.kind, rec.name())
	}
	return rec, r.done(err)
}

// remove deletes an object: it can be recovered until the retention is over.
func remove[R record[R]](r *request, h *shelf[R]) (R, error) {
	return change(r, h, func() (R, error) {
		rec, err := h.live(r.vault.Name, r.name)
		switch {
		case err != nil:
			return rec, err
		case rec.managed():
			return rec, h.kind.managed(r.name)
		}
		return rec.marked(r.vault.deletion(r.s.cfg.Now())), nil
	})
}

// bringBack recovers a deleted object.
func bringBack[R record[R]](r *request, h *shelf[R]) (R, error) {
	return change(r, h, func() (R, error) {
		rec, err := h.recoverable(r.vault.Name, r.name)
		switch {
		case err != nil:
			return rec, err
		case rec.managed():
			return rec, h.kind.managed(r.name)
		}
		return rec.marked(nil), nil
	})
}

// purge destroys a deleted object for good.
func purge[R record[R]](r *request, h *shelf[R]) error {
	err := r.s.change(r.ctx, func() error {
		v, err := r.s.live(r.vault.Name)
		if err != nil {
			return err
		}
		rec, err := h.recoverable(v.Name, r.name)
		switch {
		case err != nil:
			return err
		case rec.managed():
			return h.kind.managed(r.name)
		case v.PurgeProtect:
			return purgeProtected(v)
		}
		if err := beforeErase(r.s, rec); err != nil {
			return err
		}
		return r.s.commit(func(c *changes) { h.eraseIn(c, v.Name, r.name) })
	})
	if err == nil {
		r.s.changed(r.vault.Name, h.kind, r.name)
	}
	return r.done(err)
}

func purgeProtected(v Vault) error {
	return fault.New(fault.Denied, "PurgeProtected",
		"Operation \"purge\" is not allowed because purge protection is enabled for this vault. Key Vault service will automatically purge it after the retention period has passed.\r\nVault: %s", v.describe())
}

// changed tells the subscriber, outside all locks.
func (s *Service) changed(vault string, k kind, name string) {
	if k == ofKeys {
		s.cfg.OnChange(vault, name)
	}
}

// list answers with a page of the live or the deleted objects by name.
func list[R record[R], T any](s *Service, ctx context.Context, c principal.Caller, vault string, p Page, need permission, h *shelf[R], deleted bool, view func(R, Vault) T) ([]T, string, error) {
	r, err := s.guard(ctx, c, vault, "", need)
	if err != nil {
		return nil, "", err
	}
	all, next := paged(h.all(r.vault.Name, deleted), p, func(rec R) string { return strings.ToLower(rec.name()) })
	items := []T{}
	for _, rec := range all {
		items = append(items, view(rec, r.vault))
	}
	return items, next, r.done(nil)
}

// versions is a page of the versions of an object by version id.
func versions[V interface{ common() state }, T any](o object[V], p Page, view func(V) T) (items []T, next string) {
	all := slices.Clone(o.Versions)
	slices.SortFunc(all, func(a, b V) int { return strings.Compare(a.common().ID, b.common().ID) })
	page, next := paged(all, p, func(v V) string { return v.common().ID })
	items = []T{}
	for _, v := range page {
		items = append(items, view(v))
	}
	return items, next
}
