package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/go-chi/chi/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Forgetter deletes what is known. It writes a row into the audit log together with
// what it deletes, for each repository and for a registry.
type Forgetter interface {
	// ForgetRepository returns NotFound for a repository that is not there or not to
	// be seen.
	ForgetRepository(ctx context.Context, access report.Access, ref report.RepositoryRef, o report.ForgetOptions) (report.Forgotten, error)
	// ForgetRegistry returns NotFound for a registry that is not there.
	ForgetRegistry(ctx context.Context, name string, o report.ForgetOptions) (report.Forgotten, error)
}

// forgetRepository answers DELETE /repositories.
func (h *handler) forgetRepository(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	repository := h.repositoryParameter(q)
	dry := q.flag("dry_run")
	if err := q.done(); err != nil {
		return err
	}
	ref, err := h.canonical(r.Context(), repository)
	if err != nil {
		return err
	}
	c := changeOf(r)
	c.about(ref.Name())
	found, err := h.Forgetter.ForgetRepository(r.Context(), who.Access, repository.ref(), h.forgetting(c, dry))
	if err != nil {
		return err
	}
	found.Configured = h.isConfigured(report.Registry{Name: repository.registry, Host: ref.Registry})
	if found.Configured && repository.registry != report.UploadRegistry {
		found.Note = "if the registry still has the repository, it comes back with the next push or reconciliation; a rule under exclude keeps it out"
	}
	return h.forgot(w, r, who, c, found)
}

// forgetRegistry answers DELETE /registries/{name}.
func (h *handler) forgetRegistry(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	name, err := url.PathUnescape(chi.URLParam(r, "name"))
	if err != nil {
		return errs.New(errs.Invalid, "the path does not hold the name of a registry").WithField("name")
	}
	c := changeOf(r)
	c.about(name)
	q := readQuery(r)
	dry := q.flag("dry_run")
	if err := q.done(); err != nil {
		return err
	}
	if who.Access.Limited() {
		return errs.New(errs.Forbidden, "the token %q is limited to some repositories; a registry is all of its own", who.Token).
			WithHint("use a token without prefixes, or forget repositories one by one")
	}
	registry, err := h.known(r, name)
	if err != nil {
		return err
	}
	o := h.forgetting(c, dry)
	o.Keep = h.isConfigured(registry)
	found, err := h.Forgetter.ForgetRegistry(r.Context(), name, o)
	if err != nil {
		return err
	}
	switch {
	case name == report.UploadRegistry:
		found.Note = "uploads are not found again by themselves: upload what is still wanted"
	case found.Configured:
		found.Note = "the configuration still has the registry: its repositories come back with the next reconciliation; take it out of the configuration of every process first"
	}
	return h.forgot(w, r, who, c, found)
}

// forgetting leaves half of the time of a request for what cannot be done in parts.
func (h *handler) forgetting(c *change, dry *bool) report.ForgetOptions {
	return report.ForgetOptions{DryRun: dry != nil && *dry, Budget: h.RequestTimeout / 2, By: c.handed()}
}

// forgot answers: 202 when the caller has to ask again.
func (h *handler) forgot(w http.ResponseWriter, r *http.Request, who report.Principal, c *change, found report.Forgotten) error {
	switch {
	case found.DryRun:
		c.made("dry_run", true)
	case found.Done:
		c.saved()
	default:
		c.made("to_go_on", true)
	}
	if !found.DryRun {
		h.Logger.WarnContext(r.Context(), "forgotten", slog.String("token", who.Token), slog.String("registry", found.Registry),
			slog.String("repository", found.Repository), slog.Bool("done", found.Done), slog.Int64("tags", found.Counts.Tags))
	}
	if !found.Done {
		return writeJSON(w, http.StatusAccepted, found)
	}
	return writeJSON(w, http.StatusOK, found)
}

// known finds a registry that is stored, configured or not.
func (h *handler) known(r *http.Request, name string) (report.Registry, error) {
	registries, err := h.Reader.Registries(r.Context(), report.Access{})
	if err != nil {
		return report.Registry{}, err
	}
	for _, registry := range registries {
		if registry.Name == name {
			return registry, nil
		}
	}
	return report.Registry{}, errs.New(errs.NotFound, "no registry is called %.100q", name).
		WithField("name").WithHint("GET %s/registries lists the names", Prefix)
}

// isConfigured reports whether this process has a registry in its configuration;
// the one of uploads is there always.
func (h *handler) isConfigured(registry report.Registry) bool {
	name, ok := h.Hosts(registry.Host)
	return registry.Name == report.UploadRegistry || ok && name == registry.Name
}
