package app

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/oidc"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Rate of one address for routes that need no token: probes and scrapers ask some
// times a minute.
const (
	publicPerSecond = 20
	publicBurst     = 100
)

// open holds a route that needs no token to a rate.
func (a *App) open(handler http.Handler) http.Handler {
	return httpserver.HoldToRate(a.public)(handler)
}

// identities tell who asks, by API tokens and by tokens of OpenID Connect. Their
// forms differ, so that none is ever taken for the other.
type identities struct {
	store  *postgres.Store
	people *oidc.Verifier // nil when no issuer is configured
}

func (a *App) identities() (identities, error) {
	issuers := a.config.OIDCIssuers()
	if len(issuers) == 0 {
		return identities{store: a.store}, nil
	}
	people, err := oidc.New(oidc.Options{Issuers: issuers})
	return identities{a.store, people}, err
}

// Authenticate is what api.Tokens asks for.
func (i identities) Authenticate(ctx context.Context, token string) (report.Principal, error) {
	switch {
	case !report.LooksSigned(token):
		return i.store.Authenticate(ctx, token)
	case i.people == nil:
		return report.Principal{}, errs.New(errs.Unauthorized, "tokens of OpenID Connect are not taken here").
			WithHint("configure the issuer in api.oidc, or use an API token")
	}
	return i.people.Authenticate(ctx, token)
}

var _ api.Tokens = identities{}

// letIn sees to it that an operator can get in: with the token that the
// configuration gives or, where there is none at all yet, with one that is made
// and shown once. It needs a console for that, which says so and keeps nothing.
func (a *App) letIn(ctx context.Context) error {
	if !a.config.API.Enabled {
		return nil
	}
	if given := a.config.API.AdminToken.Reveal(); given != "" {
		became, err := a.store.GiveToken(ctx, given)
		switch {
		case err != nil:
			return errs.Op("app: api.admin_token", err)
		case became == postgres.GivenRevoked:
			a.logger.WarnContext(ctx, "the initial token of the configuration was revoked and stays so; give another one, or none")
		case became != postgres.GivenKept:
			a.logger.InfoContext(ctx, "initial token taken from the configuration", "became", string(became))
		}
		return nil
	}
	if a.console == nil {
		return nil
	}
	made, err := a.store.FirstToken(ctx)
	if err != nil || made == "" {
		return err
	}
	// It is no line of the log, whose form is for machines that keep what they read.
	_, err = fmt.Fprintf(a.console, firstTokenText, made)
	return errs.Wrap(errs.Internal, "app: show the initial token", err)
}

const firstTokenText = `
There was no API token yet. This is "initial-admin", which may do everything.
It is shown this one time and kept as a hash only:

    %s

Make tokens of your own with it, then revoke it:

    export TIDEWAITER_TOKEN=...
    tidewaiter token create NAME --server URL
    tidewaiter token revoke initial-admin --server URL

`
