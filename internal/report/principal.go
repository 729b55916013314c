package report

import (
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// Scope says what a token may do. Each includes those before it.
type Scope string

// The scopes.
const (
	ScopeRead   Scope = "read"
	ScopeTriage Scope = "triage" // and ask for scans or cancel them, upload SBOMs
	ScopeAdmin  Scope = "admin"
)

func scopes() []Scope { return []Scope{ScopeRead, ScopeTriage, ScopeAdmin} }

// ParseScope reads a scope. The error is of kind Invalid.
func ParseScope(s string) (Scope, error) {
	if slices.Contains(scopes(), Scope(s)) {
		return Scope(s), nil
	}
	return "", errs.New(errs.Invalid, "scope %.40q is not read, triage or admin", s).WithField("scope")
}

// Allows reports whether the scope includes need. An unknown scope allows
// nothing, and nothing allows an unknown need.
func (s Scope) Allows(need Scope) bool {
	have, want := slices.Index(scopes(), s), slices.Index(scopes(), need)
	return have >= 0 && want >= 0 && have >= want
}

// Principal is who asks.
type Principal struct {
	// Token is the name of the token; of a person that an issuer of OpenID Connect
	// vouches for, the issuer's configured name and theirs, as "corp/alice".
	Token string
	// TokenID is the number of the API token; zero for a person.
	TokenID int64
	// Subject is what the issuer calls the person; empty for an API token.
	Subject string
	Scope   Scope
	Access  Access
	// Expires is when the API token does; zero for never, and for a person.
	Expires time.Time
}

// Actor is the principal's name in the audit log: "token:NAME", or
// "oidc:ISSUER/NAME" for a person.
func (p Principal) Actor() string {
	if p.Subject != "" {
		return "oidc:" + p.Token
	}
	return "token:" + p.Token
}

// Token is what is known of an API token; the token itself is not kept.
type Token struct {
	ID         int64      `json:"id"`
	Name       string     `json:"name"`
	Scope      Scope      `json:"scope"`
	Prefixes   []string   `json:"prefixes"` // none for all repositories
	CreatedAt  time.Time  `json:"created_at"`
	CreatedBy  string     `json:"created_by,omitempty"`   // as in the audit log; empty when not known
	ExpiresAt  *time.Time `json:"expires_at,omitempty"`   // nil for never
	LastUsedAt *time.Time `json:"last_used_at,omitempty"` // within a minute; nil for never
	RevokedAt  *time.Time `json:"revoked_at,omitempty"`
	RevokedBy  string     `json:"revoked_by,omitempty"`
}

// IssuedToken is a token that was just made, the one time it can be seen.
type IssuedToken struct {
	Token
	Secret string `json:"token"`
}

// NewToken says what token is wanted.
type NewToken struct {
	Name     string
	Scope    Scope
	Prefixes []string  // "host/team/"; none for all repositories
	Expires  time.Time // zero for never
	// Parent is the number of the token that asks, which must still be good when the
	// new one is made; zero where none asks.
	Parent int64
}

// TokenFilter chooses tokens; the zero value all of them.
type TokenFilter struct{ Name string }

// MayIssue refuses a token that could do more than its maker: one of a greater
// scope, one that sees more, or one that outlives it. The error is of kind
// Forbidden and names the field.
func (p Principal) MayIssue(t NewToken) error {
	switch {
	case !p.Scope.Allows(t.Scope):
		return errs.New(errs.Forbidden, "the token %q has scope %s and cannot make one with scope %s", p.Token, p.Scope, t.Scope).WithField("scope")
	case !p.Access.Covers(t.Prefixes):
		return errs.New(errs.Forbidden, "the token %q is limited to some repositories and cannot make one that sees others", p.Token).
			WithField("prefixes").WithHint("name prefixes within its own: %s", strings.Join(p.Access.Prefixes, ", "))
	case !p.Expires.IsZero() && (t.Expires.IsZero() || t.Expires.After(p.Expires)):
		return errs.New(errs.Forbidden, "the token %q expires at %s and cannot make one that lives longer", p.Token, p.Expires.UTC().Format(time.RFC3339)).
			WithField("expires_at")
	}
	return nil
}

// Covers reports whether all that a token limited to the prefixes would see is
// within; none stands for everything.
func (a Access) Covers(prefixes []string) bool {
	if !a.Limited() {
		return true
	}
	for _, p := range prefixes {
		if !a.Sees(strings.Trim(p, "/")) {
			return false
		}
	}
	return len(prefixes) > 0
}

// CleanPrefixes returns the prefixes of a token as they are kept: with a slash at
// the end and none before. The error is of kind Invalid.
func CleanPrefixes(prefixes []string) ([]string, error) {
	kept := []string{}
	for _, p := range prefixes {
		trimmed := strings.Trim(p, "/")
		if trimmed == "" || text.Valid(p) != p || len(p) > maxPrefix || strings.ContainsAny(p, "* \t\r\n@") {
			return nil, errs.New(errs.Invalid, "repository prefix %.200q is not host/team/", p).
				WithField("prefixes").WithHint("write it as host/team/ or host/team/app, without wildcards")
		}
		kept = append(kept, trimmed+"/")
	}
	if len(kept) > maxPrefixes {
		return nil, errs.New(errs.Invalid, "%d repository prefixes are more than %d", len(kept), maxPrefixes).WithField("prefixes")
	}
	return kept, nil
}

// Bounds of the prefixes of a token: how many, and how long one is in bytes.
const (
	maxPrefixes = 100
	maxPrefix   = 500
)
