package webhook

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/webhook/keys"
)

// Google, the issuer without configuration. Its tokens name it in both ways
// (Google Identity, "Verify the Google ID token").
const (
	googleIssuer     = "https://accounts.google.com"
	googleIssuerBare = "accounts.google.com"
	googleJWKSURL    = "https://www.googleapis.com/oauth2/v3/certs"
)

const (
	// maxToken is longer than the tokens of any issuer.
	maxToken = 16 << 10
	// earlyToken is how far ahead the clock of an issuer may be.
	earlyToken = 5 * time.Minute
)

func (a Auth) isGoogle() bool {
	return a.Issuer == "" || a.Issuer == googleIssuer || a.Issuer == googleIssuerBare
}

func (a Auth) oidcProblems() []error {
	if a.Kind != AuthOIDC {
		return a.unused(AuthOIDC, setting{"issuer", a.Issuer != ""}, setting{"audience", a.Audience != ""}, setting{"email", a.Email != ""},
			setting{"app_id", a.AppID != ""}, setting{"jwks_url", a.JWKSURL != ""}, setting{"jwks_file", a.JWKS != ""})
	}
	var all []error
	add := func(err *errs.Error) { all = append(all, err) }
	if !a.isGoogle() && !isHTTPS(a.Issuer) {
		add(errs.New(errs.Invalid, "auth.issuer: %.200q is not an https address", a.Issuer))
	}
	if a.Audience == "" {
		add(errs.New(errs.Invalid, "auth.audience: is empty").
			WithHint("write the audience the sender asks tokens for, usually the address of this endpoint"))
	}
	switch {
	case a.isGoogle() && a.Email == "":
		add(errs.New(errs.Invalid, "auth.email: is empty").
			WithHint("name the service account that pushes: everybody's accounts get tokens of Google for any audience"))
	case a.Email == "" && a.AppID == "":
		add(errs.New(errs.Invalid, "auth.app_id: is empty, and so is email").
			WithHint("name the application that calls, or tokens of any other one would pass"))
	}
	return append(all, a.keySetProblems()...)
}

func (a Auth) keySetProblems() []error {
	if a.JWKS != "" {
		if _, err := keys.ParseSet([]byte(a.JWKS)); err != nil {
			return []error{errs.Op("auth.jwks_file", err)}
		}
	}
	switch {
	case a.JWKSURL != "" && !isHTTPS(a.JWKSURL):
		return []error{errs.New(errs.Invalid, "auth.jwks_url: %.200q is not an https address", a.JWKSURL)}
	case a.JWKSURL == "" && a.JWKS == "" && !a.isGoogle():
		return []error{errs.New(errs.Invalid, "auth.jwks_url: is empty, and so is jwks_file").
			WithHint("it is jwks_uri in the issuer's /.well-known/openid-configuration")}
	}
	return nil
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.Fragment == ""
}

// checkOIDC verifies the token of a request (OpenID Connect Core 1.0, section
// 3.1.3.7): signature first, then issuer, audience, times, and who it is of.
func (a Auth) checkOIDC(ctx context.Context, r request) error {
	raw, err := bearerToken(r.header)
	if err != nil {
		return err
	}
	set, err := a.keySet(r.keys)
	if err != nil {
		return err
	}
	remembering := &rememberingSet{KeySet: set}
	verifier := oidc.NewVerifier(a.Issuer, remembering, &oidc.Config{
		SupportedSigningAlgs: keys.Algorithms(), Now: func() time.Time { return r.received },
		SkipIssuerCheck: true, SkipClientIDCheck: true, // see checkClaims, which does not tell what it was given
	})
	token, err := verifier.Verify(ctx, raw)
	var expired *oidc.TokenExpiredError
	switch {
	case err == nil:
		return a.checkClaims(token, r.received)
	case errs.Is(remembering.err, errs.Unavailable), errs.Is(remembering.err, errs.Timeout), errs.Is(remembering.err, errs.Canceled):
		return errs.Op("webhook: the keys of the token's issuer", remembering.err)
	case errors.As(err, &expired):
		return refusedToken("it has expired")
	case errs.Is(remembering.err, errs.Unauthorized):
		return errs.Op("webhook: the token in header Authorization was refused", remembering.err)
	}
	return refusedToken("it is not a signed token of a kind that is allowed, or not in force yet")
}

func refusedToken(why string) error {
	return errs.New(errs.Unauthorized, "webhook: the token in header Authorization was refused: %s", why)
}

// bearerToken returns the token of a request (RFC 6750, section 2.1).
func bearerToken(header http.Header) (string, error) {
	value, err := single(header, "Authorization")
	if err != nil {
		return "", err
	}
	scheme, token, _ := strings.Cut(value, " ")
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return "", refused("Authorization")
	}
	return token, nil
}

func (a Auth) keySet(at Keys) (oidc.KeySet, error) {
	switch {
	case a.JWKS != "":
		set, err := keys.ParseSet([]byte(a.JWKS))
		return set, errs.Op("webhook: the configured key set", err)
	case a.JWKSURL != "":
		return at.KeySet(a.JWKSURL), nil
	}
	return at.KeySet(googleJWKSURL), nil
}

// rememberingSet keeps the error of the set: the verifier keeps its text alone.
type rememberingSet struct {
	oidc.KeySet
	err error
}

// VerifySignature implements oidc.KeySet.
func (s *rememberingSet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	content, err := s.KeySet.VerifySignature(ctx, token)
	s.err = err
	return content, err
}

// identity holds the claims that say who a token is of: Google's email, and the
// application in both versions of Microsoft Entra's tokens.
type identity struct {
	Email         string `json:"email"`
	EmailVerified bool   `json:"email_verified"`
	AppID         string `json:"appid"`
	Party         string `json:"azp"`
}

// checkClaims checks a token whose signature and end are good.
func (a Auth) checkClaims(token *oidc.IDToken, received time.Time) error {
	var who identity
	if err := token.Claims(&who); err != nil {
		return refusedToken("its claims are not those of a token")
	}
	switch {
	case !a.issued(token.Issuer):
		return refusedToken("it is of another issuer")
	case !slices.Contains(token.Audience, a.Audience):
		return refusedToken("it is for another audience")
	case token.IssuedAt.After(received.Add(earlyToken)):
		return refusedToken("it was issued in the future")
	case a.Email != "" && (who.Email != a.Email || !who.EmailVerified):
		return refusedToken("it is of another account, or of one that is not verified")
	case a.AppID != "" && who.AppID != a.AppID && who.Party != a.AppID:
		return refusedToken("it is of another application")
	case a.Email == "" && a.AppID == "", a.Audience == "":
		return refusedToken("the endpoint names no sender")
	}
	return nil
}

func (a Auth) issued(issuer string) bool {
	if a.isGoogle() {
		return issuer == googleIssuer || issuer == googleIssuerBare
	}
	return issuer == a.Issuer
}
