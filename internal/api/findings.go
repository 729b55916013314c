package api

import (
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// findings answers GET /findings, of an image or of a repository.
func (h *handler) findings(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	scope := h.findingScope(q)
	filter := findingFilter(q)
	if !scope.AsOf.IsZero() {
		filter.Sort = q.pastSort(filter.Sort)
	}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Findings(r.Context(), who.Access, scope, filter, page)
	return reply(w, found, err)
}

func (h *handler) findingScope(q *query) report.FindingScope {
	scope := report.FindingScope{Platform: q.platform(), AsOf: q.past("as_of")}
	ref, repository := q.text("ref"), q.text("repository")
	switch {
	case (ref == "") == (repository == ""):
		q.fail("ref", "name one of ref, as HOST/NAME:TAG or HOST/NAME@DIGEST, and repository, as HOST/NAME")
	case ref != "":
		scope.Target = h.located(q, "ref", ref, h.reference).target()
	default:
		scope.RepositoryRef = h.located(q, "repository", repository, h.repository).ref()
		if !scope.AsOf.IsZero() {
			q.fail("as_of", "the past is told of a tag or digest: name it as ref")
		}
	}
	return scope
}

// pastSort is the order of findings of the past, of which no estimates are kept.
func (q *query) pastSort(asked report.Sort) report.Sort {
	if q.values.Has("sort") && asked != report.SortSeverity {
		q.fail("sort", "with as_of the order is severity: estimates and risk are of today")
	}
	return report.SortSeverity
}

func findingFilter(q *query) report.FindingFilter {
	filter := report.FindingFilter{
		Fixable: q.flag("fixable"), KEV: q.flag("kev"),
		Package: q.text("package"), Vulnerability: q.text("vulnerability"),
	}
	for _, given := range q.list("severity") {
		filter.Severities = append(filter.Severities, q.severity("severity", given))
	}
	if given := q.text("min_severity"); given != "" {
		filter.MinSeverity = q.severity("min_severity", given)
	}
	var err error
	filter.Ignored, err = report.ParseIgnoredFilter(q.text("ignored"))
	q.keep("ignored", err)
	filter.Sort, err = report.ParseSort(q.text("sort"))
	q.keep("sort", err)
	return filter
}
