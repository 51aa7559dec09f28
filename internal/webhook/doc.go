// Package webhook tells receivers of events over HTTP: CloudEvents 1.0 in structured JSON, one POST each.
//
// # Promises
//
// An event is queued in the commit that makes it true ([Hub.Queue]), in the control store, once for every
// receiver that wants it: both are durable or neither. Each receiver gets each event at least once and in
// the order in which they happened, also over restarts: the next one is sent when the one before was
// answered with success. It is told apart by its id.
//
// # Bounds
//
// A receiver's queue holds [maxQueued] events; the oldest gives way, and so does one that could not be
// delivered for [maxAge] or that the receiver calls wrong (400, 413). All of that is logged: a receiver
// that is away must not stop the vault.
//
// # Who may be told
//
// Receivers are named by who runs the server. They are reached over https, or at a loopback address;
// redirects are not followed. Before its first event a receiver is asked whether it wants to hear from us
// (the abuse protection of CloudEvents: OPTIONS with WebHook-Request-Origin), and hears nothing until it
// says so; it may limit the rate. One that answers 410 is not told any more until the next start.
//
// # Signature
//
//	Latchkey-Signature: t=UNIX,v1=HEX      HEX = HMAC-SHA256(secret, UNIX || "." || body)
//
// The secret comes from a file or the environment, never from a flag. Logs name a receiver by its host
// only: the rest of an address often is a secret.
package webhook
