package api

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Keyring keeps API tokens. It writes a row into the audit log together with what
// it changes.
type Keyring interface {
	// ListTokens lists those that could do no more than a caller with that access.
	// The error is of kind Invalid for a cursor that is none.
	ListTokens(ctx context.Context, access report.Access, filter report.TokenFilter, p report.Page) (report.List[report.Token], error)
	// IssueToken makes one. The error is of kind Invalid for a bad argument, Conflict
	// when the name is taken, Unauthorized when its parent is no longer good.
	IssueToken(ctx context.Context, t report.NewToken, by report.Change) (report.IssuedToken, error)
	// RevokeToken ends one; one that is revoked already stays as it is. The error is
	// of kind NotFound, also for one that could do more than access allows.
	RevokeToken(ctx context.Context, access report.Access, id int64, by report.Change) (report.Token, error)
}

// listTokens answers GET /tokens.
func (h *handler) listTokens(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	q := readQuery(r)
	filter := report.TokenFilter{Name: q.text("name")}
	page := q.page()
	if err := q.done(); err != nil {
		return err
	}
	found, err := h.Keyring.ListTokens(r.Context(), who.Access, filter, page)
	return reply(w, found, err)
}

// tokenRequest is the body of POST /tokens.
type tokenRequest struct {
	Name      string       `json:"name"`
	Scope     report.Scope `json:"scope"`
	Prefixes  []string     `json:"prefixes"`
	ExpiresAt *time.Time   `json:"expires_at"`
}

// createToken answers POST /tokens.
func (h *handler) createToken(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	if err := readQuery(r).done(); err != nil {
		return err
	}
	var asked tokenRequest
	if err := readJSON(http.MaxBytesReader(w, r.Body, maxScanRequest), &asked, `{"name": "ci", "scope": "read"}, with "prefixes" and "expires_at" for limits`); err != nil {
		return err
	}
	c := changeOf(r)
	c.about(asked.Name)
	wanted := report.NewToken{Name: asked.Name, Scope: asked.Scope, Prefixes: asked.Prefixes, Parent: who.TokenID}
	if asked.ExpiresAt != nil {
		if wanted.Expires = *asked.ExpiresAt; wanted.Expires.IsZero() {
			return errs.New(errs.Invalid, "the token would have expired already").WithField("expires_at")
		}
	}
	if _, err := report.ParseScope(string(wanted.Scope)); err != nil {
		return err
	}
	if err := who.MayIssue(wanted); err != nil {
		return err
	}
	made, err := h.Keyring.IssueToken(r.Context(), wanted, c.handed())
	if err != nil {
		return err
	}
	c.saved()
	h.Logger.InfoContext(r.Context(), "token created", slog.String("token", who.Token), slog.String("name", made.Name), slog.String("scope", string(made.Scope)))
	w.Header().Set("Location", Prefix+"/tokens/"+strconv.FormatInt(made.ID, 10))
	return writeJSON(w, http.StatusCreated, made)
}

// revokeToken answers DELETE /tokens/{id}.
func (h *handler) revokeToken(w http.ResponseWriter, r *http.Request, who report.Principal) error {
	id, err := numberInPath(r, "token")
	if err != nil {
		return err
	}
	c := changeOf(r)
	revoked, err := h.Keyring.RevokeToken(r.Context(), who.Access, id, c.handed())
	if err != nil {
		return err
	}
	c.saved()
	h.Logger.InfoContext(r.Context(), "token revoked", slog.String("token", who.Token), slog.String("name", revoked.Name))
	return reply(w, revoked, nil)
}
