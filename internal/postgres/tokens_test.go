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
	want := report.Principal{Token: "ci", TokenID: 1, Scope: report.ScopeTriage, Access: report.Access{Prefixes: []string{"registry.example.com/team/"}}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, principal (-want +got):\n%s", err, diff)
	}
	var stored string
	if err := pool.QueryRow(t.Context(), `SELECT api_token::text FROM api_token`).Scan(&stored); err != nil || strings.Contains(stored, token[3:]) {
		t.Errorf("row = %q, %v; the token itself must not be kept", stored, err)
	}
	if gone, err := store.RevokeTokenNamed(t.Context(), "ci", report.Change{Actor: "cli:root"}); err != nil || gone.RevokedAt == nil || gone.RevokedBy != "cli:root" {
		t.Fatal(gone, err)
	}
	if _, err := store.Authenticate(t.Context(), token); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("revoked token: %v, want unauthorized", err)
	}
	list, err := store.ListTokens(t.Context(), report.Access{}, report.TokenFilter{}, report.Page{})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("tokens = %+v, %v", list, err)
	}
	if got := list.Items[0]; got.RevokedAt == nil || got.LastUsedAt == nil || got.ExpiresAt != nil || got.CreatedBy != report.ActorSystem {
		t.Errorf("token = %+v", got)
	}
	if _, err := store.RevokeTokenNamed(t.Context(), "nobody", report.Change{}); !errs.Is(err, errs.NotFound) {
		t.Errorf("revoking an unknown token: %v, want not found", err)
	}
	log, err := store.Audit(t.Context(), report.AuditFilter{}, report.Page{})
	if err != nil || len(log.Items) != 2 || log.Items[0].Action != "token.revoke" || log.Items[0].Actor != "cli:root" || log.Items[1].Action != "token.create" ||
		log.Items[1].Object != "ci" || log.Items[1].Detail["scope"] != "triage" {
		t.Errorf("audit log = %+v, %v", log, err)
	}
}

// The first listing of a limited caller must not show what sees more, page by page.
func TestTokensOfALimitedCaller(t *testing.T) {
	store := postgres.New(pgtest.New(t))
	all := map[string][]string{
		"all": nil, "a-team": {"r.example/team"}, "b-inner": {"r.example/team/web"}, "c-both": {"r.example/team/web", "r.example/other"},
		"d-neighbour": {"r.example/team2"}, "e-host": {"r.example"},
	}
	ids := map[string]int64{}
	for name, prefixes := range all {
		made, err := store.IssueToken(t.Context(), report.NewToken{Name: name, Scope: report.ScopeRead, Prefixes: prefixes}, report.Change{Actor: "token:x"})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = made.ID
	}
	access := report.Access{Prefixes: []string{"r.example/team/"}}
	var got []string
	for p := (report.Page{Limit: 1}); ; {
		list, err := store.ListTokens(t.Context(), access, report.TokenFilter{}, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, token := range list.Items {
			got = append(got, token.Name)
		}
		if p.Cursor = list.NextCursor; p.Cursor == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"a-team", "b-inner"}, got); diff != "" {
		t.Error(diff)
	}
	for name, id := range ids {
		_, err := store.RevokeToken(t.Context(), access, id, report.Change{Actor: "token:x"})
		if seen := access.Covers(all[name]); seen != (err == nil) || !seen && !errs.Is(err, errs.NotFound) {
			t.Errorf("revoking %s: %v, covered: %v", name, err, seen)
		}
	}
}

// Who was revoked a moment ago makes no successor.
func TestARevokedTokenMakesNone(t *testing.T) {
	store := postgres.New(pgtest.New(t))
	parent, err := store.IssueToken(t.Context(), report.NewToken{Name: "parent", Scope: report.ScopeAdmin}, report.Change{Actor: "cli:root"})
	if err != nil {
		t.Fatal(err)
	}
	child := report.NewToken{Name: "child", Scope: report.ScopeRead, Parent: parent.ID}
	if _, err := store.RevokeToken(t.Context(), report.Access{}, parent.ID, report.Change{Actor: "cli:root"}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.IssueToken(t.Context(), child, report.Change{Actor: "token:parent"}); !errs.Is(err, errs.Unauthorized) {
		t.Errorf("%v, want unauthorized", err)
	}
	if list, err := store.ListTokens(t.Context(), report.Access{}, report.TokenFilter{Name: "child"}, report.Page{}); err != nil || len(list.Items) != 0 {
		t.Errorf("%+v, %v", list, err)
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
		{"the name of the first one", "initial-admin", report.ScopeRead, nil, time.Time{}, errs.Invalid, "name"},
		{"a token for a name", "tw_" + strings.Repeat("x", 43), report.ScopeRead, nil, time.Time{}, errs.Invalid, "name"},
		{"a wildcard", "a", report.ScopeRead, []string{"host/team/*"}, time.Time{}, errs.Invalid, "prefixes"},
		{"a past end", "a", report.ScopeRead, nil, time.Unix(1, 0), errs.Invalid, "expires_at"},
	}
	for _, tt := range tests {
		_, err := store.CreateToken(t.Context(), tt.token, tt.scope, tt.prefixes, tt.expires)
		if !errs.Is(err, tt.kind) || errs.Field(err) != tt.field {
			t.Errorf("%s: %v (field %q), want kind %s, field %s", tt.name, err, errs.Field(err), tt.kind, tt.field)
		}
	}
}
