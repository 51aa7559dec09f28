package vault

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Duration is a span of the calendar (ISO 8601, without a time of day). The zero value stands for none.
type Duration struct{ Years, Months, Days int }

// Four digits, so that no date leaves the range that clients can read.
var durationPattern = regexp.MustCompile(`^P(?:(\d{1,4})Y)?(?:(\d{1,4})M)?(?:(\d{1,4})W)?(?:(\d{1,4})D)?$`)

// maxYears bounds a duration.
const maxYears = 100

// ParseDuration reads a duration of years, months, weeks and days; "" is none.
func ParseDuration(s string) (Duration, error) {
	if s == "" {
		return Duration{}, nil
	}
	m := durationPattern.FindStringSubmatch(strings.ToUpper(s))
	if m == nil {
		return Duration{}, badDuration(s)
	}
	var n [4]int
	for i := range n {
		if m[i+1] == "" {
			continue
		}
		var err error
		if n[i], err = strconv.Atoi(m[i+1]); err != nil {
			return Duration{}, badDuration(s)
		}
	}
	d := Duration{Years: n[0], Months: n[1], Days: 7*n[2] + n[3]}
	if !d.after(reference).After(reference) || d.after(reference).After(reference.AddDate(maxYears, 0, 0)) {
		return Duration{}, badDuration(s)
	}
	return d, nil
}

func badDuration(s string) error {
	return badParameter("The value '%.32s' is not a duration in ISO 8601 form of up to %d years, such as P90D, P3M or P1Y.", s, maxYears)
}

func (d Duration) after(t time.Time) time.Time  { return t.AddDate(d.Years, d.Months, d.Days) }
func (d Duration) before(t time.Time) time.Time { return t.AddDate(-d.Years, -d.Months, -d.Days) }

// IsZero reports whether there is no duration.
func (d Duration) IsZero() bool { return d == Duration{} }

// String is the ISO 8601 form; "" for none.
func (d Duration) String() string {
	if d.IsZero() {
		return ""
	}
	s := "P"
	for _, part := range []struct {
		n    int
		unit string
	}{{d.Years, "Y"}, {d.Months, "M"}, {d.Days, "D"}} {
		if part.n != 0 {
			s += strconv.Itoa(part.n) + part.unit
		}
	}
	return s
}

// MarshalText is String: the form in records.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// Action is what a rotation policy does at a point in the life of a version.
type Action string

// The actions. Notify says when subscribers are told that a version is near its end.
const (
	Rotate Action = "Rotate"
	Notify Action = "Notify"
)

// LifetimeAction is an action with its trigger: exactly one of the two durations is set.
type LifetimeAction struct {
	Action       Action
	AfterCreate  Duration `json:",omitzero"`
	BeforeExpiry Duration `json:",omitzero"`
}

// RotationPolicy says when a key gets a new version by itself, and how long such versions live.
type RotationPolicy struct {
	Actions []LifetimeAction
	Expiry  Duration `json:",omitzero"` // from creation to exp of versions that a rotation makes
	Created int64    // Unix seconds; 0 in the policy of a key that was never given one
	Updated int64
}

// byDefault is the notification that every policy has.
var byDefault = LifetimeAction{Action: Notify, BeforeExpiry: Duration{Days: 30}}

// reference is the day from which durations are compared: the shortest month comes first, so that
// what holds from there holds from most days.
var reference = time.Date(2001, time.February, 1, 0, 0, 0, 0, time.UTC)

// The service's limits, in days.
const (
	minExpiry  = 28
	minTrigger = 7 // from creation to a rotation, and from a rotation to exp
)

func badPolicy(format string, args ...any) error {
	return badParameter("The key rotation policy is not valid: "+format, args...)
}

// normal writes actions as the service does and adds the notification where there is none.
func (p RotationPolicy) normal() RotationPolicy {
	actions, notifies := []LifetimeAction{}, false
	for _, a := range p.Actions {
		for _, known := range []Action{Rotate, Notify} {
			if strings.EqualFold(string(a.Action), string(known)) {
				a.Action = known
			}
		}
		notifies = notifies || a.Action == Notify
		actions = append(actions, a)
	}
	if !notifies {
		actions = append(actions, byDefault)
	}
	p.Actions = actions
	return p
}

// check refuses a policy that the service would refuse. p is normal.
func (p RotationPolicy) check() error {
	if !p.Expiry.IsZero() && p.Expiry.after(reference).Before(reference.AddDate(0, 0, minExpiry)) {
		return badPolicy("expiryTime must be at least %d days.", minExpiry)
	}
	seen := map[Action]bool{}
	for _, a := range p.Actions {
		if seen[a.Action] {
			return badPolicy("there can be only one action of the type '%s'.", a.Action)
		}
		seen[a.Action] = true
		if err := a.check(p.Expiry); err != nil {
			return err
		}
	}
	return nil
}

func (a LifetimeAction) check(expiry Duration) error {
	switch {
	case a.Action != Rotate && a.Action != Notify:
		return badPolicy("the action type '%.32s' is not Rotate or Notify.", string(a.Action))
	case a.AfterCreate.IsZero() == a.BeforeExpiry.IsZero():
		return badPolicy("the trigger of %s must have either timeAfterCreate or timeBeforeExpiry.", a.Action)
	case a.Action == Notify && !a.AfterCreate.IsZero():
		return badPolicy("timeAfterCreate is for the action Rotate only.")
	case a.Action == Rotate:
		return a.checkPoint(expiry)
	}
	return nil
}

// checkPoint refuses a rotation too close to the ends of a version's life.
func (a LifetimeAction) checkPoint(expiry Duration) error {
	if expiry.IsZero() && !a.BeforeExpiry.IsZero() {
		return badPolicy("timeBeforeExpiry needs an expiryTime.")
	}
	end := expiry.after(reference)
	point := a.AfterCreate.after(reference)
	if !a.BeforeExpiry.IsZero() {
		point = a.BeforeExpiry.before(end)
	}
	if point.Before(reference.AddDate(0, 0, minTrigger)) {
		return badPolicy("a key can be rotated at the earliest %d days after its creation.", minTrigger)
	}
	if !expiry.IsZero() && point.After(end.AddDate(0, 0, -minTrigger)) {
		return badPolicy("a key must be rotated at least %d days before it expires.", minTrigger)
	}
	return nil
}

// expires is the exp of a version that a rotation makes at now, in Unix seconds; 0 for none.
func (p *RotationPolicy) expires(now time.Time) int64 {
	if p == nil || p.Expiry.IsZero() {
		return 0
	}
	return p.Expiry.after(now.UTC()).Unix()
}

// due is when the current version is to be replaced. ok is false for keys that stay as they are.
// A version without an exp of its own counts as one that lives as long as the policy says, so that a
// policy with timeBeforeExpiry works from its first day.
func (k keyRecord) due() (at time.Time, ok bool) {
	v, _ := k.version("")
	if k.Rotation == nil || k.Deletion != nil || k.Managed || !v.Enabled {
		return time.Time{}, false
	}
	created := time.Unix(v.Created, 0).UTC()
	end := k.Rotation.Expiry.after(created)
	if v.Expires != 0 {
		end = time.Unix(v.Expires, 0).UTC()
	}
	for _, a := range k.Rotation.Actions {
		switch {
		case a.Action != Rotate:
		case a.BeforeExpiry.IsZero():
			return a.AfterCreate.after(created), true
		default:
			return a.BeforeExpiry.before(end), true
		}
	}
	return time.Time{}, false
}

// RotationPolicy returns the policy of a key; a key that was never given one has the default.
func (s *Service) RotationPolicy(ctx context.Context, c principal.Caller, vault, name string) (RotationPolicy, error) {
	r, err := s.guard(ctx, c, vault, name, mayGetRotation)
	if err != nil {
		return RotationPolicy{}, err
	}
	k, _, err := s.liveKey(vault, name, "")
	if err != nil {
		return RotationPolicy{}, r.done(err)
	}
	if k.Rotation == nil {
		return RotationPolicy{}.normal(), r.done(nil)
	}
	return *k.Rotation, r.done(nil)
}

// SetRotationPolicy replaces the policy of a key and returns it as it is kept. No version changes.
func (s *Service) SetRotationPolicy(ctx context.Context, c principal.Caller, vault, name string, p RotationPolicy) (RotationPolicy, error) {
	p = p.normal()
	r, err := s.guard(ctx, c, vault, name, maySetRotation, p.check())
	if err != nil {
		return RotationPolicy{}, err
	}
	_, err = s.changeKey(r, func() (keyRecord, keyVersion, error) {
		k, v, err := s.liveKey(vault, name, "")
		if err != nil {
			return k, v, err
		}
		p.Updated = s.cfg.Now().Unix()
		p.Created = p.Updated
		if k.Rotation != nil {
			p.Created = k.Rotation.Created
		}
		k.Rotation = &p
		return k, v, nil
	})
	return p, err
}

// RotateKey makes a new current version with the parameters of the present one. The key's policy says
// when it expires.
func (s *Service) RotateKey(ctx context.Context, c principal.Caller, vault, name string) (Key, error) {
	r, err := s.guard(ctx, c, vault, name, mayRotate)
	if err != nil {
		return Key{}, err
	}
	return s.rotate(r, func(keyRecord) error { return nil })
}

// rotate ends r with a new version, unless still refuses the key as it is when the change is made:
// much can happen while a key is generated.
func (s *Service) rotate(r *request, still func(keyRecord) error) (out Key, err error) {
	_, old, err := s.liveKey(r.vault.Name, r.name, "")
	if err != nil {
		return Key{}, r.done(err)
	}
	key, err := s.generate(old.KTY, old.key.Params())
	if err != nil {
		return Key{}, r.done(err)
	}
	defer func() {
		if err != nil {
			s.discard(key)
		}
	}()
	return s.changeKey(r, func() (keyRecord, keyVersion, error) {
		k, old, err := s.liveKey(r.vault.Name, r.name, "")
		switch {
		case err != nil:
			return k, old, err
		case k.Managed:
			return k, old, ofKeys.managed(k.Name)
		case old.key.Params() != key.Params():
			return k, old, errOvertaken
		}
		if err := still(k); err != nil {
			return k, old, err
		}
		v, err := k.successor(old, key, s.cfg.Now())
		r.version = v.ID
		return k.with(v), v, err
	})
}

// errOvertaken stops a rotation whose key became another while the new one was generated.
var errOvertaken = fault.New(fault.Conflict, "KeyChanged", "The key was changed by another request; try again.")

// successor is the version that follows old.
func (k keyRecord) successor(old keyVersion, key made, now time.Time) (keyVersion, error) {
	expires := k.Rotation.expires(now)
	spec := KeySpec{KTY: old.KTY, Ops: old.Ops, Exportable: &old.Exportable, Release: old.Release, Change: Change{Tags: old.Tags, Expires: &expires}}
	return spec.version(key, now)
}

// NextRotation is when the first key is due for a rotation by its policy, or the first certificate for its
// renewal; ok is false when none will be.
func (s *Service) NextRotation() (at time.Time, ok bool) {
	s.rotating(func(_, _ string, due time.Time) {
		if !ok || due.Before(at) {
			at, ok = due, true
		}
	})
	s.renewing(func(_ string, _ certificateRecord, due time.Time) {
		if !ok || due.Before(at) {
			at, ok = due, true
		}
	})
	return at, ok
}

// rotating calls visit with every key that will be rotated by itself.
func (s *Service) rotating(visit func(vault, key string, due time.Time)) {
	_, vaults := s.overdue(s.cfg.Now())
	for _, v := range vaults {
		if v.Deletion != nil {
			continue
		}
		for _, k := range s.keys.all(v.Name, false) {
			if at, ok := k.due(); ok {
				visit(v.Name, k.Name, at)
			}
		}
	}
}

// errNotDue stops a rotation whose reason went away while the new key was generated.
var errNotDue = fault.New(fault.Conflict, "RotationNotDue", "The key is not due for a rotation any more.")

// rotateDue gives a new version to every key that is due at now. One that fails does not stop the rest.
func (s *Service) rotateDue(ctx context.Context, now time.Time) error {
	var due []struct{ vault, key string }
	s.rotating(func(vault, key string, at time.Time) {
		if !now.Before(at) {
			due = append(due, struct{ vault, key string }{vault, key})
		}
	})
	var failed error
	for _, k := range due {
		if err := ctx.Err(); err != nil {
			return errors.Join(failed, err)
		}
		if err := s.rotateOne(ctx, k.vault, k.key, now); err != nil {
			failed = errors.Join(failed, fmt.Errorf("rotate key %s of vault %s: %w", k.key, k.vault, err))
		}
	}
	return failed
}

// rotateOne rotates a key in the platform's name. A key that is gone or not due any more is no failure.
func (s *Service) rotateOne(ctx context.Context, vault, key string, now time.Time) error {
	r, err := s.guard(ctx, principal.Server("key rotation"), vault, key, mayRotate)
	if err == nil {
		_, err = s.rotate(r, func(k keyRecord) error {
			if at, ok := k.due(); !ok || now.Before(at) {
				return errNotDue
			}
			return nil
		})
	}
	if fault.KindOf(err) == fault.NotFound || errors.Is(err, errNotDue) {
		return nil
	}
	return err
}
