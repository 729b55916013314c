package config

import (
	"fmt"
	"log/slog"
	"net/url"
	"strings"
)

// Secret is a text that no way of printing shows. Convert it with Reveal at the
// place that needs it.
type Secret string

const redacted = "[redacted]"

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// String returns "[redacted]", or "" for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format answers every verb of package fmt with String; without it a wrong verb
// would print the secret.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText keeps the secret out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps the secret out of logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// URL is an address that may hold secrets, which no way of printing shows: a
// user, a password, a token or signature in the query.
type URL string

// masked stands in an address for what is not shown; it needs no escaping there.
const masked = "xxxxx"

// Reveal returns the address with its secrets.
func (u URL) Reveal() string { return string(u) }

// String returns the address with "xxxxx" for user and password, for the value
// of every parameter and for the fragment, and "[redacted]" for a text that is
// not an address with scheme and host, as keywords for libpq.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil || parsed.Scheme == "" || parsed.Host == "" {
		return redacted
	}
	if parsed.User != nil {
		parsed.User = url.User(masked)
	}
	parsed.RawQuery = maskQuery(parsed.RawQuery)
	if parsed.Fragment != "" {
		parsed.Fragment, parsed.RawFragment = masked, ""
	}
	return parsed.String()
}

// maskQuery keeps the names of the parameters. One without a value may be a
// secret itself.
func maskQuery(query string) string {
	if query == "" {
		return ""
	}
	parameters := strings.Split(query, "&")
	for i, p := range parameters {
		name, _, ok := strings.Cut(p, "=")
		if parameters[i] = masked; ok {
			parameters[i] = name + "=" + masked
		}
	}
	return strings.Join(parameters, "&")
}

// Format answers every verb of package fmt with String.
func (u URL) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(u.String())) }

// MarshalText keeps the secrets out of JSON and YAML.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue keeps the secrets out of logs.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
