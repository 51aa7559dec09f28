// Package fault is the one error type that the domain packages of Latchkey return for every
// expected failure.
//
// A [Error] says what kind of failure it is ([Kind], which a face turns into a status), the
// domain's own stable word for it (Reason, which a face turns into a wire code) and a message that
// may be shown to the caller. The wrapped error, when there is one, is for logs only and never
// leaves the process.
//
// Errors that are not a [*Error] are unexpected: a face answers them with a constant text and a
// correlation id.
package fault

import (
	"errors"
	"fmt"
)

// Kind is the class of a failure. The list is append-only.
type Kind uint8

// The kinds of failure.
const (
	Internal        Kind = iota // unexpected; details stay in the log
	Invalid                     // the request is wrong and will stay wrong
	Unauthenticated             // who is asking is not proven
	Denied                      // who is asking is known and may not
	NotFound                    // the thing does not exist, or not for this caller
	Conflict                    // the thing exists already, or its state forbids the request
	Precondition                // a stated precondition (an ETag) does not hold
	TooLarge                    // a size limit is exceeded
	Throttled                   // too many requests; later it may work
	KeyDenied                   // the customer's key may not be used: the data is inaccessible
	Unavailable                 // a dependency does not answer; later it may work
	Gone                        // the addressed range or version is no longer served
	NotImplemented              // a known operation that this server does not offer
)

// Error is an expected failure of the domain.
type Error struct {
	Kind Kind
	// Reason is the domain's stable word for this failure, such as "KeyDisabled". It never
	// contains a user value, because it becomes a metric label.
	Reason string
	// Message is for the caller: the real service's text where that is known.
	Message string
	// Err is the cause, for logs only. It may be nil.
	Err error
}

// New returns an [*Error] whose message is formatted from format and args.
func New(kind Kind, reason, format string, args ...any) *Error {
	return &Error{Kind: kind, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

// Because returns a copy of e with the cause err, which only logs will show.
func (e *Error) Because(err error) *Error {
	c := *e
	c.Err = err
	return &c
}

// Error returns the reason, the message and the cause.
func (e *Error) Error() string {
	s := e.Reason + ": " + e.Message
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// As returns the first [*Error] in err's tree, or nil.
func As(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return nil
}

// KindOf returns the kind of err; [Internal] for errors that are not a [*Error].
func KindOf(err error) Kind {
	if e := As(err); e != nil {
		return e.Kind
	}
	return Internal
}

// Is reports whether err is a [*Error] with the given reason.
func Is(err error, reason string) bool {
	e := As(err)
	return e != nil && e.Reason == reason
}
