package api

import (
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// historyRoutes are those for what changed, what was, and what to do.
func (h *handler) historyRoutes(r chi.Router) {
	r.Get(Prefix+"/events", h.read(h.events))
	r.Get(Prefix+"/trends", h.read(h.trends))
	r.Get(Prefix+"/compare", h.read(h.compare))
	r.Get(Prefix+"/upgrades", h.read(h.upgrades))
	r.Get(Prefix+"/export/findings", h.guard(report.ScopeRead, false, h.export))
}

// events answers GET /events.
func (h *handler) events(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.EventFilter{
		Registry: q.text("registry"), Repository: h.optionalRepository(q), Package: q.text("package"), Vulnerability: q.text("vulnerability"),
		Since: q.moment("since"), Until: q.moment("until"),
	}
	if filter.Registry != "" && filter.Repository != nil {
		q.fail("registry", "name one of registry and repository, or neither for everything")
	}
	for _, given := range q.list("kind") {
		kind, err := report.ParseEventKind(given)
		q.keep("kind", err)
		filter.Kinds = append(filter.Kinds, kind)
	}
	for _, given := range q.list("cause") {
		cause, err := report.ParseEventCause(given)
		q.keep("cause", err)
		filter.Causes = append(filter.Causes, cause)
	}
	for _, given := range q.list("severity") {
		filter.Severities = append(filter.Severities, q.severity("severity", given))
	}
	if given := q.text("min_severity"); given != "" {
		filter.MinSeverity = q.severity("min_severity", given)
	}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Events(r.Context(), who.Access, filter, page)
	return reply(w, found, err)
}

// optionalRepository reads the parameter repository; nil when it is not given.
func (h *handler) optionalRepository(q *query) *report.RepositoryRef {
	given := q.text("repository")
	if given == "" {
		return nil
	}
	ref := h.located(q, "repository", given, h.repository).ref()
	return &ref
}

// trends answers GET /trends, of a repository, a registry or everything.
func (h *handler) trends(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	scope := report.TrendScope{Registry: q.text("registry"), Repository: h.optionalRepository(q), Since: q.day("since"), Until: q.day("until")}
	if scope.Registry != "" && scope.Repository != nil {
		q.fail("registry", "name one of registry and repository, or neither for everything")
	}
	if scope.Until.IsZero() {
		scope.Until = time.Now().UTC().Truncate(24 * time.Hour)
	}
	if scope.Since.IsZero() {
		scope.Since = scope.Until.AddDate(0, 0, 1-report.DefaultTrendDays)
	}
	if days := scope.Until.Sub(scope.Since)/(24*time.Hour) + 1; days < 1 || days > report.MaxTrendDays {
		q.fail("since", "since has to be at most %d days before until, and not after it", report.MaxTrendDays)
	}
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Trend(r.Context(), who.Access, scope)
	return reply(w, found, err)
}

// compare answers GET /compare, of two images or two moments of one.
func (h *handler) compare(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	from := report.FindingScope{Platform: q.platform(), AsOf: q.past("from_as_of")}
	to := report.FindingScope{Platform: from.Platform, AsOf: q.past("to_as_of")}
	given, other := q.text("from"), q.text("to")
	if given == "" {
		q.fail("from", "parameter from is missing: write it as HOST/NAME:TAG or HOST/NAME@DIGEST")
	} else {
		from.Target = h.located(q, "from", given, h.reference).target()
	}
	if to.Target = from.Target; other != "" {
		to.Target = h.located(q, "to", other, h.reference).target()
	}
	if q.err == nil && from == to {
		q.fail("to", "both sides are the same: name another image as to, or a moment of the past as from_as_of")
	}
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Compare(r.Context(), who.Access, from, to)
	return reply(w, found, err)
}

// upgrades answers GET /upgrades: what to do about an image or a repository.
func (h *handler) upgrades(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	scope := h.findingScope(q)
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Fixes(r.Context(), who.Access, scope)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, found.Plan(h.Versions.Compare))
}

// moment reads a time; the zero time when it is not given.
func (q *query) moment(name string) time.Time {
	given := q.text(name)
	if given == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339, given)
	if err != nil || at.Year() < 1970 || at.Year() > 9999 {
		q.keep(name, errs.New(errs.Invalid, "%.60q is not a time", given).
			WithHint("write it as 2026-03-01T00:00:00Z; a + of a time zone has to be escaped as %%2B"))
		return time.Time{}
	}
	return at
}

// past is moment, for one that is over.
func (q *query) past(name string) time.Time {
	at := q.moment(name)
	if at.After(time.Now()) {
		q.fail(name, "parameter %s lies in the future", name)
	}
	return at
}

// day reads a day, UTC; the zero time when it is not given.
func (q *query) day(name string) time.Time {
	given := q.text(name)
	if given == "" {
		return time.Time{}
	}
	at, err := time.Parse(time.DateOnly, given)
	if err != nil || at.Year() < 1970 || at.Year() > 9998 {
		q.fail(name, "parameter %s is %.40q, not a day such as 2026-03-01", name, given)
	}
	return at
}
