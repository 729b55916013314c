package api

import (
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// version answers GET /version.
func (h *handler) version(w http.ResponseWriter, r *http.Request, _ report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	out := h.Program
	builds, err := h.Reader.Builds(r.Context())
	if err != nil {
		return err
	}
	if builds.Active != nil {
		out.Build = &builds.Active.Build
	}
	out.Schema, err = h.Reader.Schema(r.Context())
	return reply(w, out, err)
}
