package webhook

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// The kinds of authentication. The configuration chooses one; a request never
// does.
const (
	AuthHeader     = "header"      // a header whose whole value is the secret
	AuthBearer     = "bearer"      // Authorization: Bearer <secret> (RFC 6750, section 2.1)
	AuthBasic      = "basic"       // Authorization: Basic …; the secret is "user:password" (RFC 7617)
	AuthQuery      = "query"       // a query parameter whose whole value is the secret
	AuthPath       = "path"        // the secret is the part of the path behind the registry's name
	AuthHMACSHA256 = "hmac-sha256" // a header holding the HMAC of the raw body in hex
	AuthHMACSHA1   = "hmac-sha1"   // the same with SHA-1, for senders that know no better
	AuthSNS        = "sns"         // the signature of Amazon SNS over fields of the body
	AuthOIDC       = "oidc"        // Authorization: Bearer <token>, signed by an issuer (OpenID Connect)
	AuthNone       = "none"        // nothing is checked; has to be written down
)

// authKinds lists the kinds in the order people should consider them.
func authKinds() []string {
	return []string{AuthHMACSHA256, AuthSNS, AuthOIDC, AuthBearer, AuthHeader, AuthBasic, AuthHMACSHA1, AuthQuery, AuthPath, AuthNone}
}

// Auth is how an endpoint knows its sender.
type Auth struct {
	// Kind is one of the Auth constants; there is no default.
	Kind string
	// Header is required for AuthHeader, the sender's own by default for the HMAC
	// kinds and must be empty for the others.
	Header string
	// Parameter is the query parameter of AuthQuery, "token" by default; it must
	// be empty for the others.
	Parameter string
	// Secrets holds one secret, or two while rotating: either is accepted. Kinds
	// none, sns and oidc have none.
	Secrets []string

	// Topics are the ARNs of the topics that AuthSNS takes messages of; it needs
	// one at least.
	Topics []string
	// Certificate holds PEM certificates any of which AuthSNS verifies with.
	// Without them the one the message names is fetched from Amazon.
	Certificate string

	// Issuer of the tokens of AuthOIDC; empty stands for Google.
	Issuer string
	// Audience that the tokens must be for. Required for AuthOIDC.
	Audience string
	// Email of the account that the tokens must be of, verified by the issuer.
	// Google needs it: any account of anybody gets tokens for any audience.
	Email string
	// AppID of the application that the tokens must be of (claim appid or azp).
	// Other issuers need it or Email.
	AppID string
	// JWKSURL is where the issuer's keys are; empty stands for Google's.
	JWKSURL string
	// JWKS are the issuer's keys (RFC 7517). With it JWKSURL is not asked.
	JWKS string
}

// String keeps secrets out of logs.
func (a Auth) String() string { return "auth kind " + a.Kind }

// GoString keeps secrets out of %#v.
func (a Auth) GoString() string { return a.String() }

func (a Auth) problems() []error {
	var all []error
	for _, check := range []func() error{a.validateKind, a.validateHeader, a.validateParameter} {
		if err := check(); err != nil {
			all = append(all, err)
		}
	}
	all = append(all, a.snsProblems()...)
	all = append(all, a.oidcProblems()...)
	return append(all, a.secretProblems()...)
}

func (a Auth) secretProblems() []error {
	var all []error
	switch {
	case a.knownKind() && !a.hasSecrets():
		if len(a.Secrets) > 0 {
			all = append(all, errs.New(errs.Invalid, "auth.secrets: kind %s does not check them", a.Kind).
				WithHint("remove the secrets or choose another kind"))
		}
		return all
	case a.knownKind() && (len(a.Secrets) < 1 || len(a.Secrets) > 2):
		all = append(all, errs.New(errs.Invalid, "auth.secrets: %d given, want one, or two while rotating", len(a.Secrets)))
	}
	for i, secret := range a.Secrets {
		if err := a.validateSecret(secret); err != nil {
			all = append(all, errs.Op(fmt.Sprintf("auth.secrets[%d]", i), err))
		}
	}
	return all
}

// hasSecrets reports whether the kind compares secrets.
func (a Auth) hasSecrets() bool {
	return a.Kind != AuthNone && a.Kind != AuthSNS && a.Kind != AuthOIDC
}

// unused tells of settings that are given although the kind has no use for them.
func (a Auth) unused(kind string, settings ...setting) []error {
	var all []error
	for _, s := range settings {
		if a.knownKind() && a.Kind != kind && s.given {
			all = append(all, errs.New(errs.Invalid, "auth.%s: has no meaning for kind %s", s.name, a.Kind))
		}
	}
	return all
}

// setting is a field of Auth by its name in the configuration.
type setting struct {
	name  string
	given bool
}

func (a Auth) knownKind() bool { return slices.Contains(authKinds(), a.Kind) }

func (a Auth) validateKind() error {
	switch {
	case a.Kind == "":
		return errs.New(errs.Invalid, "auth.kind: is missing").
			WithHint("name one of %s; to accept unverified requests write none", strings.Join(authKinds(), ", "))
	case !a.knownKind():
		return errs.New(errs.Invalid, "auth.kind: %.80q is not known", a.Kind).
			WithHint("use one of %s", strings.Join(authKinds(), ", "))
	}
	return nil
}

func (a Auth) validateHeader() error {
	switch {
	case !a.knownKind():
		return nil
	case a.Kind == AuthHeader && !isToken(a.Header), a.isHMAC() && a.Header != "" && !isToken(a.Header):
		return errs.New(errs.Invalid, "auth.header: %.80q is not a header name", a.Header)
	case a.Kind != AuthHeader && !a.isHMAC() && a.Header != "":
		return errs.New(errs.Invalid, "auth.header: has no meaning for kind %s", a.Kind)
	}
	return nil
}

func (a Auth) validateParameter() error {
	if a.knownKind() && a.Kind != AuthQuery && a.Parameter != "" {
		return errs.New(errs.Invalid, "auth.parameter: has no meaning for kind %s", a.Kind)
	}
	return nil
}

func (a Auth) isHMAC() bool { return a.Kind == AuthHMACSHA256 || a.Kind == AuthHMACSHA1 }

// needsBody reports whether the credential cannot be checked before the body is
// there.
func (a Auth) needsBody() bool { return a.isHMAC() || a.Kind == AuthSNS }

// validateSecret refuses what can never match or was meant otherwise: HTTP
// trims header values, and a secret read from a file often ends in a newline.
func (a Auth) validateSecret(secret string) error {
	switch {
	case secret == "":
		return errs.New(errs.Invalid, "is empty")
	case strings.TrimSpace(secret) != secret:
		return errs.New(errs.Invalid, "starts or ends with white space")
	case strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errs.New(errs.Invalid, "holds a control character")
	case a.Kind == AuthBearer && len(secret) > 7 && strings.EqualFold(secret[:7], "Bearer "):
		return errs.New(errs.Invalid, "repeats the word Bearer, which kind bearer adds")
	case a.Kind == AuthBasic && !strings.Contains(secret, ":"):
		return errs.New(errs.Invalid, "is not written as user:password")
	case a.Kind == AuthPath && strings.Contains(secret, "/"):
		return errs.New(errs.Invalid, "holds a slash, which ends a part of a path")
	}
	return nil
}

// isToken reports whether s can be a header name (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	const special = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(special, r)
	})
}

// check verifies a request by the configured kind; signed says where this
// sender puts an HMAC. The error is of kind Unauthorized and says what was
// expected, never what was given; it is of kind Unavailable when the sender's
// key cannot be had now.
func (a Auth) check(ctx context.Context, r request, signed signing) error {
	switch a.Kind {
	case AuthSNS:
		return a.checkSNS(ctx, r)
	case AuthOIDC:
		return a.checkOIDC(ctx, r)
	case AuthNone:
		return nil
	case AuthBearer:
		return a.checkBearer(r.header)
	case AuthBasic:
		return a.checkBasic(r.header)
	case AuthHeader:
		return a.checkHeader(r.header)
	case AuthQuery:
		return a.checkQuery(r.query)
	case AuthPath:
		return a.checkPath(r.rest)
	case AuthHMACSHA256:
		return a.checkHMAC(sha256.New, r.header, r.body, signed)
	case AuthHMACSHA1:
		return a.checkHMAC(sha1.New, r.header, r.body, signed)
	}
	return errs.New(errs.Unauthorized, "webhook: the endpoint has no way to verify a request")
}
