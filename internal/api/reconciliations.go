package api

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// reconciliations answers GET /reconciliations.
func (h *handler) reconciliations(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.ReconciliationFilter{Registry: q.text("registry")}
	var err error
	filter.State, err = report.ParseRunState(q.text("state"))
	q.keep("state", err)
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Reader.Reconciliations(r.Context(), who.Access, filter, page)
	return reply(w, found, err)
}

// reconciliation answers GET /reconciliations/{id}.
func (h *handler) reconciliation(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	id, err := numberInPath(r, "reconciliation")
	if err != nil {
		return err
	}
	found, err := h.Reader.Reconciliation(r.Context(), who.Access, id)
	return reply(w, found, err)
}

// reconciliationRequest is the body of POST /reconciliations.
type reconciliationRequest struct {
	Registry   string `json:"registry"`
	Repository string `json:"repository"`
}

// requestReconciliation answers POST /reconciliations.
func (h *handler) requestReconciliation(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	var asked reconciliationRequest
	if err := readJSON(http.MaxBytesReader(w, r.Body, maxScanRequest), &asked, `{"registry": "NAME"}, with "repository" for one alone`); err != nil {
		return err
	}
	c := changeOf(r)
	c.about(asked.Registry)
	registry, err := h.configured(r, asked.Registry)
	if err != nil {
		return err
	}
	repository, err := h.within(registry, asked.Repository)
	if err != nil {
		return err
	}
	if repository != "" {
		c.about(registry.Host + "/" + repository)
	}
	if err := mayCompare(who.Access, registry, repository); err != nil {
		return err
	}
	id, err := h.Reconciler.RequestReconciliation(r.Context(), registry.Name, repository)
	if err != nil {
		return errs.Op("api: request reconciliation", err)
	}
	c.made("reconciliation", id)
	h.Logger.InfoContext(r.Context(), "reconciliation requested", slog.String("token", who.Token),
		slog.String("registry", registry.Name), slog.String("repository", repository), slog.Int64("reconciliation", id))
	queued, err := h.Reader.Reconciliation(r.Context(), report.Access{}, id)
	if err != nil {
		return err
	}
	w.Header().Set("Location", Prefix+"/reconciliations/"+strconv.FormatInt(id, 10))
	return writeJSON(w, http.StatusAccepted, queued)
}

// mayCompare refuses what lies outside of what the caller sees.
func mayCompare(access report.Access, registry report.Registry, repository string) error {
	switch {
	case repository != "" && !access.Sees(registry.Host+"/"+repository):
		return hidden(image.Reference{Registry: registry.Host, Repository: repository})
	case repository == "" && !access.Sees(registry.Host):
		return errs.New(errs.NotFound, "no registry is called %.100q", registry.Name).
			WithField("registry").WithHint("the token is limited: name a repository that it sees")
	}
	return nil
}

// configured finds a registry by its name.
func (h *handler) configured(r *http.Request, name string) (report.Registry, error) {
	if name == "" {
		return report.Registry{}, errs.New(errs.Invalid, "field registry is missing: write the name the configuration gives it").WithField("registry")
	}
	registries, err := h.Reader.Registries(r.Context(), report.Access{})
	if err != nil {
		return report.Registry{}, err
	}
	for _, registry := range registries {
		if registry.Name == name && name != report.UploadRegistry {
			return registry, nil
		}
	}
	return report.Registry{}, errs.New(errs.NotFound, "no registry is called %.100q", name).
		WithField("registry").WithHint("GET %s/registries lists the names", Prefix)
}

// within reads the repository of a request: a name in the registry, with or
// without its host; empty stays empty.
func (h *handler) within(registry report.Registry, given string) (string, error) {
	name := given
	if first, rest, ok := strings.Cut(given, "/"); ok {
		if owner, ok := h.Hosts(image.CanonicalHost(first)); ok && owner == registry.Name {
			name = rest
		}
	}
	if given != "" && !image.IsRepository(name) {
		return "", errs.New(errs.Invalid, "%.300q is not a repository of registry %s", given, registry.Name).WithField("repository").
			WithHint("write it as %s/NAME, or NAME alone", registry.Host)
	}
	return name, nil
}
