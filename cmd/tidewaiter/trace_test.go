package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestWriteTrace(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	trace := report.Trace{
		Reference: "registry.example/team/app:1", Outcome: report.OutcomePending, Conclusion: "It is queued.", NextStep: "wait",
		Steps: []report.TraceStep{
			{At: &at, What: report.AboutDelivery, Mood: report.Fine, Text: "the webhook told of a push of 1, by \x1b[2Jevil\nanswered: not"},
			{What: report.AboutScan, Mood: report.Waiting, Text: "scan 7 is queued"},
			{What: report.AboutReconcile, Mood: "made up", Text: "never"},
		},
	}
	want := `registry.example/team/app:1

2026-11-23T10:00:00Z  + delivery   the webhook told of a push of 1, by \x1b[2Jevil\nanswered: not
                      ~ scan       scan 7 is queued
                        reconcile  never

pending: It is queued.
next: wait
`
	var out bytes.Buffer
	if err := writeTrace(&out, trace); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTraceExitCodes(t *testing.T) {
	var answer any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/trace" || r.URL.Query().Get("ref") != "registry.example/team/app:1" {
			t.Errorf("asked for %s", r.URL)
		}
		if err, ok := answer.(error); ok {
			httpserver.WriteProblem(w, r, err)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	defer server.Close()
	trace := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"trace", "--server", server.URL, "--token", "tw_x", "registry.example/team/app:1"}, args...), &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	tests := []struct {
		name   string
		answer any
		args   []string
		code   int
		stdout string // part of
		stderr string // part of, empty means nothing at all
	}{
		{"answered", report.Trace{Outcome: report.OutcomeAnswered, Answered: true, Conclusion: "It is answered."}, nil, 0, "answered: It is answered.", ""},
		{"pending", report.Trace{Outcome: report.OutcomePending, Conclusion: "It is queued."}, nil, 3, "pending: It is queued.", ""},
		{"json", report.Trace{Outcome: report.OutcomeUnknown, NextStep: "push"}, []string{"--json"}, 3, `"next_step":"push"`, ""},
		{"refused", errs.New(errs.NotFound, "no repository is known").WithHint("the token may be limited"), nil, 1, "", "hint: the token may be limited"},
		{"another server", map[string]string{"hello": "world"}, nil, 1, "", "is no trace"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answer = tt.answer
			code, stdout, stderr := trace(tt.args...)
			if code != tt.code || !strings.Contains(stdout, tt.stdout) || !strings.Contains(stderr, tt.stderr) || (tt.stderr == "") != (stderr == "") {
				t.Errorf("exit code %d, want %d; stdout %q, stderr %q", code, tt.code, stdout, stderr)
			}
		})
	}
}

func TestTraceWaits(t *testing.T) {
	pulling := &report.Progress{Phase: "pull", Bytes: 1_000_000, BytesOf: 5_000_000, LayersOf: 2}
	answers := []any{
		report.Trace{Reference: "r", Outcome: report.OutcomePending, Steps: []report.TraceStep{{What: report.AboutScan, Text: "scan 7 is queued"}}},
		errs.New(errs.Unavailable, "restarting"),
		report.Trace{Reference: "r", Outcome: report.OutcomePending, Steps: []report.TraceStep{{What: report.AboutScan, Text: "scan 7 runs", Progress: pulling}}},
		report.Trace{Reference: "r", Outcome: report.OutcomeAnswered, Answered: true, Conclusion: "It is answered."},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	code := run(t.Context(), []string{"trace", "--server", server.URL, "--token", "tw_x", "--wait", "r"}, &stdout, &stderr)
	if code != 0 || !strings.Contains(stdout.String(), "answered: It is answered.") || stderr.Len() > 0 || len(answers) > 0 {
		t.Errorf("exit %d, stdout %q, stderr %q, %d answers left", code, stdout.String(), stderr.String(), len(answers))
	}
}

func TestUnderWay(t *testing.T) {
	pulling := &report.Progress{Phase: "pull", Bytes: 1_000_000, BytesOf: 5_000_000, LayersOf: 2}
	for want, trace := range map[string]report.Trace{
		"it pulls the image: 1.0 of 5.0 MB, 0 of 2 layers": {Steps: []report.TraceStep{{What: report.AboutDelivery}, {What: report.AboutScan, Text: "x", Progress: pulling}}},
		"scan 7 is queued": {Steps: []report.TraceStep{{What: report.AboutScan, Text: "scan 7 is queued"}}},
		"It is known.":     {Conclusion: "It is known."},
	} {
		if got := underWay(trace); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTraceNeedsAToken(t *testing.T) {
	t.Setenv("TIDEWAITER_TOKEN", "")
	err := (&traceCmd{Image: "registry.example/team/app:1"}).Run(t.Context(), &output{})
	if !errs.Is(err, errs.Invalid) || !strings.Contains(errs.Hint(err), "token create") {
		t.Errorf("got %v", err)
	}
	var coder *exitError
	if errors.As(err, &coder) {
		t.Errorf("exit code %d, want that of every failure", coder.code)
	}
}
