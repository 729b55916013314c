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

// Notifications is the log of what was told to whom, and a way to try channels.
type Notifications interface {
	// Notifications lists what was told, newest first. The error is of kind Invalid
	// for a cursor that is none.
	Notifications(ctx context.Context, filter report.NotificationFilter, p report.Page) (report.List[report.Notification], error)
	// Redeliver queues one again and returns what it is now; one that is being sent
	// stays as it is. The error is of kind NotFound when there is none.
	Redeliver(ctx context.Context, id int64) (report.Notification, error)
	// Test sends a message that says so through a channel, once. The error is of kind
	// NotFound when there is no such channel; a message that did not arrive is no error.
	Test(ctx context.Context, channel string) (report.NotificationTest, error)
}

// notifications answers GET /notifications.
func (h *handler) notifications(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.NotificationFilter{Rule: q.text("rule"), Channel: q.text("channel")}
	var err error
	filter.State, err = report.ParseNewsState(q.text("state"))
	q.keep("state", err)
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	if err := seesMessages(who); err != nil {
		return err
	}
	found, err := h.Notifications.Notifications(r.Context(), filter, page)
	return reply(w, found, err)
}

// redeliver answers POST /notifications/{id}/redeliver.
func (h *handler) redeliver(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	id, err := numberInPath(r, "notification")
	if err != nil {
		return err
	}
	if err := seesMessages(who); err != nil {
		return err
	}
	queued, err := h.Notifications.Redeliver(r.Context(), id)
	if err != nil {
		return err
	}
	changeOf(r).made("channel", queued.Channel)
	h.Logger.InfoContext(r.Context(), "notification queued again", slog.String("token", who.Token),
		slog.Int64("notification", id), slog.String("channel", queued.Channel))
	return writeJSON(w, http.StatusAccepted, queued)
}

// testChannel answers POST /notifications/channels/{name}/test.
func (h *handler) testChannel(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	if err := seesMessages(who); err != nil {
		return err
	}
	name, err := url.PathUnescape(chi.URLParam(r, "name"))
	if err != nil {
		return errs.New(errs.Invalid, "the path does not hold the name of a channel").WithField("name")
	}
	tried, err := h.Notifications.Test(r.Context(), name)
	if err != nil {
		return err
	}
	c := changeOf(r)
	c.about(tried.Channel)
	c.made("delivered", tried.Delivered)
	h.Logger.InfoContext(r.Context(), "notification channel tested", slog.String("token", who.Token),
		slog.String("channel", tried.Channel), slog.Bool("delivered", tried.Delivered), slog.Int("status", tried.Status))
	return reply(w, tried, nil)
}

// seesMessages refuses tokens that see some repositories only: one message names
// repositories of all.
func seesMessages(who report.Principal) error {
	if !who.Access.Limited() {
		return nil
	}
	return errs.New(errs.Forbidden, "the token %q is limited to some repositories; notifications name all", who.Token).
		WithHint("use a token without prefixes")
}
