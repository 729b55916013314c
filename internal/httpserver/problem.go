package httpserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// ProblemType is the media type of a problem (RFC 9457, section 3).
const ProblemType = "application/problem+json"

// Problem is how an error is told to a caller (RFC 9457, section 3). Kind,
// Hint, Field and RequestID are extension members.
type Problem struct {
	// Type is a URN that ends in the kind; it names the sort of problem and is
	// not meant to be fetched.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	// Detail says what happened this time; empty for faults of our own.
	Detail string    `json:"detail,omitempty"`
	Kind   errs.Kind `json:"kind"`
	// Hint is what the caller can do next; empty when there is nothing to add.
	Hint string `json:"hint,omitempty"`
	// Field names the input that is wrong; empty when the problem is not about
	// one.
	Field string `json:"field,omitempty"`
	// RequestID finds the request in the log.
	RequestID string `json:"request_id,omitempty"`
}

// ProblemOf translates an error. The status comes from the kind's row in errs;
// a body cut off by http.MaxBytesReader counts as TooLarge. What the caller
// caused is told in full. When something of ours or behind us failed, only the
// operations are told and never the cause, which may name internal addresses;
// for the kind Internal nothing is.
func ProblemOf(err error) Problem {
	kind := kindOf(err)
	meaning := kind.Meaning()
	return Problem{
		Type:   "urn:tidewaiter:problem:" + string(kind),
		Title:  meaning.Title,
		Status: meaning.Status,
		Detail: detail(kind, err),
		Kind:   kind,
		Hint:   errs.Hint(err),
		Field:  errs.Field(err),
	}
}

// WriteProblem answers a request with an error: status, problem+json, Retry-After
// when the error carries a pause, and a Bearer challenge with 401 unless the
// handler set one. Nothing else may have been written before. It does not log;
// the request log line carries the error (see LogRequests).
func WriteProblem(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = errs.New(errs.Internal, "httpserver: a problem without an error")
	}
	p := ProblemOf(err)
	p.RequestID = RequestIDFrom(r.Context())
	noteError(r.Context(), err)
	h := w.Header()
	h.Set("Content-Type", ProblemType)
	h.Del("Content-Encoding")
	h.Del("ETag")
	h.Set("Cache-Control", "no-store")
	if pause := errs.RetryAfter(err); pause > 0 {
		seconds := (pause + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
	}
	if p.Status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="tidewaiter"`)
	}
	w.WriteHeader(p.Status)
	if r.Method != http.MethodHead {
		// The caller may be gone; there is nobody left to tell.
		_ = json.NewEncoder(w).Encode(p)
	}
}

// NotFound answers any request with a problem of kind NotFound; routers use it
// for paths they do not know.
func NotFound(w http.ResponseWriter, r *http.Request) {
	WriteProblem(w, r, errs.New(errs.NotFound, "no such path: %.200q", apiToken.ReplaceAllString(r.URL.Path, "tw_…")))
}

// MethodNotAllowed answers with status 405; routers use it for paths they know
// under other methods. The router sets the Allow header.
func MethodNotAllowed(w http.ResponseWriter, r *http.Request) {
	p := ProblemOf(errs.New(errs.Invalid, "method %.20q is not allowed here", r.Method))
	p.Status = http.StatusMethodNotAllowed
	p.RequestID = RequestIDFrom(r.Context())
	w.Header().Set("Content-Type", ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func kindOf(err error) errs.Kind {
	kind := errs.KindOf(err)
	var tooLarge *http.MaxBytesError
	if kind == errs.Internal && errors.As(err, &tooLarge) {
		return errs.TooLarge
	}
	return kind
}

func detail(kind errs.Kind, err error) string {
	switch kind {
	case errs.Internal:
		return ""
	case errs.Unavailable, errs.Timeout, errs.RateLimited, errs.Canceled:
		return operations(err)
	}
	return shorten(strings.ToValidUTF8(err.Error(), "\uFFFD"), 2000)
}

// operations joins what errs.Error values in the chain say and leaves out
// everything else.
func operations(err error) string {
	var ops []string
	for ; err != nil; err = errors.Unwrap(err) {
		if e, ok := err.(*errs.Error); ok {
			ops = append(ops, e.Op)
		}
	}
	return strings.Join(ops, ": ")
}

type errorNoteKey struct{}

// errorNote lets WriteProblem hand the whole error to the request log.
type errorNote struct{ err error }

func noteError(ctx context.Context, err error) {
	if n, ok := ctx.Value(errorNoteKey{}).(*errorNote); ok {
		n.err = err
	}
}
