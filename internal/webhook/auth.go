package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// The kinds of authentication. The configuration chooses one; a request never
// does.
const (
	AuthHeader     = "header"      // a header whose whole value is the secret
	AuthBearer     = "bearer"      // Authorization: Bearer <secret> (RFC 6750, section 2.1)
	AuthHMACSHA256 = "hmac-sha256" // a header holding "sha256=<hex>" over the raw body
	AuthNone       = "none"        // nothing is checked; has to be written down
)

const defaultSignatureHeader = "X-Signature"

// Auth is how an endpoint knows its sender.
type Auth struct {
	// Kind is one of the Auth constants; there is no default.
	Kind string
	// Header is required for AuthHeader, "X-Signature" by default for
	// AuthHMACSHA256 and must be empty for the others.
	Header string
	// Secrets holds one secret, or two while rotating: either is accepted.
	Secrets []string
}

// String keeps secrets out of logs.
func (a Auth) String() string { return "auth kind " + a.Kind }

// GoString keeps secrets out of %#v.
func (a Auth) GoString() string { return a.String() }

func (a Auth) problems() []error {
	var all []error
	if err := a.validateHeader(); err != nil {
		all = append(all, err)
	}
	switch {
	case a.Kind == AuthNone:
		if len(a.Secrets) > 0 {
			all = append(all, errs.New(errs.Invalid, "auth.secrets: kind none does not check them").
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

func (a Auth) knownKind() bool {
	switch a.Kind {
	case AuthHeader, AuthBearer, AuthHMACSHA256, AuthNone:
		return true
	}
	return false
}

func (a Auth) validateHeader() error {
	switch a.Kind {
	case AuthHeader:
		if !isToken(a.Header) {
			return errs.New(errs.Invalid, "auth.header: %.80q is not a header name", a.Header)
		}
	case AuthHMACSHA256:
		if a.Header != "" && !isToken(a.Header) {
			return errs.New(errs.Invalid, "auth.header: %.80q is not a header name", a.Header)
		}
	case AuthBearer, AuthNone:
		if a.Header != "" {
			return errs.New(errs.Invalid, "auth.header: has no meaning for kind %s", a.Kind)
		}
	case "":
		return errs.New(errs.Invalid, "auth.kind: is missing").
			WithHint("name header, bearer or hmac-sha256; to accept unverified requests write none")
	default:
		return errs.New(errs.Invalid, "auth.kind: %.80q is not known", a.Kind).
			WithHint("use header, bearer, hmac-sha256 or none")
	}
	return nil
}

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

// check verifies a request by the configured kind. The error is of kind
// Unauthorized and says what was expected, never what was given.
func (a Auth) check(header http.Header, body []byte) error {
	switch a.Kind {
	case AuthNone:
		return nil
	case AuthBearer:
		return a.checkBearer(header)
	case AuthHeader:
		return a.checkHeader(header)
	case AuthHMACSHA256:
		return a.checkHMAC(header, body)
	}
	return errs.New(errs.Unauthorized, "webhook: the endpoint has no way to verify a request")
}

func (a Auth) checkHeader(header http.Header) error {
	value, err := single(header, a.Header)
	if err != nil {
		return err
	}
	if !a.matches(value) {
		return refused(a.Header)
	}
	return nil
}

func (a Auth) checkBearer(header http.Header) error {
	value, err := single(header, "Authorization")
	if err != nil {
		return err
	}
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Bearer") || !a.matches(strings.TrimLeft(token, " ")) {
		return refused("Authorization")
	}
	return nil
}

func (a Auth) checkHMAC(header http.Header, body []byte) error {
	name := a.Header
	if name == "" {
		name = defaultSignatureHeader
	}
	value, err := single(header, name)
	if err != nil {
		return err
	}
	encoded, ok := strings.CutPrefix(value, "sha256=")
	sum, err := hex.DecodeString(encoded)
	if !ok || err != nil || len(sum) != sha256.Size {
		return refused(name)
	}
	good := false
	for _, secret := range a.Secrets {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if hmac.Equal(sum, mac.Sum(nil)) && secret != "" {
			good = true
		}
	}
	if !good {
		return refused(name)
	}
	return nil
}

// matches compares with every secret in constant time; hashing both sides
// hides the length. An empty value never matches.
func (a Auth) matches(value string) bool {
	given, good := sha256.Sum256([]byte(value)), 0
	for _, secret := range a.Secrets {
		want := sha256.Sum256([]byte(secret))
		good |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return good == 1 && value != ""
}

// single returns the value of a header that must stand exactly once: of two
// values, a proxy and we might read different ones.
func single(header http.Header, name string) (string, error) {
	values := header.Values(name)
	switch {
	case len(values) > 1:
		return "", errs.New(errs.Unauthorized, "webhook: header %s is given more than once", name)
	case len(values) == 0 || values[0] == "":
		return "", errs.New(errs.Unauthorized, "webhook: header %s is missing or empty", name)
	}
	return values[0], nil
}

func refused(header string) error {
	return errs.New(errs.Unauthorized, "webhook: the credential in header %s was refused", header)
}
