package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Databases takes what people decide about builds of the vulnerability database.
// Builds are named by their checksum or its first eight digits or more.
type Databases interface {
	// RequestBuildCheck asks for a look for a newer database.
	RequestBuildCheck(ctx context.Context) error
	// ReleaseHeld lets a held build go on; DiscardWaiting gives up one that is
	// held or the candidate. They return the whole checksum. Errors are NotFound
	// for a build that is not there, Conflict for one in another state.
	ReleaseHeld(ctx context.Context, checksum string) (string, error)
	DiscardWaiting(ctx context.Context, checksum string) (string, error)
}

// vulndb answers GET /vulndb.
func (h *handler) vulndb(w http.ResponseWriter, r *http.Request, _ report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	found, err := h.builds(r.Context())
	return reply(w, found, err)
}

func (h *handler) builds(ctx context.Context) (report.Builds, error) {
	found, err := h.Reader.Builds(ctx)
	if found.Active != nil && h.DatabaseAlarm > 0 && !found.Active.Sample {
		found.Alarm = time.Duration(found.Active.AgeSeconds)*time.Second > h.DatabaseAlarm
	}
	return found, err
}

// build answers GET /vulndb/{checksum}.
func (h *handler) build(w http.ResponseWriter, r *http.Request, _ report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	found, err := h.Reader.Build(r.Context(), chi.URLParam(r, "checksum"))
	return reply(w, found, err)
}

// checkBuilds answers POST /vulndb/check.
func (h *handler) checkBuilds(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	if err := mayDecide(r, who); err != nil {
		return err
	}
	if err := h.Databases.RequestBuildCheck(r.Context()); err != nil {
		return errs.Op("api: request a look for a newer database", err)
	}
	changeOf(r).made()
	h.Logger.InfoContext(r.Context(), "look for a newer vulnerability database requested", slog.String("token", who.Token))
	found, err := h.builds(r.Context())
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusAccepted, found)
}

// releaseBuild answers POST /vulndb/{checksum}/release.
func (h *handler) releaseBuild(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	return h.decide(w, r, who, "release", h.Databases.ReleaseHeld)
}

// discardBuild answers POST /vulndb/{checksum}/discard.
func (h *handler) discardBuild(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	return h.decide(w, r, who, "discard", h.Databases.DiscardWaiting)
}

func (h *handler) decide(w http.ResponseWriter, r *http.Request, who report.Principal, word string,
	act func(context.Context, string) (string, error)) error {
	if err := mayDecide(r, who); err != nil {
		return err
	}
	checksum, err := act(r.Context(), chi.URLParam(r, "checksum"))
	if err != nil {
		return err
	}
	c := changeOf(r)
	c.about(checksum)
	c.made()
	h.Logger.WarnContext(r.Context(), "vulnerability database decided about", slog.String("token", who.Token),
		slog.String("word", word), slog.String("checksum", checksum))
	found, err := h.Reader.Build(r.Context(), checksum)
	return reply(w, found, err)
}

// mayDecide refuses tokens that see some repositories only: the database is
// everybody's.
func mayDecide(r *http.Request, who report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	if who.Access.Limited() {
		return errs.New(errs.Forbidden, "the token %q is limited to some repositories; the vulnerability database concerns all", who.Token).
			WithHint("use a token of scope admin without prefixes")
	}
	return nil
}
