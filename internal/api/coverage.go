package api

import (
	"cmp"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// coverage answers GET /coverage.
func (h *handler) coverage(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.CoverageFilter{
		Registry: q.text("registry"), Window: cmp.Or(q.duration("window", report.MaxWindow), report.DefaultWindow), Endpoints: h.Endpoints,
	}
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Coverage(r.Context(), who.Access, filter)
	return reply(w, found, err)
}

// repositoryCoverage answers GET /coverage/repositories.
func (h *handler) repositoryCoverage(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.RepositoryCoverageFilter{Registry: q.text("registry"), Prefix: q.text("prefix")}
	if uncovered := q.flag("uncovered"); uncovered != nil {
		filter.Uncovered = *uncovered
	}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.RepositoryCoverage(r.Context(), who.Access, filter, page)
	return reply(w, found, err)
}

// ledger answers GET /coverage/manifests.
func (h *handler) ledger(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	repository := h.repositoryParameter(q)
	var filter report.LedgerFilter
	var err error
	filter.State, err = report.ParseLedgerState(q.text("state"))
	q.keep("state", err)
	if uncovered := q.flag("uncovered"); uncovered != nil {
		filter.Uncovered = *uncovered
	}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Ledger(r.Context(), who.Access, repository.ref(), filter, page)
	return reply(w, found, err)
}
