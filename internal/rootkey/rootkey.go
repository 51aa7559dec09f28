package rootkey

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/pkcs11"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// The names in the data directory.
const (
	KeyName  = "root.key"
	ringName = "root.ring"
	// RingName is the name of the ring.
	RingName = ringName
)

// More fault reasons.
const (
	ReasonMismatch    = "RootKeyMismatch"   // root.key and root.ring are not of one directory and moment
	ReasonRingMissing = "RootRingMissing"   // root.ring is not there
	ReasonExists      = "RootKeyFileExists" // the file of a new root key elsewhere is there already
	ReasonUnsettled   = "RootKeyNotSettled" // a rotation took effect and its last step did not
)

// Options say where the root key is and how to get at it. Dir is required.
type Options struct {
	Dir   string
	Files Files // default: the operating system's
	// Protection is what was asked for; the zero value takes what the directory says, and file for a
	// new one.
	Protection Protection
	// Passphrase returns the passphrase of the root key.
	Passphrase func() (*secret.Bytes, error)
	// NewPassphrase returns the passphrase for a new directory (default: Passphrase).
	NewPassphrase func() (*secret.Bytes, error)
	// PIN is that of the token; "" takes the file of pin-source.
	PIN string
	// OpenToken opens a token (default: [pkcs11.Open]).
	OpenToken func(pkcs11.URI, *secret.Bytes) (HSM, error)
	// Now is the clock (default: time.Now).
	Now func() time.Time

	logN byte // of new passphrases
}

func (o Options) withDefaults() (*Options, error) {
	if o.Files == nil {
		o.Files = osFiles{}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.logN == 0 {
		o.logN = defaultLogN
	}
	if o.Passphrase == nil {
		o.Passphrase = func() (*secret.Bytes, error) { return nil, NoPassphrase() }
	}
	if o.NewPassphrase == nil {
		o.NewPassphrase = o.Passphrase
	}
	if o.OpenToken == nil {
		o.OpenToken = func(u pkcs11.URI, pin *secret.Bytes) (HSM, error) {
			t, err := pkcs11.Open(u, pin)
			if err != nil {
				return nil, err // no *pkcs11.Token in the interface
			}
			return t, nil
		}
	}
	return &o, o.Protection.outside(o.Dir)
}

// NoPassphrase is the error of who was not given one.
func NoPassphrase() error {
	return fault.New(fault.Unauthenticated, ReasonNoPassphrase,
		"The root key is protected by a passphrase. Set LATCHKEY_ROOT_PASSPHRASE, or name a file with --root-passphrase-file, or start from a terminal.")
}

func (o *Options) path(name string) string { return filepath.Join(o.Dir, name) }

// Ring is the platform's keys, opened. It is not safe for concurrent use.
type Ring struct {
	o       *Options
	file    *keyFile
	root    *secret.Bytes
	keys    []Key
	stored  bool // there is a root.ring
	entries int  // in it
}

// Open opens the keys of a directory and writes nothing, so that it may be used beside a running server.
func Open(o Options) (*Ring, error) {
	x, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return x.openRing()
}

// Start opens the keys of a directory that the caller has locked. It ends a rotation that was cut short,
// and makes the keys when the directory is used for the first time.
func Start(o Options, used bool) (*Ring, error) {
	x, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if _, err = x.readKeyFile(); errors.Is(err, fs.ErrNotExist) {
		if used {
			return nil, fault.New(fault.NotFound, ReasonMissing,
				"The data directory holds data but no root key; put %s back.", KeyName)
		}
		if err := x.create(); err != nil {
			return nil, err
		}
	}
	r, err := x.openRing()
	if err != nil {
		return nil, err
	}
	if err := r.settle(); err != nil {
		r.Wipe()
		return nil, err
	}
	return r, nil
}

// openRing reads both files.
func (o *Options) openRing() (*Ring, error) {
	f, err := o.readKeyFile()
	if err != nil {
		return nil, err
	}
	said, err := f.protection.agreed(o.Protection)
	if err != nil {
		return nil, err
	}
	raw, err := o.Files.Read(o.path(ringName))
	stored := err == nil
	if err != nil && (!errors.Is(err, fs.ErrNotExist) || !f.legacy) {
		return nil, ringMissing(err)
	}
	root, err := o.open(f, said) // asks for passphrase or PIN: last
	if err != nil {
		return nil, err
	}
	f.protection = said
	r := &Ring{o: o, file: f, root: root, stored: stored}
	if err := r.load(raw); err != nil {
		r.Wipe()
		return nil, err
	}
	return r, nil
}

func ringMissing(err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fault.New(fault.NotFound, ReasonRingMissing,
		"%s is missing; without it the root key opens nothing. Put it back from the same copy as %s.", ringName, KeyName)
}

func (o *Options) readKeyFile() (*keyFile, error) {
	raw, err := o.Files.Read(o.path(KeyName))
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	return decodeKeyFile(raw, KeyName)
}

// load opens the entry of the root key.
func (r *Ring) load(raw []byte) error {
	if !r.stored {
		r.keys = legacyKeys(r.root)
		return nil
	}
	entries, err := decodeRing(raw)
	if err != nil {
		return err
	}
	id := keyID(r.root)
	i := slices.IndexFunc(entries, func(e entry) bool { return e.root == id })
	if i < 0 {
		return fault.New(fault.Invalid, ReasonMismatch,
			"The root key is not the one of %s: they are from different directories or moments. Put back the copy of both that was made together.", ringName)
	}
	r.entries = len(entries)
	r.keys, err = entries[i].open(r.root)
	return err
}

// settle drops the entry of a root key that is not in force: a rotation was cut short.
func (r *Ring) settle() error {
	if r.entries <= 1 {
		return nil
	}
	return r.store()
}

// store writes the ring with one entry.
func (r *Ring) store() error {
	e, err := seal(r.keys, r.root)
	if err != nil {
		return err
	}
	if err := r.o.Files.Replace(r.o.path(ringName), encodeRing(e)); err != nil {
		return err
	}
	r.entries, r.stored = 1, true
	return nil
}

// create makes the keys of a directory without data: the ring first, so that a root.key always has one.
func (o *Options) create() error {
	p := o.Protection
	if p.Kind == 0 {
		p.Kind = File
	}
	root, made, err := o.firstKey(p)
	if err != nil {
		return err
	}
	defer root.Wipe()
	f, err := o.protect(root, p, o.NewPassphrase)
	if err != nil {
		return err
	}
	keys := renewed(nil, o.Now().Unix(), false)
	defer wipeKeys(keys)
	e, err := seal(keys, root)
	if err != nil {
		return err
	}
	if made {
		if err := o.createElsewhere(p.Path, root); err != nil {
			return err
		}
	}
	if err := o.Files.Replace(o.path(ringName), encodeRing(e)); err != nil {
		return err
	}
	raw := f.encode()
	defer clear(raw)
	return o.Files.Create(o.path(KeyName), raw)
}

// firstKey is the first root key of a directory: a new one, or, for a file elsewhere that is there
// already, what it holds. made tells that the file elsewhere is to be made.
func (o *Options) firstKey(p Protection) (root *secret.Bytes, made bool, err error) {
	if p.Kind != Elsewhere {
		return secret.Random(keySize), false, nil
	}
	root, err = o.openElsewhere(p.Path)
	if fault.Is(err, ReasonFileMissing) {
		return secret.Random(keySize), true, nil
	}
	return root, false, err
}

func (o *Options) createElsewhere(path string, root *secret.Bytes) error {
	raw := clearFile(root, o.Now()).encode()
	defer clear(raw)
	err := o.Files.Create(path, raw)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Conflict, ReasonExists,
			"%s is there already and is not overwritten. Name another file, or move this one away.", path)
	}
	return err
}

// Current returns the key for what is written now. It is the ring's own: valid until Wipe.
func (r *Ring) Current(p Purpose) Key {
	i := slices.IndexFunc(r.keys, func(k Key) bool { return k.Purpose == p && k.State == Current })
	return r.keys[i] // there is one: see sound
}

// Before returns the keys for what was written before.
func (r *Ring) Before(p Purpose) []Key {
	var out []Key
	for _, k := range r.keys {
		if k.Purpose == p && k.State != Current {
			out = append(out, k)
		}
	}
	return out
}

// Leaving reports whether keys of a purpose wait to be dropped. Who owns what stands under them puts it
// under the current key and calls [Ring.Drop].
func (r *Ring) Leaving(p Purpose) bool {
	return slices.ContainsFunc(r.keys, func(k Key) bool { return k.Purpose == p && k.State == Leaving })
}

// Drop destroys the keys of a purpose that are leaving: nothing stands under them any more.
func (r *Ring) Drop(p Purpose) error {
	if !r.Leaving(p) {
		return nil
	}
	kept := without(r.keys, p)
	all := r.keys
	r.keys = kept
	if err := r.store(); err != nil {
		r.keys = all
		return err
	}
	for _, k := range all {
		if k.Purpose == p && k.State == Leaving {
			k.Secret.Wipe()
		}
	}
	return nil
}

// Wipe overwrites all keys. It is safe to call twice and on nil.
func (r *Ring) Wipe() {
	if r == nil {
		return
	}
	r.root.Wipe()
	wipeKeys(r.keys)
}

// Rotation says what to change besides the root key and the current platform keys.
type Rotation struct {
	To Protection // the zero value keeps the protection
	// Passphrase returns the new passphrase. It is called when To names a passphrase.
	Passphrase func() (*secret.Bytes, error)
	// Reseal marks all keys before as leaving.
	Reseal bool
}

// Rotate replaces the root key of a directory that the caller has locked. It returns the new ring. On an
// error the old root key is in force, but with [ReasonUnsettled] the new one is.
func (r *Ring) Rotate(x Rotation) (*Ring, error) {
	to, passphrase := r.file.protection, r.o.Passphrase
	if x.To.Kind != 0 {
		to, passphrase = x.To, x.Passphrase
	}
	if err := to.outside(r.o.Dir); err != nil {
		return nil, err
	}
	now := r.o.Now()
	next := &Ring{o: r.o, root: secret.Random(keySize), keys: renewed(r.keys, now.Unix(), x.Reseal)}
	if len(next.keys) > maxKeys {
		next.Wipe()
		return nil, fault.New(fault.Conflict, "RootKeyTooMany", "The ring has too many keys. Rotate with --reseal, and start the server once.")
	}
	if err := r.replaceBy(next, to, passphrase); err != nil {
		if !fault.Is(err, ReasonUnsettled) {
			next.Wipe()
			return nil, err
		}
		return next, err
	}
	return next, nil
}

// replaceBy takes the steps of a rotation.
func (r *Ring) replaceBy(next *Ring, to Protection, passphrase func() (*secret.Bytes, error)) (err error) {
	if next.file, err = r.o.protect(next.root, to, passphrase); err != nil {
		return err
	}
	if to.Kind == Passphrase {
		if err := r.o.proves(next, passphrase); err != nil {
			return err
		}
	}
	before, err := seal(r.keys, r.root)
	if err != nil {
		return err
	}
	after, err := seal(next.keys, next.root)
	if err != nil {
		return err
	}
	if err := r.o.Files.Replace(r.o.path(ringName), encodeRing(before, after)); err != nil {
		return err
	}
	r.stored, r.entries = true, 2
	if err := r.moveKey(next); err != nil {
		return r.undecided(next, err)
	}
	next.stored, next.entries = true, 2
	if err := next.store(); err != nil {
		return unsettled(err)
	}
	return nil
}

func unsettled(err error) error {
	return fault.New(fault.Unavailable, ReasonUnsettled,
		"The new root key is in force, but the entry of the old one is still in %s. The next start of the server removes it.", ringName).Because(err)
}

// proves opens a new wrapping from its bytes.
func (o *Options) proves(next *Ring, passphrase func() (*secret.Bytes, error)) error {
	f, err := decodeKeyFile(next.file.encode(), KeyName)
	if err != nil {
		return err
	}
	x := *o
	x.Passphrase = passphrase
	again, err := x.openPassphrase(f)
	if err != nil {
		return err
	}
	defer again.Wipe()
	if !again.Equal(next.root.Reveal()) {
		return errors.New("rootkey: a new wrapping opens to another key")
	}
	return nil
}

// moveKey puts the new root key in the place of the old one. What decides is one rename: of root.key, or
// of the file elsewhere when it stays there.
func (r *Ring) moveKey(next *Ring) error {
	if to := next.file.protection; r.stays(next) {
		raw := clearFile(next.root, r.o.Now()).encode()
		defer clear(raw)
		if err := r.o.Files.Replace(to.Path, raw); err != nil {
			return err
		}
	} else if to.Kind == Elsewhere {
		if err := r.o.createElsewhere(to.Path, next.root); err != nil {
			return err
		}
	}
	raw := next.file.encode()
	defer clear(raw)
	return r.o.Files.Replace(r.o.path(KeyName), raw)
}

// stays reports whether the root key is in a file elsewhere, before and after.
func (r *Ring) stays(next *Ring) bool {
	from, to := r.file.protection, next.file.protection
	return to.Kind == Elsewhere && from.Kind == Elsewhere && from.Path == to.Path
}

// undecided finds out which root key is in force after a failure between the steps. For the old one it
// tidies the ring where the disk lets us; the next start does the same.
func (r *Ring) undecided(next *Ring, cause error) error {
	if r.moved(next) {
		return unsettled(cause)
	}
	return errors.Join(cause, r.settle())
}

// moved reports whether the new root key is in force.
func (r *Ring) moved(next *Ring) bool {
	if r.stays(next) {
		root, err := r.o.openElsewhere(next.file.protection.Path)
		defer root.Wipe()
		return err == nil && root.Equal(next.root.Reveal())
	}
	raw, err := r.o.Files.Read(r.o.path(KeyName))
	defer clear(raw)
	want := next.file.encode()
	defer clear(want)
	return err == nil && bytes.Equal(raw, want)
}

// Description tells of a directory's root key. It holds no secret.
type Description struct {
	Protection string    `json:"protection"`
	Created    time.Time `json:"created,omitzero"`
	Ring       bool      `json:"ring"` // false: a directory from before there was one
	WorkFactor string    `json:"workFactor,omitempty"`
	Wrapping   string    `json:"wrapping,omitempty"`
	// Interrupted tells that a rotation was cut short; the next start ends it.
	Interrupted bool `json:"interrupted,omitempty"`
}

// Describe tells of a directory's root key without opening it.
func Describe(o Options) (*Description, error) {
	o.Protection = Protection{}
	x, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	f, err := x.readKeyFile()
	if err != nil {
		return nil, err
	}
	defer clear(f.payload)
	d := &Description{Protection: f.protection.String()}
	if f.created != 0 {
		d.Created = time.Unix(f.created, 0).UTC()
	}
	switch f.protection.Kind {
	case Elsewhere:
		d.Created = x.createdElsewhere(f.protection.Path)
	case Passphrase:
		d.WorkFactor = fmt.Sprintf("scrypt N=2^%d r=%d p=%d", f.scrypt.logN, scryptR, scryptP)
	case Token:
		d.Wrapping = map[wrap]string{wrapGCM: "AES-256-GCM", wrapKW: "AES key wrap (RFC 3394)"}[f.wrapping]
	}
	raw, err := x.Files.Read(x.path(ringName))
	if errors.Is(err, fs.ErrNotExist) && f.legacy {
		return d, nil
	}
	if err != nil {
		return nil, ringMissing(err)
	}
	entries, err := decodeRing(raw)
	d.Ring, d.Interrupted = true, len(entries) > 1
	return d, err
}

// createdElsewhere is when the key in a file elsewhere was made; zero when that is not known.
func (o *Options) createdElsewhere(path string) time.Time {
	raw, err := o.Files.Read(path)
	defer clear(raw)
	if err != nil {
		return time.Time{}
	}
	f, err := decodeKeyFile(raw, path)
	if err != nil || f.created == 0 {
		return time.Time{}
	}
	return time.Unix(f.created, 0).UTC()
}
