package webhook

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// defaultParameter is the query parameter of AuthQuery when none is configured.
const defaultParameter = "token"

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

// checkBasic compares the decoded pair, so that the spelling of base64 does not
// matter.
func (a Auth) checkBasic(header http.Header) error {
	value, err := single(header, "Authorization")
	if err != nil {
		return err
	}
	scheme, encoded, _ := strings.Cut(value, " ")
	pair, err := base64.StdEncoding.DecodeString(strings.TrimLeft(encoded, " "))
	if err != nil || !strings.EqualFold(scheme, "Basic") || !a.matches(string(pair)) {
		return refused("Authorization")
	}
	return nil
}

func (a Auth) checkQuery(query url.Values) error {
	name := a.Parameter
	if name == "" {
		name = defaultParameter
	}
	switch values := query[name]; {
	case len(values) > 1:
		return errs.New(errs.Unauthorized, "webhook: query parameter %s is given more than once", name)
	case len(values) == 0 || values[0] == "":
		return errs.New(errs.Unauthorized, "webhook: query parameter %s is missing or empty", name)
	case !a.matches(values[0]):
		return errs.New(errs.Unauthorized, "webhook: the credential in query parameter %s was refused", name)
	}
	return nil
}

func (a Auth) checkPath(rest string) error {
	switch {
	case rest == "":
		return errs.New(errs.Unauthorized, "webhook: the secret is missing behind the registry's name in the path")
	case !a.matches(rest):
		return errs.New(errs.Unauthorized, "webhook: the credential in the path was refused")
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
