package api

import (
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// registries answers GET /registries.
func (h *handler) registries(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	found, err := h.Reader.Registries(r.Context(), who.Access)
	return reply(w, report.List[report.Registry]{Items: found}, err)
}

// repositories answers GET /repositories.
func (h *handler) repositories(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.RepositoryFilter{Registry: q.text("registry"), Prefix: q.text("prefix")}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Repositories(r.Context(), who.Access, filter, page)
	return reply(w, found, err)
}

// tags answers GET /tags.
func (h *handler) tags(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	repository := h.repositoryParameter(q)
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Tags(r.Context(), who.Access, repository.ref(), page)
	return reply(w, found, err)
}

// tagHistory answers GET /tags/history.
func (h *handler) tagHistory(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	ref := h.referenceParameter(q)
	if q.err == nil && (ref.Tag == "" || ref.Digest != "") {
		q.fail("ref", "parameter ref does not name a tag: write it as HOST/NAME:TAG")
	}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.TagHistory(r.Context(), who.Access, ref.target(), page)
	return reply(w, found, err)
}

// repositoryParameter reads the required parameter repository.
func (h *handler) repositoryParameter(q *query) located {
	given := q.text("repository")
	if given == "" {
		q.fail("repository", "parameter repository is missing: write it as HOST/NAME")
		return located{}
	}
	return h.located(q, "repository", given, h.repository)
}

// located keeps what is wrong with a name, but a host that is not ours is told
// as NotFound.
func (h *handler) located(q *query, field, given string, parse func(string) (located, error)) located {
	l, err := parse(given)
	if err != nil && q.err == nil {
		q.err = withField(err, field)
	}
	return l
}
