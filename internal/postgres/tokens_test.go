package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestTokens(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	token, err := store.CreateToken(t.Context(), "ci", report.ScopeTriage, []string{"/registry.example.com/team"}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.Authenticate(t.Context(), token)
	want := report.Principal{Token: "ci", Scope: report.ScopeTriage, Access: report.Access{Prefixes: []string{"registry.example.com/team/"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, principal (-want +got):\n%s", err, diff)
	}
	var stored string
	if err := pool.QueryRow(t.Context(), `SELECT api_token::text FROM api_token`).Scan(&stored); err != nil || strings.Contains(stored, token[3:]) {
		t.Errorf("row = %q, %v; the token itself must not be kept", stored, err)
	}
	if err := store.RevokeToken(t.Context(), "ci"); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Authenticate(t.Context(), token); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("revoked token: %v, want unauthorized", err)
	}
	list, err := store.ListTokens(t.Context())
	if err != nil || len(list) != 1 || list[0].RevokedAt == nil || list[0].LastUsedAt == nil || list[0].ExpiresAt != nil {
		t.Errorf("tokens = %+v, %v", list, err)
	}
	if err := store.RevokeToken(t.Context(), "nobody"); !errs.Is(err, errs.NotFound) {
		t.Errorf("revoking an unknown token: %v, want not found", err)
	}
}

func TestTokenUseIsNotedOnceAMinute(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	token, err := store.CreateToken(t.Context(), "ci", report.ScopeRead, nil, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	used := func() (at time.Time) {
		if _, err := store.Authenticate(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if err := pool.QueryRow(t.Context(), `SELECT last_used_at FROM api_token`).Scan(&at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := used()
	if again := used(); !again.Equal(first) {
		t.Errorf("noted again at %v, after %v", again, first)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE api_token SET last_used_at = now() - interval '2 minutes'`); err != nil {
		t.Fatal(err)
	}
	if later := used(); !later.After(first.Add(-time.Minute)) {
		t.Errorf("not noted after a minute: %v", later)
	}
}

func TestAuthenticateRefuses(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	token, err := store.CreateToken(t.Context(), "short", report.ScopeAdmin, nil, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE api_token SET expires_at = now()`); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"expired": token, "empty": "", "no token": "Basic abc", "unknown": "tw_" + strings.Repeat("A", 43),
		"too long": token + "A", "a wildcard": "tw_%", "NUL": "tw_\x00" + strings.Repeat("A", 42),
	} {
		if _, err := store.Authenticate(t.Context(), bad); !errs.Is(err, errs.Unauthorized) {
			t.Errorf("%s: %v, want unauthorized", name, err)
		}
	}
}

func TestCreateTokenRefuses(t *testing.T) {
	store := postgres.New(pgtest.New(t))
	if _, err := store.CreateToken(t.Context(), "taken", report.ScopeRead, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		token    string
		scope    report.Scope
		prefixes []string
		expires  time.Time
		kind     errs.Kind
		field    string
	}{
		{"a name that is taken", "taken", report.ScopeRead, nil, time.Time{}, errs.Conflict, "name"},
		{"no name", "", report.ScopeRead, nil, time.Time{}, errs.Invalid, "name"},
		{"an unknown scope", "a", "root", nil, time.Time{}, errs.Invalid, "scope"},
		{"an empty prefix, which would hide all", "a", report.ScopeRead, []string{"/"}, time.Time{}, errs.Invalid, "prefixes"},
		{"a wildcard", "a", report.ScopeRead, []string{"host/team/*"}, time.Time{}, errs.Invalid, "prefixes"},
		{"a past end", "a", report.ScopeRead, nil, time.Unix(1, 0), errs.Invalid, "expires"},
	}
	for _, tt := range tests {
		_, err := store.CreateToken(t.Context(), tt.token, tt.scope, tt.prefixes, tt.expires)
		if !errs.Is(err, tt.kind) || errs.Field(err) != tt.field {
			t.Errorf("%s: %v (field %q), want kind %s, field %s", tt.name, err, errs.Field(err), tt.kind, tt.field)
		}
	}
}
