package api

import (
	"log/slog"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// cancelScan answers DELETE /scans/{id}.
func (h *handler) cancelScan(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	id, err := numberInPath(r, "scan")
	if err != nil {
		return err
	}
	was, err := h.Requests.Cancel(r.Context(), who.Access, id, who.Token)
	if err != nil {
		return err
	}
	c := changeOf(r)
	c.made("was", string(was))
	canceled, err := h.Reader.Scan(r.Context(), who.Access, id)
	if err == nil {
		c.made("image", imageOf(canceled))
	}
	if err == nil && was != report.RunCanceled {
		h.Logger.InfoContext(r.Context(), "scan canceled", slog.String("token", who.Token), slog.Int64("scan", id),
			slog.String("repository", canceled.Repository), slog.String("tag", canceled.Tag), slog.String("was", string(was)))
	}
	return reply(w, canceled, err)
}

// imageOf names what a scan is of.
func imageOf(s report.Scan) string {
	if s.Tag != "" {
		return s.Repository + ":" + s.Tag
	}
	return s.Repository + "@" + string(s.Digest)
}
