package api

import (
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// vulnerability answers GET /vulnerabilities/{id}.
func (h *handler) vulnerability(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	id, err := vulnerabilityID(r)
	if err != nil {
		return err
	}
	if err := readQuery(r).done(); err != nil {
		return err
	}
	found, err := h.Reader.Vulnerability(r.Context(), who.Access, id)
	return reply(w, found, err)
}

// vulnerabilityImages answers GET /vulnerabilities/{id}/images.
func (h *handler) vulnerabilityImages(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	id, err := vulnerabilityID(r)
	if err != nil {
		return err
	}
	q := readQuery(r)
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.VulnerabilityImages(r.Context(), who.Access, id, page)
	return reply(w, found, err)
}

func vulnerabilityID(r *http.Request) (string, error) {
	id, err := url.PathUnescape(chi.URLParam(r, "id"))
	if err != nil || id == "" || len(id) > 200 || !utf8.ValidString(id) || strings.ContainsRune(id, 0) {
		return "", errs.New(errs.Invalid, "the path does not hold the name of a vulnerability").WithField("id")
	}
	return id, nil
}
