// Package oidc finds out who somebody is from a token of an issuer of OpenID
// Connect: a JSON Web Token that the issuer signed (RFC 7519, RFC 9068; OpenID
// Connect Core 1.0, section 3.1.3.7).
//
// It is responsible for finding and keeping the keys of configured issuers, for
// every check of a token, and for the rules by which groups give a scope. It must
// not believe anything of a token before its signature is checked, but for the
// name of the issuer, which only chooses among those that are configured. Logging
// people in is not its business.
package oidc

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/jwks"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Issuer is one whose tokens are taken.
type Issuer struct {
	// Name is what the audit log and messages call it.
	Name string
	// URL is the issuer as tokens name it, with https; its keys are found below it.
	URL string
	// Audience is what tokens must be for.
	Audience string
	// Clients are the applications that tokens must be of (claims azp, client_id and
	// appid); none for any.
	Clients []string
	// UsernameClaim and GroupsClaim name the claims that hold them; sub and groups
	// when empty. A dot leads into an object, as realm_access.roles.
	UsernameClaim, GroupsClaim string
	// CAFile is a PEM file of authorities to trust for it besides the system's.
	CAFile string
	// Rules say what groups may do. The first one with a group of the token counts.
	Rules []Rule
}

// Rule gives those in any of its groups a scope.
type Rule struct {
	// Groups are names of groups; "*" is everybody.
	Groups []string
	Scope  report.Scope
	// Prefixes limit it to repositories under "host/team/"; none means all.
	Prefixes []string
}

// Options say whose tokens are taken.
type Options struct {
	Issuers []Issuer
	// Now is the clock; nil stands for time.Now.
	Now func() time.Time
}

// Verifier checks tokens. It is safe for concurrent use.
type Verifier struct {
	issuers map[string]issuer // by URL
	now     func() time.Time
}

type issuer struct {
	Issuer
	keys *jwks.Remote
}

// New prepares to check tokens; nothing is fetched yet, so that an issuer that is
// down keeps nobody else out. The error is of kind Invalid when a file with
// authorities cannot be used.
func New(o Options) (*Verifier, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{issuers: map[string]issuer{}, now: o.Now}
	for _, i := range o.Issuers {
		source, err := newSource(i)
		if err != nil {
			return nil, errs.Op("oidc: issuer "+i.Name, err)
		}
		v.issuers[i.URL] = issuer{i, &jwks.Remote{Algorithms: jwks.Wide(), Fetch: source.fetch, Now: o.Now}}
	}
	return v, nil
}

// maxToken is longer than the tokens of any issuer.
const maxToken = 16 << 10

// Authenticate tells who a token is of. The error is of kind Unauthorized when the
// token is not good, and says why; Forbidden when it is and no rule has a group of
// theirs; Unavailable when the keys of the issuer cannot be had.
func (v *Verifier) Authenticate(ctx context.Context, token string) (report.Principal, error) {
	if len(token) > maxToken {
		return report.Principal{}, refused("it is longer than %d bytes", maxToken)
	}
	from, err := v.issuerOf(token)
	if err != nil {
		return report.Principal{}, err
	}
	content, err := from.keys.VerifySignature(ctx, token)
	switch {
	case errs.Is(err, errs.Unauthorized):
		return report.Principal{}, refused("no key of issuer %s has signed it", from.Name)
	case err != nil:
		return report.Principal{}, &errs.Error{Kind: errs.KindOf(err), Op: "the keys of issuer " + from.Name + " cannot be had now", Err: err,
			RetryAfter: errs.RetryAfter(err), Hint: "try again later; API tokens work meanwhile"}
	}
	var c claims
	if err := json.Unmarshal(content, &c); err != nil {
		return report.Principal{}, refused("its claims are not those of a token")
	}
	if err := from.check(c, v.now()); err != nil {
		return report.Principal{}, err
	}
	return from.principal(c, content)
}

// issuerOf finds the configured issuer that a token names.
func (v *Verifier) issuerOf(token string) (issuer, error) {
	content, err := jwks.Unverified(token, jwks.Wide())
	if err != nil {
		return issuer{}, refused("it is not signed in a way that is allowed")
	}
	var named struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(content, &named); err != nil {
		return issuer{}, refused("its claims are not those of a token")
	}
	found, ok := v.issuers[named.Issuer]
	if !ok {
		return issuer{}, refused("it is of an issuer that is not configured")
	}
	return found, nil
}

func refused(format string, args ...any) error {
	err := errs.New(errs.Unauthorized, format, args...)
	err.Op = "the token was refused: " + err.Op
	return err
}
