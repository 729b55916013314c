package report

import (
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
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
	Token  string // the name of the token
	Scope  Scope
	Access Access
}

// Token is what is known of an API token; the token itself is not kept.
type Token struct {
	Name       string
	Scope      Scope
	Prefixes   []string
	CreatedAt  time.Time
	ExpiresAt  *time.Time // nil for never
	LastUsedAt *time.Time // within a minute; nil for never
	RevokedAt  *time.Time
}
