package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// asking runs a command against a service that gives these answers in turn, and
// returns what it asked.
func asking(t *testing.T, answers []any, args ...string) (code int, stdout, stderr string, asked []string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.Path)
		if len(answers) == 0 {
			t.Errorf("%s %s was not expected", r.Method, r.URL.Path)
			httpserver.WriteProblem(w, r, errs.New(errs.Invalid, "enough"))
			return
		}
		answer := answers[0]
		answers = answers[1:]
		if err, ok := answer.(error); ok {
			httpserver.WriteProblem(w, r, err)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	var out, problems bytes.Buffer
	code = run(t.Context(), append(args, "--server", server.URL, "--token", "tw_x"), &out, &problems)
	if len(answers) > 0 {
		t.Errorf("%d answers were not asked for", len(answers))
	}
	return code, out.String(), problems.String(), asked
}

func TestPeopleDecideAboutBuilds(t *testing.T) {
	const sum = "sha256:3f2a91c0000000000000000000000000000000000000000000000000000000ff"
	held := report.BuildState{
		Build: report.Build{Checksum: sum, Built: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)}, State: "held", Reason: "closes \x1b[2J all",
		Changes: &report.BuildChanges{Names: 7, Packages: 20, Matches: report.MatchChange{Before: 50, Closed: 40, Opened: 1}, Scopes: []report.BuildScope{
			{Scope: "distro:debian:12", Records: report.RecordChange{Before: 9, After: 9}},
			{Scope: "ecosystem:npm", Matches: report.MatchChange{Before: 50, Closed: 40, Opened: 1}, Records: report.RecordChange{Before: 300}},
		}},
	}
	candidate := held
	candidate.State, candidate.Reason, candidate.Progress = "candidate", "", &report.BuildProgress{Phase: "judging", Judged: 5, Packages: 20, Percent: 25}
	list := report.Builds{Recent: []report.BuildState{{State: "active"}, held}}
	now := time.Now()
	later := now.Add(time.Second)
	waiting := report.Builds{Check: report.BuildCheck{RequestedAt: &now}}
	looked := func(outcome, detail string) report.Builds {
		return report.Builds{Check: report.BuildCheck{RequestedAt: &now, StartedAt: &now, EndedAt: &later, Outcome: outcome, Detail: detail}}
	}
	for _, tt := range []struct {
		name    string
		args    []string
		answers []any
		asked   string
		code    int
		words   []string // on standard output, or on standard error when the code is not 0
	}{
		{"diff of what is held", []string{"diff"}, []any{list, held}, "GET /api/v1/vulndb,GET /api/v1/vulndb/" + sum, 0,
			[]string{`held: closes \x1b[2J all`, "of 50 open matches it closes 40; it opens 1", "300", "ecosystem:npm", "1 more do not change"}},
		{"diff of one", []string{"diff", "3f2a91c0"}, []any{candidate}, "GET /api/v1/vulndb/3f2a91c0", 0, []string{"judging, 5 of 20 packages judged (25 %)"}},
		{"release", []string{"release"}, []any{list, candidate}, "GET /api/v1/vulndb,POST /api/v1/vulndb/" + sum + "/release", 0, []string{"candidate"}},
		{"discard", []string{"discard", sum}, []any{held}, "POST /api/v1/vulndb/" + sum + "/discard", 0, []string{sum}},
		{"nothing is held", []string{"release"}, []any{report.Builds{}}, "GET /api/v1/vulndb", 1, []string{"no build is held"}},
		{"refused", []string{"release", sum}, []any{errs.New(errs.Conflict, "it is not held")}, "POST /api/v1/vulndb/" + sum + "/release", 1, []string{"it is not held"}},
		{"check", []string{"check"}, []any{waiting, waiting, looked("fetched", sum)}, "POST /api/v1/vulndb/check,GET /api/v1/vulndb,GET /api/v1/vulndb", 0, []string{"fetched " + sum}},
		{"nothing newer", []string{"check"}, []any{looked("unchanged", "")}, "POST /api/v1/vulndb/check", 0, []string{"nothing newer"}},
		{"check fails", []string{"check"}, []any{looked("failed", "no such\nhost")}, "POST /api/v1/vulndb/check", 1, []string{`no such\nhost`, "hint:"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr, asked := asking(t, tt.answers, append([]string{"vulndb"}, tt.args...)...)
			if got := strings.Join(asked, ","); code != tt.code || got != tt.asked {
				t.Errorf("code %d after %s, want %d after %s\n%s", code, got, tt.code, tt.asked, stderr)
			}
			told := stdout
			if tt.code != 0 {
				told = stderr
			}
			for _, words := range tt.words {
				if !strings.Contains(told, words) {
					t.Errorf("it does not say %q:\n%s", words, told)
				}
			}
		})
	}
}
