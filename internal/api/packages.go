package api

import (
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// packages answers GET /packages: which images hold a package, in a range of
// versions.
func (h *handler) packages(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	asked := report.PackageQuery{Name: q.text("name"), PURL: q.text("purl"), Type: q.text("type")}
	versions := q.text("version")
	page := q.page()
	if (asked.Name == "") == (asked.PURL == "") {
		q.fail("name", "name one of name and purl")
	}
	if asked.PURL != "" {
		_, err := report.ParsePURL(asked.PURL)
		q.keep("purl", err)
	}
	if err := q.done(); err != nil {
		return err
	}
	if _, err := h.satisfies(asked.Type, "1", versions); err != nil {
		return err
	}
	stored, err := h.Reader.Packages(r.Context(), asked)
	if err != nil {
		return err
	}
	found, err := h.Reader.PackageImages(r.Context(), who.Access, h.inRange(stored, versions), page)
	return reply(w, found, err)
}

// inRange returns the numbers of those packages whose version satisfies the
// constraint, compared as their type does; all when there is none. A type that
// cannot read the constraint has no version in it: an error would tell a limited
// caller of packages it does not see.
func (h *handler) inRange(stored []report.StoredPackage, constraint string) []int64 {
	type version struct{ kind, text string }
	known := map[version]bool{}
	ids := []int64{}
	for _, p := range stored {
		v := version{p.Type, p.Version}
		in, ok := known[v]
		if !ok {
			satisfied, err := h.satisfies(p.Type, p.Version, constraint)
			in = satisfied && err == nil
			known[v] = in
		}
		if in {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

func (h *handler) satisfies(packageType, version, constraint string) (bool, error) {
	if constraint == "" {
		return true, nil
	}
	ok, err := h.Versions.Satisfies(packageType, version, constraint)
	if err != nil {
		return false, errs.New(errs.Invalid, "parameter version is %.200q, not a range of versions", constraint).
			WithField("version").WithHint("write a range as <2.17.0 or >= 1.2, < 1.4")
	}
	return ok, nil
}
