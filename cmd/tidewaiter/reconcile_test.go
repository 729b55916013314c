package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestWriteReconciliation(t *testing.T) {
	run := report.ReconciliationReport{
		Reconciliation: report.Reconciliation{
			ID: 7, Registry: "prod", State: report.RunFailed, Detail: "the registry\ndoes not answer",
			Counts: report.ReconciliationCounts{Repositories: 3, Tags: 9, New: 1, Moved: 2, Gone: 1, Retried: 1, Same: 3, Excluded: 1, Errors: 3, Queued: 5, Requests: 13},
		},
		Problems: []report.ReconciliationProblem{
			{Repository: "registry.example/team/app", Tag: "1", Reason: "forbidden", Detail: "403 \x1b[2J"},
			{Reason: "malformed", Detail: "a list"},
		},
	}
	want := `reconciliation 7 of prod: failed
  the registry\ndoes not answer
  3 repositories and 9 tags looked at with 13 requests
  1 new, 2 moved, 1 gone, 1 without an answer, 1 left out, 3 the same
  5 scans queued
  ! registry.example/team/app:1 forbidden: 403 \x1b[2J
  !  malformed: a list
  ! and 1 more problem
`
	var out bytes.Buffer
	if err := writeReconciliation(&out, run); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReconcile(t *testing.T) {
	state := func(s report.RunState) any {
		return report.ReconciliationReport{Reconciliation: report.Reconciliation{ID: 7, Registry: "prod", State: s}}
	}
	restarting := errs.New(errs.Unavailable, "restarting")
	tests := []struct {
		name    string
		args    []string
		asked   string // the body
		answers []any  // to the request, then to each look
		code    int
		stdout  string // part of
		stderr  string // part of, empty means nothing at all
	}{
		{"queued", nil, `{"registry":"prod"}`, []any{state(report.RunQueued)}, 0, "reconciliation 7 of prod: queued", ""},
		{"one repository", []string{"--repository", "team/app"}, `{"registry":"prod","repository":"team/app"}`, []any{state(report.RunQueued)}, 0, "queued", ""},
		{"waits", []string{"--wait"}, `{"registry":"prod"}`, []any{state(report.RunQueued), restarting, state(report.RunRunning), state(report.RunDone)}, 0, "prod: done", ""},
		{"fails", []string{"--wait", "--json"}, `{"registry":"prod"}`, []any{state(report.RunQueued), state(report.RunFailed)}, 3, `"state":"failed"`, ""},
		{"refused", nil, `{"registry":"prod"}`, []any{errs.New(errs.NotFound, "no registry is called so").WithHint("look")}, 1, "", "hint: look"},
		{"another server", nil, `{"registry":"prod"}`, []any{map[string]string{"hello": "world"}}, 1, "", "is no reconciliation"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := tt.answers
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				path := "/api/v1/reconciliations"
				if r.Method == http.MethodGet {
					path += "/7"
				} else if body := new(bytes.Buffer); true {
					_, _ = body.ReadFrom(r.Body)
					if got := strings.TrimSpace(body.String()); got != tt.asked {
						t.Errorf("asked for %s, want %s", got, tt.asked)
					}
				}
				if r.URL.Path != path || len(answers) == 0 {
					t.Errorf("%s %s", r.Method, r.URL)
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
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"reconcile", "--server", server.URL, "--token", "tw_x", "prod"}, tt.args...), &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) || tt.stderr == "" && stderr.Len() > 0 {
				t.Errorf("exit %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
			if len(answers) > 0 {
				t.Errorf("%d answers were not asked for", len(answers))
			}
		})
	}
}
