// Package obs is how a running server can be observed: its log and its metrics.
//
// The log goes to one writer as text or JSON. Secrets have types that show a constant
// (secret.Bytes); as a second net, the value of any attribute with a name that belongs to a secret
// is replaced here, whatever its type. Messages are constant sentences; data stands in attributes.
//
// Metrics live in a registry of their own, never in the library's global one, so that several
// servers can run in one process. Labels have few values and never one that a user chose.
package obs

import (
	"io"
	"log/slog"
	"strings"
)

// NewLogger returns a logger that writes to w from level on, as JSON or, for any other format, text.
func NewLogger(w io.Writer, level slog.Leveler, format string) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: redact}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// secretNames are attribute names, in lower case and without underscores, whose values are never
// written.
var secretNames = map[string]bool{
	"authorization": true, "token": true, "accesstoken": true, "refreshtoken": true, "idtoken": true,
	"password": true, "passphrase": true, "secret": true, "clientsecret": true, "assertion": true,
	"masterkey": true, "primarykey": true, "secondarykey": true, "connectionstring": true, "privatekey": true,
}

// redact replaces the value of an attribute that is named like a secret.
func redact(_ []string, a slog.Attr) slog.Attr {
	if secretNames[strings.ReplaceAll(strings.ToLower(a.Key), "_", "")] {
		a.Value = slog.StringValue("[secret]")
	}
	return a
}
