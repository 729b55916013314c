package api

import (
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// auditLog answers GET /audit.
func (h *handler) auditLog(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.AuditFilter{
		Actor: q.text("actor"), Action: q.text("action"), Object: q.text("object"), Since: q.moment("since"), Until: q.moment("until"),
	}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	if who.Access.Limited() {
		return errs.New(errs.Forbidden, "the token %q is limited to some repositories; the audit log is of all", who.Token).
			WithHint("use a token of scope admin without prefixes")
	}
	found, err := h.Audit.Audit(r.Context(), filter, page)
	return reply(w, found, err)
}
