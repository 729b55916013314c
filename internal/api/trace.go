package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// trace answers GET /trace. What nobody knows is told in the answer, not as a
// problem: why it is not known is the question.
func (h *handler) trace(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	given := q.text("ref")
	if given == "" {
		q.fail("ref", "parameter ref is missing: write it as HOST/NAME:TAG or HOST/NAME@DIGEST")
	}
	if err := q.done(); err != nil {
		return err
	}
	l, err := h.reference(given)
	if errs.Is(err, errs.NotFound) {
		return reply(w, withoutRegistry(given), nil)
	}
	if err != nil {
		return withField(err, "ref")
	}
	if err := h.seesTarget(r.Context(), who.Access, l); err != nil {
		return err
	}
	found, err := h.Reader.Trace(r.Context(), who.Access, l.target(), h.Endpoints)
	return reply(w, found, err)
}

// withoutRegistry is the trace of a reference whose host no registry has.
func withoutRegistry(given string) report.Trace {
	ref, _ := image.ParseReference(given) // it was parsed before its host was looked up
	return report.TraceFacts{Now: time.Now(), Host: ref.Registry, Target: report.Target{
		RepositoryRef: report.RepositoryRef{Name: ref.Repository}, Tag: ref.Tag, Digest: ref.Digest,
	}}.Tell()
}

// seesTarget refuses what lies outside a limited reader's prefixes, known or not.
func (h *handler) seesTarget(ctx context.Context, access report.Access, l located) error {
	if !access.Limited() {
		return nil
	}
	ref, err := h.canonical(ctx, l)
	if err == nil && !access.Sees(ref.Name()) {
		return hidden(ref)
	}
	return err
}
