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

func TestCancel(t *testing.T) {
	at := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	canceled := report.Scan{ScanState: report.ScanState{ID: 42, State: report.RunCanceled, Detail: "canceled by ci"},
		Repository: "registry.example/team/app", Tag: "1\x1b[2J", FinishedAt: &at}
	gaveWay := report.Scan{ScanState: report.ScanState{ID: 42, State: report.RunCanceled}, Repository: "registry.example/team/app", Digest: "sha256:aa"}
	for _, tt := range []struct {
		name   string
		answer any
		args   []string
		code   int
		stdout string // part of
		stderr string // part of, empty means nothing at all
	}{
		{"canceled", canceled, nil, 0, "scan 42 of registry.example/team/app:1\\x1b[2J: canceled by ci at 2026-11-23T10:00:00Z\n", ""},
		{"gave way before", gaveWay, nil, 0, "scan 42 of registry.example/team/app@sha256:aa: canceled\n", ""},
		{"json", canceled, []string{"--json"}, 0, `"detail":"canceled by ci"`, ""},
		{"it is over", errs.New(errs.Conflict, "scan 42 is over: it is done").WithHint("only a scan that waits"), nil, 1, "", "hint: only a scan that waits"},
		{"another answer", report.Scan{ScanState: report.ScanState{ID: 42, State: report.RunRunning}}, nil, 1, "", "is no canceled scan"},
		{"another server", map[string]string{"hello": "world"}, nil, 1, "", "is no canceled scan"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodDelete || r.URL.Path != "/api/v1/scans/42" {
					t.Errorf("%s %s", r.Method, r.URL)
				}
				if err, ok := tt.answer.(error); ok {
					httpserver.WriteProblem(w, r, err)
					return
				}
				_ = json.NewEncoder(w).Encode(tt.answer)
			}))
			defer server.Close()
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"cancel", "--server", server.URL, "--token", "tw_x", "42"}, tt.args...), &stdout, &stderr)
			if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) || (tt.stderr == "") != (stderr.Len() == 0) {
				t.Errorf("exit %d, stdout %q, stderr %q", code, stdout.String(), stderr.String())
			}
		})
	}
}

func TestCancelNeedsANumber(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"cancel", "registry.example/team/app:1"}, &stdout, &stderr); code != 64 {
		t.Errorf("exit %d, stderr %q", code, stderr.String())
	}
}
