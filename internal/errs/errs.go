// Package errs holds the one error type of Tidewaiter: a kind, the operation
// that failed and the cause.
//
// It is responsible for the list of kinds and for the single table that says
// what each kind means: the HTTP status, whether a scan is tried again, the
// metric label and the words for people. It must not know any other package of
// the project and must not log.
package errs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kind says what sort of failure an error is. Kinds are stored in the database
// and used as metric labels, so their text never changes.
type Kind string

// The kinds. Internal is what every error without a kind counts as.
const (
	// Invalid: the input is wrong and stays wrong until somebody changes it.
	Invalid Kind = "invalid"
	// Unauthorized: a credential is missing or was refused.
	Unauthorized Kind = "unauthorized"
	// Forbidden: the credential is good but not for this.
	Forbidden Kind = "forbidden"
	// NotFound: the thing named does not exist (any more).
	NotFound Kind = "not_found"
	// Conflict: the state does not allow this now.
	Conflict Kind = "conflict"
	// TooLarge: a configured limit was exceeded.
	TooLarge Kind = "too_large"
	// Bomb: content is made to take up far more than it is.
	Bomb Kind = "bomb"
	// Unsupported: understood, but not something Tidewaiter handles.
	Unsupported Kind = "unsupported"
	// Malformed: content contradicts its own format or digest.
	Malformed Kind = "malformed"
	// RateLimited: the other side asked to slow down; see RetryAfter.
	RateLimited Kind = "rate_limited"
	// Unavailable: the other side cannot be reached or failed itself.
	Unavailable Kind = "unavailable"
	// Timeout: a deadline passed.
	Timeout Kind = "timeout"
	// Canceled: somebody asked to stop.
	Canceled Kind = "canceled"
	// Internal: a fault of Tidewaiter itself.
	Internal Kind = "internal"
)

// Outcome is what a worker does with a scan that failed.
type Outcome int

const (
	// Cancel ends the scan: trying again would give the same answer.
	Cancel Outcome = iota
	// Retry tries again later with a growing pause.
	Retry
)

// Meaning is the row of a kind in the table.
type Meaning struct {
	// Status is the HTTP status of an API answer.
	Status int
	// Outcome says whether a scan is tried again.
	Outcome Outcome
	// Title is a short sentence for people.
	Title string
}

var meanings = map[Kind]Meaning{
	Invalid:      {http.StatusBadRequest, Cancel, "The request is not valid"},
	Unauthorized: {http.StatusUnauthorized, Retry, "The credential is missing or was refused"},
	Forbidden:    {http.StatusForbidden, Cancel, "The credential does not allow this"},
	NotFound:     {http.StatusNotFound, Cancel, "There is no such thing here"},
	Conflict:     {http.StatusConflict, Retry, "The present state does not allow this"},
	TooLarge:     {http.StatusRequestEntityTooLarge, Cancel, "A size limit was exceeded"},
	Bomb:         {http.StatusRequestEntityTooLarge, Cancel, "The content unpacks to far more than it is"},
	Unsupported:  {http.StatusUnprocessableEntity, Cancel, "This kind of content is not supported"},
	Malformed:    {http.StatusUnprocessableEntity, Cancel, "The content is damaged"},
	RateLimited:  {http.StatusTooManyRequests, Retry, "The other side asks to slow down"},
	Unavailable:  {http.StatusServiceUnavailable, Retry, "A service that is needed does not answer"},
	Timeout:      {http.StatusGatewayTimeout, Retry, "It took too long"},
	Canceled:     {499, Cancel, "The work was canceled"},
	Internal:     {http.StatusInternalServerError, Retry, "Something went wrong inside Tidewaiter"},
}

// Kinds lists every kind, in the order of their declaration.
func Kinds() []Kind {
	return []Kind{Invalid, Unauthorized, Forbidden, NotFound, Conflict, TooLarge, Bomb, Unsupported, Malformed, RateLimited, Unavailable, Timeout, Canceled, Internal}
}

// Meaning returns the table row of k; that of Internal for an unknown kind.
func (k Kind) Meaning() Meaning {
	if m, ok := meanings[k]; ok {
		return m
	}
	return meanings[Internal]
}

// Error is an error with a kind.
type Error struct {
	Kind Kind
	// Op names the operation, as in "registry: resolve library/nginx:1.27".
	Op string
	// Err is the cause; nil when Op says it all.
	Err error
	// Hint tells a person what to do next. It is shown to API callers, so it
	// never holds a secret or an internal address. Empty when there is nothing
	// to add.
	Hint string
	// Field names the input that is wrong, as a query parameter or a field of
	// the body; empty when the error is not about one.
	Field string
	// RetryAfter is the pause the other side asked for; zero when it did not.
	RetryAfter time.Duration
}

// Error returns "op: cause".
func (e *Error) Error() string {
	if e.Err == nil {
		return e.Op
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New makes an error of a kind from a format. It starts a chain; use Wrap or Op
// to keep a cause.
func New(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: fmt.Sprintf(format, args...)}
}

// Wrap adds an operation and a kind to a cause. It returns nil for a nil cause.
func Wrap(kind Kind, op string, cause error) error {
	if cause == nil {
		return nil
	}
	return &Error{Kind: kind, Op: op, Err: cause, RetryAfter: RetryAfter(cause)}
}

// Op adds an operation to a cause and keeps the cause's kind. It returns nil
// for a nil cause.
func Op(op string, cause error) error {
	if cause == nil {
		return nil
	}
	return &Error{Kind: KindOf(cause), Op: op, Err: cause, Hint: Hint(cause), RetryAfter: RetryAfter(cause)}
}

// WithHint returns a copy of e that carries a next step for a person.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// WithField returns a copy of e that names the input that is wrong.
func (e *Error) WithField(name string) *Error {
	c := *e
	c.Field = name
	return &c
}

// KindOf returns the kind of err: that of the outermost Error in its chain,
// Timeout or Canceled for a context's end, else Internal. The kind of nil is
// empty.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.Is(err, context.Canceled):
		return Canceled
	}
	return Internal
}

// Is reports whether err is of the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Hint returns the next step the chain of err offers, or "".
func Hint(err error) string {
	for err != nil {
		if e, ok := err.(*Error); ok && e.Hint != "" {
			return e.Hint
		}
		err = errors.Unwrap(err)
	}
	return ""
}

// Field returns the input the chain of err names as wrong, or "".
func Field(err error) string {
	for err != nil {
		if e, ok := err.(*Error); ok && e.Field != "" {
			return e.Field
		}
		err = errors.Unwrap(err)
	}
	return ""
}

// RetryAfter returns the pause asked for anywhere in the chain of err, or zero.
func RetryAfter(err error) time.Duration {
	for err != nil {
		if e, ok := err.(*Error); ok && e.RetryAfter > 0 {
			return e.RetryAfter
		}
		err = errors.Unwrap(err)
	}
	return 0
}
