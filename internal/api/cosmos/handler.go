// Package cosmos is the documents' data plane over HTTPS: the protocol of Azure Cosmos DB for NoSQL
// in gateway mode, as its clients for Go and JavaScript speak it.
//
// Requests are told apart by host (which account), path, method and, below docs, headers. The path is
// matched here and never redirected, because clients sign it. Every request is authenticated before
// anything else is said about it: by a signature with one of the account's master keys, by an Entra
// token for the account, or by a resource token, which package docdb gave out and proves. What the
// caller may do is decided by package docdb, whose faults one function, in errors.go, turns into the
// wire's form.
//
// Not offered: running scripts, and Direct mode. They are refused with an error that says so.
package cosmos

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/latchkey-db/latchkey/internal/api/wire"
	"github.com/latchkey-db/latchkey/internal/docdb"
	"github.com/latchkey-db/latchkey/internal/fault"
	"github.com/latchkey-db/latchkey/internal/naming"
	"github.com/latchkey-db/latchkey/internal/principal"
)

// Accounts knows the accounts and their keys.
type Accounts interface {
	// Resolve returns the account that a host's label means; a fault NotFound when there is none.
	Resolve(ctx context.Context, label string) (docdb.AccountView, error)
	// VerifyKey returns the door that a signature with one of the account's keys opens.
	VerifyKey(ctx context.Context, accountID string, stringToSign string, sig []byte) (principal.Door, error)
}

// Config says what the face works with. Service, Accounts and Verifier are required.
type Config struct {
	Service  *docdb.Service
	Accounts Accounts
	Verifier wire.Verifier
	Log      *slog.Logger     // nil discards
	Now      func() time.Time // nil: time.Now
	// LocalPort is the front's port, for names of the local family; nil means 0.
	LocalPort func() int
}

// server answers requests. label is "" when the host names the account.
type server struct {
	Config
	label string
}

// New returns the handler for accounts that the Host header names.
func New(cfg Config) http.Handler { return newServer(cfg, "") }

// NewEmulator returns the handler of one account, whatever the Host header says. Its addresses are
// those that the caller used.
func NewEmulator(cfg Config, label string) http.Handler { return newServer(cfg, label) }

func newServer(cfg Config, label string) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.LocalPort == nil {
		cfg.LocalPort = func() int { return 0 }
	}
	return wire.Identify(headerRequest, &server{Config: cfg, label: label})
}

// Headers of the protocol that occur in several places.
const (
	headerRequest      = "x-ms-request-id"
	headerActivity     = "x-ms-activity-id"
	headerSubstatus    = "x-ms-substatus"
	headerContinuation = "x-ms-continuation"
	headerSession      = "x-ms-session-token"
	headerPartitionKey = "x-ms-documentdb-partitionkey"
)

// exchange is one request with its answer and what is known about it.
type exchange struct {
	*server
	w        http.ResponseWriter
	r        *http.Request
	at       path
	account  docdb.AccountView
	caller   principal.Caller
	activity string
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{server: s, w: &speller{ResponseWriter: w}, r: r, activity: activityID(r)}
	x.standardHeaders()
	if err := x.serve(); err != nil {
		x.fail(err)
	}
}

// activityID is the caller's id of the request when it is a UUID, else a fresh one.
func activityID(r *http.Request) string {
	if id, err := uuid.Parse(r.Header.Get(headerActivity)); err == nil {
		return id.String()
	}
	return uuid.NewString()
}

func (x *exchange) standardHeaders() {
	h := x.w.Header()
	h.Set(headerActivity, x.activity)
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("x-ms-request-charge", "1")
	h.Set("x-ms-serviceversion", "version=2.14.0.0")
	h.Set("x-ms-gatewayversion", "version=2.14.0")
}

func (x *exchange) serve() (err error) {
	if err := x.checkHeaders(); err != nil {
		return err
	}
	if isExplorer(x.r.URL.Path) {
		return noExplorer()
	}
	if x.at, err = parsePath(x.r.URL.EscapedPath()); err != nil {
		return err
	}
	if err := x.resolve(); err != nil {
		return err
	}
	if err := x.authenticate(); err != nil {
		return err
	}
	if err := x.checkConsistency(); err != nil {
		return err
	}
	h, known := routes[x.at.shape()]
	if !known {
		return noSuchPath()
	}
	return h(x)
}

// Bounds of a request's headers in bytes: of all, so that no token grows without end, and of the partition
// key, whose longest value may be written with six bytes for each of its own.
const (
	maxHeaders            = 48 << 10 // below what the listener takes, which refuses without a body
	maxPartitionKeyHeader = 6*3*2048 + 64
)

// checkHeaders refuses requests with headers that are too long, in the service's words.
func (x *exchange) checkHeaders() error {
	total := 0
	for name, values := range x.r.Header {
		for _, v := range values {
			total += len(name) + len(v)
		}
	}
	if total > maxHeaders {
		return fault.New(fault.Invalid, "BadRequest", "The size of the request headers is too long.")
	}
	if len(x.r.Header.Get(headerPartitionKey)) > maxPartitionKeyHeader {
		return fault.New(fault.Invalid, "BadRequest", "The size of the header %s is too long.", headerPartitionKey)
	}
	return nil
}

// isExplorer reports whether a path leads to the web page that emulators have. It is no resource, so nobody
// signs a request for it.
func isExplorer(path string) bool {
	return path == "/_explorer" || strings.HasPrefix(path, "/_explorer/")
}

func noExplorer() error {
	return fault.New(fault.NotFound, "NotFound", "This server has no data explorer at this address.")
}

// resolve finds the account.
func (x *exchange) resolve() (err error) {
	label := x.label
	if label == "" {
		t, ok := naming.Resolve(x.r.Host, x.LocalPort())
		if !ok || t.Service != naming.Documents {
			return fault.New(fault.NotFound, "NotFound", "The host does not name a database account.")
		}
		label = t.Label
	}
	x.account, err = x.Accounts.Resolve(x.r.Context(), label)
	return err
}

// levels are the consistency levels from the weakest to the strongest.
var levels = []string{"Eventual", "ConsistentPrefix", "Session", "BoundedStaleness", "Strong"}

// checkConsistency refuses a level that is stronger than the account's. All others are met: every
// read here sees everything that was written before it.
func (x *exchange) checkConsistency() error {
	asked := x.r.Header.Get("x-ms-consistency-level")
	if asked == "" {
		return nil
	}
	is := func(level string) func(string) bool {
		return func(l string) bool { return strings.EqualFold(l, level) }
	}
	a, have := slices.IndexFunc(levels, is(asked)), slices.IndexFunc(levels, is(x.account.DefaultConsistency))
	if a < 0 {
		return fault.New(fault.Invalid, "BadRequest", "The header x-ms-consistency-level does not name a consistency level.")
	}
	if a > have {
		return fault.New(fault.Invalid, "BadRequest",
			"ConsistencyLevel %s specified in the request is invalid when service is configured with consistency level %s. Ensure the request consistency level is not stronger than the service consistency level.",
			levels[a], x.account.DefaultConsistency)
	}
	return nil
}

// routes lead from the shape of a path to its handler.
var routes = map[string]func(*exchange) error{
	"":                       (*exchange).accountRoot,
	"dbs":                    (*exchange).databases,
	"dbs/*":                  (*exchange).database,
	"dbs/*/colls":            (*exchange).containers,
	"dbs/*/colls/*":          (*exchange).container,
	"dbs/*/colls/*/pkranges": (*exchange).ranges,
	"dbs/*/colls/*/docs":     (*exchange).items,
	"dbs/*/colls/*/docs/*":   (*exchange).item,
	"offers":                 (*exchange).offers,
	"offers/*":               (*exchange).offer,

	"dbs/*/colls/*/conflicts":   (*exchange).conflicts,
	"dbs/*/colls/*/conflicts/*": (*exchange).conflict,

	"dbs/*/colls/*/operations/*": (*exchange).operation,

	"dbs/*/users":                  resources(docdb.Users),
	"dbs/*/users/*":                one(docdb.Users),
	"dbs/*/users/*/permissions":    resources(docdb.Permissions),
	"dbs/*/users/*/permissions/*":  one(docdb.Permissions),
	"dbs/*/clientencryptionkeys":   resources(docdb.ClientEncryptionKeys),
	"dbs/*/clientencryptionkeys/*": one(docdb.ClientEncryptionKeys),
	"dbs/*/colls/*/sprocs":         resources(docdb.StoredProcedures),
	"dbs/*/colls/*/sprocs/*":       one(docdb.StoredProcedures),
	"dbs/*/colls/*/triggers":       resources(docdb.Triggers),
	"dbs/*/colls/*/triggers/*":     one(docdb.Triggers),
	"dbs/*/colls/*/udfs":           resources(docdb.Functions),
	"dbs/*/colls/*/udfs/*":         one(docdb.Functions),
}

func noSuchPath() error {
	return fault.New(fault.NotFound, "NotFound", "The path does not lead to a kind of resource that this server has.")
}

// methodNotAllowed is for methods that a resource does not have.
func methodNotAllowed() error {
	return fault.New(fault.Invalid, reasonMethod, "The requested verb is not supported for this resource.")
}

// unsupported is for features of the protocol that this server does not have.
func unsupported(what string) error {
	return fault.New(fault.Invalid, "BadRequest", "This server does not support %s.", what)
}
