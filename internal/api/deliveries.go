package api

import (
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// deliveries answers GET /deliveries.
func (h *handler) deliveries(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.DeliveryFilter{Registry: q.text("registry"), Verdict: q.text("verdict")}
	switch filter.Verdict {
	case "", "accepted", "ignored":
	default:
		q.fail("verdict", "parameter verdict is %.40q, not accepted or ignored", filter.Verdict)
	}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Deliveries(r.Context(), who.Access, filter, page)
	return reply(w, found, err)
}
