package envelope

import (
	"context"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/latchkey-db/latchkey/internal/audit"
	"github.com/latchkey-db/latchkey/internal/secret"
)

// Protection says which key protects an account and who goes to the vault for it.
type Protection struct {
	// KeyURI names the customer's key. Without a version the newest one is followed; with one, that
	// version is used for good. "" means the platform's root key.
	KeyURI string
	// Identity is the object id of the service principal that is used towards the vault. "" is an
	// undefined identity, which no vault accepts (4015).
	Identity string
}

// CustomerManaged reports whether a customer's key protects the account.
func (p Protection) CustomerManaged() bool { return p.KeyURI != "" }

// State is one of the account's states; the package comment has the transitions.
type State string

// The states.
const (
	StateSealed      State = "sealed"      // no key in memory; the first Acquire opens
	StateOpening     State = "opening"     // the vault is being asked, or the store is starting
	StateOpen        State = "open"        // serving
	StateGrace       State = "grace"       // serving, though the vault does not answer; a deadline runs
	StateDraining    State = "draining"    // no longer serving; waiting for requests that still hold the store
	StateRevoked     State = "revoked"     // the key may not be used; the keys are wiped
	StateLocked      State = "locked"      // an operator keeps it closed
	StateQuarantined State = "quarantined" // keyring or store failed to verify; needs an operator
)

// Status is a snapshot of how an account stands towards its key.
type Status struct {
	State      State
	Protection Protection
	// KeyVersion is the version of the customer's key that wraps the account key now.
	KeyVersion string
	// Substatus is the cause (4000 … 4018) of the last probe's failure; 0 after a good one.
	Substatus int
	// Reason is the cause in words, for the account's owner. Detail is the vault's own answer, for
	// operators.
	Reason, Detail string
	Since          time.Time // when State began
	LastCheck      time.Time // when the vault was last asked
	LastSuccess    time.Time // when it last confirmed
	GraceEnds      time.Time // zero outside of [StateGrace]
	// AccountKeyCreated is when the account key was made, DataKeys how many data keys there are, and
	// KeyringCounter how often the keyring was written.
	AccountKeyCreated time.Time
	DataKeys          int
	KeyringCounter    uint64
	Reencryption      Progress
	// Locked is set while an operator keeps the account closed.
	Locked bool
}

// KEK reaches customers' keys. Its errors are [KEKError] values.
type KEK interface {
	// Describe reads the key: its newest version (for a versioned URI that version), the recovery
	// level and the key type. A key that is disabled or outside its validity is an error (4018).
	Describe(ctx context.Context, keyURI, identity string) (version, recoveryLevel, kty string, err error)
	// Wrap encrypts plain with RSA-OAEP-256. keyID carries the version that was used.
	Wrap(ctx context.Context, keyURI, identity string, plain []byte) (wrapped []byte, keyID string, err error)
	// Unwrap reverses Wrap. keyID must carry a version.
	Unwrap(ctx context.Context, keyID, identity string, wrapped []byte) (plain []byte, err error)
}

// KEKError is how a KEK says why it failed.
type KEKError interface {
	error
	// Substatus is the service's code for the cause: 4000 … 4018.
	Substatus() int
	// Definite reports whether this is a "no" rather than no answer.
	Definite() bool
	// Detail is the other side's answer, for operators; it holds no secret.
	Detail() string
}

// Auditor records what happens to keys. Without a record there is no operation.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// Config says what a Keeper works with. Dir, FS, KEK, Anchors, RootKey and Audit are required.
type Config struct {
	// Dir is the directory that holds one directory per account: {accountID}/keyring and
	// {accountID}/data. It is made when it does not exist.
	Dir string
	// FS is the plain file system below the sealed ones of the stores.
	FS vfs.FS
	// Files is where keyrings are; nil means the operating system's file system. Dir must mean the same
	// place on both.
	Files Files
	// KEK reaches the customers' keys.
	KEK KEK
	// Anchors remembers the accounts' keyrings and stores elsewhere; required.
	Anchors Anchors
	// RootKey is the platform's 32-byte key: it wraps the account keys that no customer's key wraps.
	// The Keeper keeps its own copy.
	RootKey *secret.Bytes
	// RetiredRootKeys were RootKey before: they open what they wrapped, and wrap nothing. Copies are
	// kept. See [Keeper.LeaveRetired].
	RetiredRootKeys []*secret.Bytes
	// CacheBytes bounds the memory of all accounts' stores together: caches of decrypted blocks and
	// memtables; 0 means 256 MiB.
	CacheBytes int64
	// MaxOpen is how many accounts may have their store open; 0 means 256. One more closes the one that
	// was used least recently.
	MaxOpen int
	// IdleClose is how long an unused account stays open; 0 means until its place is needed.
	IdleClose time.Duration
	// Interval is the longest time between two probes; 0 means 60 s.
	Interval time.Duration
	// Grace is how long an account runs on while the vault does not answer. 0 means not at all; a
	// negative value means the default of 60 min.
	Grace time.Duration
	// Drain is how long in-flight requests are expected to take; 0 means 1 s. Longer ones are reported.
	Drain time.Duration
	// ReencryptRate bounds the bytes that background re-encryption reads, and as many that it writes, in
	// a second; 0 means 64 MiB.
	ReencryptRate int
	// ProbeTimeout bounds one probe; 0 means 15 s.
	ProbeTimeout time.Duration
	// Now is the clock; nil means time.Now. Timers are always the runtime's.
	Now func() time.Time
	// Audit is the log of key use.
	Audit Auditor
	// OnLock, if not nil, is called after an account stopped serving and its keys were wiped.
	OnLock func(accountID string)
	// Log receives operational messages; nil discards them.
	Log *slog.Logger
}

// The defaults of [Config].
const (
	defaultInterval     = 60 * time.Second
	defaultGrace        = 60 * time.Minute
	defaultDrain        = time.Second
	defaultProbeTimeout = 15 * time.Second
	defaultRate         = 64 << 20
	defaultCache        = 256 << 20
	defaultMaxOpen      = 256
	tablesPerStore      = 8 // descriptors of tables that an open account gets, on average
)

func (c Config) withDefaults() Config {
	orDuration := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	orDuration(&c.Interval, defaultInterval)
	orDuration(&c.Drain, defaultDrain)
	orDuration(&c.ProbeTimeout, defaultProbeTimeout)
	if c.Grace < 0 {
		c.Grace = defaultGrace
	}
	if c.ReencryptRate <= 0 {
		c.ReencryptRate = defaultRate
	}
	if c.CacheBytes <= 0 {
		c.CacheBytes = defaultCache
	}
	if c.MaxOpen <= 0 {
		c.MaxOpen = defaultMaxOpen
	}
	if c.Files == nil {
		c.Files = osFiles{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
