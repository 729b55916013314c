package config

import (
	"fmt"
	"log/slog"
	"net/url"
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

// URL is an address that may hold a password, which no way of printing shows.
type URL string

// Reveal returns the address with its password.
func (u URL) Reveal() string { return string(u) }

// String returns the address with "xxxxx" for a password, and nothing of one
// that cannot be parsed.
func (u URL) String() string {
	if u == "" {
		return ""
	}
	parsed, err := url.Parse(string(u))
	if err != nil {
		return redacted
	}
	return parsed.Redacted()
}

// Format answers every verb of package fmt with String.
func (u URL) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(u.String())) }

// MarshalText keeps the password out of JSON and YAML.
func (u URL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// LogValue keeps the password out of logs.
func (u URL) LogValue() slog.Value { return slog.StringValue(u.String()) }
