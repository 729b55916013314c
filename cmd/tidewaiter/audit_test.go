package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestAudit(t *testing.T) {
	var asked string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.Path + "?" + r.URL.RawQuery
		_ = json.NewEncoder(w).Encode(report.List[report.AuditEntry]{NextCursor: "next", Items: []report.AuditEntry{
			{ID: 2, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Change: report.Change{Actor: "oidc:corp/alice", Address: "198.51.100.7", Action: "token.create",
				Object: "web\x1b[2J", Outcome: report.ChangeRefused, Reason: errs.Forbidden}},
			{ID: 1, At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Change: report.Change{Actor: "cli:root", Action: "token.create", Object: "ci", Outcome: report.ChangeDone,
				Detail: map[string]any{"scope": "read"}}},
		}})
	}))
	defer server.Close()
	var out bytes.Buffer
	code := run(t.Context(), []string{"audit", "--server", server.URL, "--token", clientToken, "--action", "token", "--since", "2026-01-01T00:00:00+01:00", "--limit", "2"}, &out, &out)
	want := `AT                    ACTOR            FROM          ACTION        OBJECT      OUTCOME             DETAIL
2026-01-02T03:04:05Z  oidc:corp/alice  198.51.100.7  token.create  web\x1b[2J  refused: forbidden  
2026-01-02T03:04:05Z  cli:root                       token.create  ci          done                {"scope":"read"}
there are more: --cursor next
`
	if diff := cmp.Diff(want, out.String()); diff != "" || code != 0 {
		t.Errorf("exit code %d (-want +got):\n%s", code, diff)
	}
	if want := "/api/v1/audit?action=token&limit=2&since=2025-12-31T23%3A00%3A00Z"; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
}

// With --server the commands ask the service and leave the database alone.
func TestTokensOfAServer(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		asked = append(asked, strings.TrimSpace(r.Method+" "+r.URL.RequestURI()+" "+body.String()))
		token := report.Token{ID: 7, Name: "ci", Scope: report.ScopeRead, Prefixes: []string{}, CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), CreatedBy: "token:all"}
		var answer any = token
		switch {
		case r.Method == http.MethodPost:
			answer = report.IssuedToken{Token: token, Secret: "tw_new"}
		case r.Method == http.MethodGet && r.URL.Query().Get("name") == "nobody":
			answer = report.List[report.Token]{}
		case r.Method == http.MethodGet:
			answer = report.List[report.Token]{Items: []report.Token{token}}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	t.Setenv("TIDEWAITER_TOKEN", clientToken)
	t.Setenv("TIDEWAITER_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	ask := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if code := run(t.Context(), append(append([]string{"token"}, args...), "--server", server.URL), &out, &out); code != want {
			t.Errorf("%v: exit code %d: %s", args, code, out.String())
		}
		return out.String()
	}
	if got := ask(0, "create", "ci", "--prefix", "r.example/team"); got != "tw_new\n" {
		t.Errorf("create: %q", got)
	}
	if got := ask(0, "list"); !strings.Contains(got, "ci    read   all           2026-01-02T03:04:05Z  token:all  never      good") {
		t.Errorf("list: %s", got)
	}
	if got := ask(0, "revoke", "ci"); got != "token ci is revoked\n" {
		t.Errorf("revoke: %q", got)
	}
	if got := ask(1, "revoke", "nobody"); !strings.Contains(got, `no token named "nobody"`) {
		t.Errorf("revoke: %q", got)
	}
	want := []string{
		`POST /api/v1/tokens {"name":"ci","scope":"read","prefixes":["r.example/team"]}`, "GET /api/v1/tokens?limit=500",
		"GET /api/v1/tokens?name=ci", "DELETE /api/v1/tokens/7", "GET /api/v1/tokens?name=nobody",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	// The variable alone does not lead away from the database.
	t.Setenv("TIDEWAITER_SERVER", server.URL)
	var out bytes.Buffer
	if code := run(t.Context(), []string{"token", "list"}, &out, &out); code == 0 || len(asked) != len(want) {
		t.Errorf("exit code %d after %q: %s", code, asked, out.String())
	}
}
