package vault

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// EventType is what happened to an object.
type EventType string

// The types.
const (
	NewVersionCreated EventType = "NewVersionCreated"
	NearExpiry        EventType = "NearExpiry"
	Expired           EventType = "Expired"
	Disabled          EventType = "Disabled"
	Enabled           EventType = "Enabled"
	Deleted           EventType = "Deleted"
	Recovered         EventType = "Recovered"
)

// Event tells subscribers of a change of an object, or that a version comes to its end.
type Event struct {
	ID        string // unique
	Type      EventType
	Kind      string // Key, Secret or Certificate
	Vault     string
	VaultID   string // resource id
	Name      string
	Version   string
	Address   string // of the version
	NotBefore int64  // Unix seconds, 0 for none
	Expires   int64
	Time      time.Time
}

// eventOf describes an event of a version.
func (s *Service) eventOf(t EventType, k kind, v Vault, name string, version state) Event {
	return Event{
		ID: uuid.NewString(), Type: t, Kind: k.title, Vault: v.Name, VaultID: v.ResourceID, Name: name, Version: version.ID,
		Address:   naming.Azure().VaultURI(v.Name) + k.plural + "/" + name + "/" + version.ID,
		NotBefore: version.NotBefore, Expires: version.Expires, Time: s.cfg.Now().UTC(),
	}
}

// happened is an event before it is described.
type happened struct {
	kind    kind
	vault   string
	name    string
	what    EventType
	version state
}

// compared adds what became different from old to rec, whose name is new when existed is false. What
// belongs to a certificate is told of by the certificate.
func compared[R record[R]](c *changes, k kind, vault string, old R, existed bool, rec R) {
	if rec.managed() {
		return
	}
	add := func(t EventType, v state) {
		c.events = append(c.events, happened{k, vault, rec.name(), t, v})
	}
	versions := rec.states()
	if len(versions) == 0 {
		return
	}
	current := versions[len(versions)-1]
	switch {
	case !existed:
		add(NewVersionCreated, current)
		return
	case old.deleted() == nil && rec.deleted() != nil:
		add(Deleted, current)
	case old.deleted() != nil && rec.deleted() == nil:
		add(Recovered, current)
	}
	before := map[string]state{}
	for _, v := range old.states() {
		before[v.ID] = v
	}
	for _, v := range versions {
		was, known := before[v.ID]
		switch {
		case !known:
			add(NewVersionCreated, v)
		case was.Enabled && !v.Enabled:
			add(Disabled, v)
		case !was.Enabled && v.Enabled:
			add(Enabled, v)
		}
	}
}

// tell hands the events of a commit to the subscriber, whose own records become durable with the change.
func (s *Service) tell(c *changes) {
	if s.cfg.OnEvent == nil {
		return
	}
	for _, h := range c.events {
		if v, ok := s.find(h.vault); ok {
			c.do(s.cfg.OnEvent(c.batch, s.eventOf(h.what, h.kind, v, h.name, h.version)), func() {})
		}
	}
}

// notice is for which exp subscribers were told about a version: another exp counts anew.
type notice struct {
	Version string
	Near    int64 `json:",omitempty"`
	Expired int64 `json:",omitempty"`
}

// coming is when something is to be told of the current version of an object, and what. ok is false when
// nothing will be.
func (n notice) coming(v state, before Duration) (at time.Time, what EventType, ok bool) {
	if v.Expires == 0 {
		return time.Time{}, "", false
	}
	if n.Version != v.ID {
		n = notice{}
	}
	end := time.Unix(v.Expires, 0).UTC()
	switch {
	case n.Expired == v.Expires:
		return time.Time{}, "", false
	case n.Near == v.Expires:
		return end, Expired, true
	}
	return before.before(end), NearExpiry, true
}

// noticing calls visit with every live object whose current version has an end.
func noticing[R record[R]](s *Service, h *shelf[R], visit func(v Vault, k kind, id string, rec R, version state)) {
	_, vaults := s.overdue(s.cfg.Now())
	for _, v := range vaults {
		if v.Deletion != nil {
			continue
		}
		for _, rec := range h.all(v.Name, false) {
			versions := rec.states()
			if len(versions) == 0 || rec.managed() || versions[len(versions)-1].Expires == 0 {
				continue
			}
			id := h.kind.plural + "/" + strings.ToLower(v.Name) + "/" + strings.ToLower(rec.name())
			visit(v, h.kind, id, rec, versions[len(versions)-1])
		}
	}
}

// NextNotice is when subscribers are to be told the next time that a version comes to its end; ok is
// false when nothing is to be told.
func (s *Service) NextNotice() (at time.Time, ok bool) {
	if s.cfg.OnEvent == nil {
		return at, false
	}
	s.noticed.Lock()
	defer s.noticed.Unlock()
	look := func(id string, before Duration, v state) {
		if t, _, due := s.notices[id].coming(v, before); due && (!ok || t.Before(at)) {
			at, ok = t, true
		}
	}
	noticing(s, s.keys, func(_ Vault, _ kind, id string, rec keyRecord, v state) { look(id, rec.notifyBefore(), v) })
	noticing(s, s.secrets, func(_ Vault, _ kind, id string, rec secretRecord, v state) { look(id, rec.notifyBefore(), v) })
	noticing(s, s.certificates, func(_ Vault, _ kind, id string, rec certificateRecord, v state) { look(id, rec.notifyBefore(), v) })
	return at, ok
}

// notify tells of the versions that are near their end at now, or over, each once.
func (s *Service) notify(ctx context.Context, now time.Time) error {
	if s.cfg.OnEvent == nil {
		return nil
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	err := notifyShelf(ctx, s, s.keys, now)
	if err == nil {
		err = notifyShelf(ctx, s, s.secrets, now)
	}
	if err == nil {
		err = notifyShelf(ctx, s, s.certificates, now)
	}
	return errors.Join(err, s.forgetNotices())
}

// forgetNotices drops the notes about objects that are no more. The caller holds changing.
func (s *Service) forgetNotices() error {
	s.noticed.Lock()
	ids := slices.Collect(maps.Keys(s.notices))
	s.noticed.Unlock()
	for _, id := range ids {
		parts := strings.SplitN(id, "/", 3)
		there := true
		switch {
		case len(parts) < 3:
		case parts[0] == ofKeys.plural:
			_, there = s.keys.find(parts[1], parts[2])
		case parts[0] == ofSecrets.plural:
			_, there = s.secrets.find(parts[1], parts[2])
		case parts[0] == ofCertificates.plural:
			_, there = s.certificates.find(parts[1], parts[2])
		}
		if there {
			continue
		}
		if err := s.noticeTable.Delete(id); err != nil {
			return err
		}
		s.noticed.Lock()
		delete(s.notices, id)
		s.noticed.Unlock()
	}
	return nil
}

// notifyShelf tells about the objects of one kind. The caller holds changing.
func notifyShelf[R record[R]](ctx context.Context, s *Service, h *shelf[R], now time.Time) (err error) {
	noticing(s, h, func(v Vault, k kind, id string, rec R, version state) {
		for err == nil && ctx.Err() == nil {
			s.noticed.Lock()
			n := s.notices[id]
			s.noticed.Unlock()
			at, what, due := n.coming(version, rec.notifyBefore())
			if !due || now.Before(at) {
				return
			}
			if now.Unix() >= version.Expires {
				what = Expired // nobody needs to be told that it was near
			}
			err = s.notifyOne(ctx, id, n.after(version, what), happened{k, v.Name, rec.name(), what, version})
		}
	})
	return err
}

// after is the notice when subscribers have been told what of a version.
func (n notice) after(v state, what EventType) notice {
	if n.Version != v.ID {
		n = notice{Version: v.ID}
	}
	n.Near = v.Expires
	if what == Expired {
		n.Expired = v.Expires
	}
	return n
}

// notifyOne makes an event durable together with the note that it was told.
func (s *Service) notifyOne(ctx context.Context, id string, n notice, h happened) error {
	v, err := s.live(h.vault)
	if err != nil {
		return err
	}
	e := audit.By(principal.Server("notification"), s.cfg.Now(), h.kind.title+string(h.what)+"EventGridNotification",
		naming.Azure().VaultURI(v.Name)+h.kind.plural+"/"+h.name+"/"+h.version.ID).Done(nil)
	e.Scope, e.Version = v.ResourceID, h.version.ID
	if err := s.cfg.Audit.Record(ctx, e); err != nil {
		return err
	}
	return s.commit(func(c *changes) {
		c.events = append(c.events, h)
		c.do(s.noticeTable.PutIn(c.batch, id, n), func() {
			s.noticed.Lock()
			defer s.noticed.Unlock()
			s.notices[id] = n
		})
	})
}

// notifyBefore is how long before its end subscribers are told of a version.
func (o object[V]) notifyBefore() Duration { return byDefault.BeforeExpiry }

// notifyBefore is what the key's policy says, or the default.
func (k keyRecord) notifyBefore() Duration {
	if k.Rotation == nil {
		return byDefault.BeforeExpiry
	}
	for _, a := range k.Rotation.Actions {
		if a.Action == Notify {
			return a.BeforeExpiry
		}
	}
	return byDefault.BeforeExpiry
}

// states are the versions' states, the current one last.
func (o object[V]) states() []state {
	out := make([]state, 0, len(o.Versions))
	for _, v := range o.Versions {
		out = append(out, v.common())
	}
	return out
}
