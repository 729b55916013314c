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
	if err := q.done(); err != nil {
		return err
	}
	stored, err := h.Reader.Packages(r.Context(), asked)
	if err != nil {
		return err
	}
	ids, err := h.inRange(stored, versions)
	if err != nil {
		return err
	}
	found, err := h.Reader.PackageImages(r.Context(), who.Access, ids, page)
	return reply(w, found, err)
}

// inRange returns the numbers of those packages whose version satisfies the
// constraint, compared as their type does; all when there is none.
func (h *handler) inRange(stored []report.StoredPackage, constraint string) ([]int64, error) {
	type version struct{ kind, text string }
	known := map[version]bool{}
	ids := []int64{}
	for _, p := range stored {
		v := version{p.Type, p.Version}
		in, ok := known[v]
		if !ok {
			var err error
			if in, err = h.satisfies(p, constraint); err != nil {
				return nil, err
			}
			known[v] = in
		}
		if in {
			ids = append(ids, p.ID)
		}
	}
	return ids, nil
}

func (h *handler) satisfies(p report.StoredPackage, constraint string) (bool, error) {
	if constraint == "" {
		return true, nil
	}
	ok, err := h.Versions.Satisfies(p.Type, p.Version, constraint)
	if err != nil {
		return false, errs.New(errs.Invalid, "parameter version is %.200q, not a range of %s versions", constraint, p.Type).
			WithField("version").WithHint("write a range as <2.17.0 or >= 1.2, < 1.4")
	}
	return ok, nil
}
