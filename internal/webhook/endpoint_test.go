package webhook

import (
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Endpoint)
		field  string // "" for a valid endpoint
	}{
		{"as it is", func(*Endpoint) {}, ""},
		{"two secrets", func(e *Endpoint) { e.Auth.Secrets = []string{"a", "b"} }, ""},
		{"host with port", func(e *Endpoint) { e.Host = "Registry:5000" }, ""},
		{"address", func(e *Endpoint) { e.Host = "[::1]:5000" }, ""},
		{"header", func(e *Endpoint) { e.Auth.Kind, e.Auth.Header = AuthHeader, "X-Token" }, ""},
		{"none", func(e *Endpoint) { e.Auth = Auth{Kind: AuthNone} }, ""},
		{"no name", func(e *Endpoint) { e.Registry = "" }, "registry"},
		{"slash in the name", func(e *Endpoint) { e.Registry = "a/b" }, "registry"},
		{"dots as name", func(e *Endpoint) { e.Registry = ".." }, "registry"},
		{"no host", func(e *Endpoint) { e.Host = "" }, "host"},
		{"host with scheme", func(e *Endpoint) { e.Host = "https://registry.acme.test" }, "host"},
		{"host with path", func(e *Endpoint) { e.Host = "registry.acme.test/v2" }, "host"},
		{"host with a user", func(e *Endpoint) { e.Host = "me@registry.acme.test" }, "host"},
		{"bad alias", func(e *Endpoint) { e.Aliases = []string{"good", "b ad"} }, "aliases"},
		{"empty alias", func(e *Endpoint) { e.Aliases = []string{""} }, "aliases"},
		{"unknown format", func(e *Endpoint) { e.Format = "nosuch" }, "format"},
		{"no format", func(e *Endpoint) { e.Format = "" }, "format"},
		{"no kind", func(e *Endpoint) { e.Auth.Kind = "" }, "auth.kind"},
		{"unknown kind", func(e *Endpoint) { e.Auth.Kind = "kerberos" }, "auth.kind"},
		{"kind the sender cannot do", func(e *Endpoint) { e.Auth.Kind = AuthHMACSHA256 }, "auth.kind"},
		{"header missing", func(e *Endpoint) { e.Auth.Kind = AuthHeader }, "auth.header"},
		{"header is none", func(e *Endpoint) { e.Auth.Kind, e.Auth.Header = AuthHeader, "X Token:" }, "auth.header"},
		{"header for bearer", func(e *Endpoint) { e.Auth.Header = "X-Token" }, "auth.header"},
		{"no secret", func(e *Endpoint) { e.Auth.Secrets = nil }, "auth.secrets"},
		{"three secrets", func(e *Endpoint) { e.Auth.Secrets = []string{"a", "b", "c"} }, "auth.secrets"},
		{"empty secret", func(e *Endpoint) { e.Auth.Secrets = []string{"a", ""} }, "auth.secrets[1]"},
		{"newline after the secret", func(e *Endpoint) { e.Auth.Secrets = []string{"swordfish\n"} }, "auth.secrets[0]"},
		{"control character", func(e *Endpoint) { e.Auth.Secrets = []string{"sword\x00fish"} }, "auth.secrets[0]"},
		{"scheme in the secret", func(e *Endpoint) { e.Auth.Secrets = []string{"Bearer swordfish"} }, "auth.secrets[0]"},
		{"secret for none", func(e *Endpoint) { e.Auth.Kind = AuthNone }, "auth.secrets"},
		{"negative body", func(e *Endpoint) { e.MaxBody = -1 }, "max_body"},
		{"huge body", func(e *Endpoint) { e.MaxBody = 1 << 40 }, "max_body"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := openEndpoint("distribution")
			e.Auth = Auth{Kind: AuthBearer, Secrets: []string{"swordfish"}}
			tt.change(&e)
			err := e.Validate()
			switch {
			case tt.field == "" && err != nil:
				t.Errorf("Validate: %v", err)
			case tt.field != "" && (!errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), " "+tt.field+": ")):
				t.Errorf("Validate: %v, want an error that names %s", err, tt.field)
			case err != nil && strings.Contains(err.Error(), "sword"):
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// Whoever mends a configuration is told everything at once.
func TestFormatProblemsListsAll(t *testing.T) {
	tests := []struct {
		name   string
		format string
		auth   Auth
		want   []string
	}{
		{"good", "generic", Auth{Kind: AuthBearer, Secrets: []string{"a"}}, nil},
		{"everything", "smoke", Auth{Kind: AuthBearer, Header: "X", Secrets: []string{"", " a", "b"}},
			[]string{"format", "auth.header", "auth.secrets", "auth.secrets[0]", "auth.secrets[1]"}},
		{"no kind", "generic", Auth{Secrets: []string{""}}, []string{"auth.kind", "auth.secrets[0]"}},
		{"another's kind and no secret", "harbor", Auth{Kind: AuthHMACSHA256}, []string{"auth.secrets", "auth.kind"}},
	}
	for _, tt := range tests {
		e := openEndpoint(tt.format)
		e.Auth = tt.auth
		var got []string
		for _, err := range e.FormatProblems() {
			field, _, _ := strings.Cut(err.Error(), ": ")
			got = append(got, field)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
