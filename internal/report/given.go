package report

import (
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Bounds of a token that an operator chose.
const (
	leastGiven     = 32
	mostGiven      = 200
	leastDifferent = 12
)

const makeGiven = "make one with `openssl rand -base64 33`"

// CheckGivenToken refuses a token that an operator chose and that could be guessed,
// or could not be told from others. The error is of kind Invalid and does not hold
// it.
func CheckGivenToken(token string) error {
	different := map[rune]bool{}
	for _, r := range token {
		if r <= ' ' || r > '~' {
			return errs.New(errs.Invalid, "it holds a space or a character outside of ASCII").WithHint(makeGiven)
		}
		different[r] = true
	}
	switch {
	case len(token) < leastGiven || len(token) > mostGiven:
		return errs.New(errs.Invalid, "it has %d characters, not %d to %d", len(token), leastGiven, mostGiven).WithHint(makeGiven)
	case len(different) < leastDifferent:
		return errs.New(errs.Invalid, "it has only %d different characters", len(different)).WithHint(makeGiven)
	case LooksSigned(token):
		return errs.New(errs.Invalid, "it looks like a token of OpenID Connect").WithHint(makeGiven)
	}
	return nil
}

// LooksSigned reports whether a token has the form of a JSON Web Signature (RFC
// 7515, section 7.1), as those of OpenID Connect: no API token does.
func LooksSigned(token string) bool {
	return strings.HasPrefix(token, "eyJ") && strings.Count(token, ".") == 2
}
