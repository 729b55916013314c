package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Audit is the log of what people changed.
type Audit interface {
	// SaveChange adds a row.
	SaveChange(ctx context.Context, c report.Change) error
	// Audit lists rows, newest first. The error is of kind Invalid for a cursor that
	// is none.
	Audit(ctx context.Context, filter report.AuditFilter, p report.Page) (report.List[report.AuditEntry], error)
}

// actions are what the audit log calls the routes that change something. Every
// request that is not for reading has a row, also by a route that is not here.
var actions = map[string]string{
	"POST /scans":                              "scan.request",
	"DELETE /scans/{id}":                       "scan.cancel",
	"POST /sboms":                              "sbom.upload",
	"POST /vulndb/check":                       "vulndb.check",
	"POST /vulndb/{checksum}/release":          "vulndb.release",
	"POST /vulndb/{checksum}/discard":          "vulndb.discard",
	"POST /notifications/{id}/redeliver":       "notification.redeliver",
	"POST /notifications/channels/{name}/test": "notification.test",
	"POST /reconciliations":                    "reconciliation.request",
	"POST /tokens":                             "token.create",
	"DELETE /tokens/{id}":                      "token.revoke",
	"DELETE /repositories":                     "repository.forget",
	"DELETE /registries/{name}":                "registry.forget",
}

// change is what the audit log will say of a request.
type change struct {
	entry  report.Change
	did    bool  // it is made, whatever becomes of the answer
	logged bool  // the audit log has it
	err    error // what the caller was told
}

type changeKey struct{}

// changeOf is the change that a request is about to make. For one that only reads
// it is nobody's.
func changeOf(r *http.Request) *change {
	if c, ok := r.Context().Value(changeKey{}).(*change); ok {
		return c
	}
	return &change{}
}

// about says what the change is about, as soon as that is known.
func (c *change) about(object string) { c.entry.Object = object }

// made says that the change is made, with what is worth knowing of it in pairs of
// name and value. Values must not be secrets.
func (c *change) made(details ...any) {
	c.did = true
	for i := 0; i+1 < len(details); i += 2 {
		if c.entry.Detail == nil {
			c.entry.Detail = map[string]any{}
		}
		if name, ok := details[i].(string); ok {
			c.entry.Detail[name] = details[i+1]
		}
	}
}

// handed is the row for a store that writes it together with the change. If the
// store fails, the row is written as for any other change.
func (c *change) handed() report.Change { return c.entry }

// saved says that the store has written the row together with the change.
func (c *change) saved() { c.did, c.logged = true, true }

// audited gives every request that is not for reading a row in the audit log. The
// row is there before the caller has the answer, and also when they do not wait
// for it.
func (h *handler) audited(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		who := principal(r.Context())
		c := &change{entry: report.Change{
			Actor: who.Actor(), Subject: who.Subject, Address: httpserver.AddressOf(r), Request: httpserver.RequestIDFrom(r.Context()),
		}}
		r = r.WithContext(context.WithValue(r.Context(), changeKey{}, c))
		c.entry.Action, c.entry.Object = actionOf(r)
		told := &auditWriter{ResponseWriter: w, before: func(status int) { h.audit(r, c, status) }}
		defer told.tell(http.StatusInternalServerError) // a panic is on its way
		next.ServeHTTP(told, r)
		told.tell(http.StatusOK)
	})
}

// actionOf names the change of a request by its route, and its object by its path
// until a handler knows better.
func actionOf(r *http.Request) (action, object string) {
	route := chi.RouteContext(r.Context()).RoutePattern()
	object = strings.Trim(strings.TrimPrefix(r.URL.Path, Prefix), "/")
	if action = actions[r.Method+" "+strings.TrimPrefix(route, Prefix)]; action == "" {
		action = r.Method + " " + route
	}
	return action, object
}

// auditTimeout bounds the time a row may take.
const auditTimeout = 10 * time.Second

// audit writes the row of a request that is about to be answered. Refusals that
// come faster than people make them are counted only, or they could fill the disk.
func (h *handler) audit(r *http.Request, c *change, status int) {
	if c.logged {
		return
	}
	c.logged = true
	switch {
	case c.did:
		c.entry.Outcome = report.ChangeDone
	case c.err != nil:
		c.entry.Outcome, c.entry.Reason = report.OutcomeOf(c.err)
	case status >= http.StatusInternalServerError:
		c.entry.Outcome, c.entry.Reason = report.ChangeFailed, errs.Internal
	case status >= http.StatusBadRequest:
		c.entry.Outcome, c.entry.Reason = report.ChangeRefused, errs.Invalid
	default:
		c.entry.Outcome = report.ChangeDone
	}
	if c.entry.Outcome != report.ChangeDone && h.refusals.Allow(c.entry.Actor) > 0 {
		h.metrics.unaudited.WithLabelValues("flood").Inc()
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditTimeout)
	defer cancel()
	if err := h.Audit.SaveChange(ctx, c.entry); err != nil {
		h.metrics.unaudited.WithLabelValues("failed").Inc()
		h.Logger.ErrorContext(ctx, "audit log not written", slog.Any("error", err), slog.String("actor", c.entry.Actor),
			slog.String("action", c.entry.Action), slog.String("object", c.entry.Object), slog.String("outcome", string(c.entry.Outcome)))
	}
}

// auditWriter tells once, before anything is answered.
type auditWriter struct {
	http.ResponseWriter
	before func(status int)
	told   bool
}

func (w *auditWriter) tell(status int) {
	if !w.told {
		w.told = true
		w.before(status)
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *auditWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.tell(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *auditWriter) Write(p []byte) (int, error) {
	w.tell(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (w *auditWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
