package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

// service answers one path with a body, and keeps what it was asked.
func service(t *testing.T, path, body string) (url string, asked *http.Request) {
	t.Helper()
	asked = &http.Request{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = *r
		if r.URL.Path != "/api/v1"+path {
			httpserver.WriteProblem(w, r, errs.New(errs.NotFound, "no such path"))
			return
		}
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

func tidewaiter(t *testing.T, url string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, bad bytes.Buffer
	code = run(t.Context(), append(args, "--server", url, "--token", "tw_x"), &out, &bad)
	return code, out.String(), bad.String()
}

const comparison = `{
	"from": {"reference": "r.example/a:1", "digest": "sha256:1", "as_of": {"time": "2026-03-01T00:00:00Z", "digest": "sha256:1", "note": "some of it was collected"}, "answer": "partial", "counts": {"total": 3}},
	"to": {"reference": "r.example/a:2", "digest": "sha256:2", "build": {"built": "2026-11-01T00:00:00Z"}, "answer": "findings", "counts": {"total": 2}},
	"opened": {"total": 2001, "items": [{"vulnerability": "CVE-1", "package": {"type": "npm", "name": "evil\u001b[2J"}, "versions": ["1", "2"], "severity": "high", "known_exploited": true, "fix_state": "fixed", "suggested_version": "3"}]},
	"closed": {"total": 1, "items": [{"vulnerability": "CVE-2", "package": {"type": "npm", "name": "b"}, "versions": ["1"], "severity": "low", "fix_state": "unknown"}]},
	"changed": {"total": 1, "items": [{"vulnerability": "CVE-3", "package": {"type": "npm", "name": "c"}, "from": {"versions": ["1"], "severity": "low", "fix_state": "not-fixed"}, "to": {"versions": ["1"], "severity": "high", "known_exploited": true, "fix_state": "fixed", "suggested_version": "2"}}]},
	"packages": {"added": {"total": 1, "items": [{"type": "npm", "name": "new", "versions": ["1"]}]}, "removed": {"total": 0, "items": []},
	             "changed": {"total": 1, "items": [{"type": "deb", "name": "ssl", "from": ["1"], "to": ["2"]}]}},
	"unchanged": 7, "complete": false}`

func TestCompareCommand(t *testing.T) {
	url, asked := service(t, "/compare", comparison)
	code, got, stderr := tidewaiter(t, url, "compare", "r.example/a:1", "r.example/a:2", "--from-as-of", "2026-03-01T00:00:00Z", "--platform", "linux/amd64")
	if code != 0 || stderr != "" {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	if q := asked.URL.Query().Encode(); q != "from=r.example%2Fa%3A1&from_as_of=2026-03-01T00%3A00%3A00Z&platform=linux%2Famd64&to=r.example%2Fa%3A2" {
		t.Errorf("asked %s", q)
	}
	for _, want := range []string{
		"from: r.example/a:1 as of 2026-03-01T00:00:00Z\n      sha256:1, partial: 3 findings\n      some of it was collected\n",
		"to:   r.example/a:2\n      sha256:2, findings: 2 findings, database of 2026-11-01\n",
		"2001 opened, 1 closed, 1 changed, 7 as before\n",
		"+ high       CVE-1                evil\\x1b[2J 1, 2, known to be exploited, fixed in 3\n  and 2000 more\n",
		"- low        CVE-2                b 1\n",
		"~ high       CVE-3                c: was low, now known to be exploited, fixed in 2\n",
		"packages: 1 added, 0 removed, 1 changed\n+ npm          new 1\n~ deb          ssl 1 -> 2\n",
		"Not everything in both could be judged",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if code, got, _ := tidewaiter(t, url, "compare", "r.example/a:1", "r.example/a:2", "--json"); code != 0 || got != comparison+"\n" {
		t.Errorf("exit %d, JSON %s", code, got)
	}
}

func TestUpgradesCommand(t *testing.T) {
	url, _ := service(t, "/upgrades", `{"answer": "partial", "complete": false, "items": [
		{"package": {"type": "deb", "name": "libssl3", "version": "3.0.11"}, "to": "3.0.15", "closes": {"total": 14, "critical": 1, "high": 3}, "remaining": 2,
		 "steps": [{"version": "3.0.13", "closes": 9}]}], "upgrades_total": 1, "closes": {"total": 14, "critical": 1, "high": 3}, "without_fix": {"total": 30}}`)
	code, got, stderr := tidewaiter(t, url, "upgrades", "r.example/a:1", "--steps")
	want := "libssl3 3.0.11 to 3.0.15: closes 14 (1 critical, 3 high), 2 remain\n    3.0.13 closes 9\n" +
		"1 upgrades close 14 (1 critical, 3 high); 30 have no fix\nThe answer is partial: not everything in the image could be judged.\n"
	if code != 0 || got != want {
		t.Errorf("exit %d, %s, got:\n%s", code, stderr, got)
	}
}

const exportedRows = "{\"row\":\"export\"}\n{\"row\":\"finding\"}\n{\"row\":\"end\",\"images\":1}\n"

func TestExportCommand(t *testing.T) {
	url, asked := service(t, "/export/findings", exportedRows)
	path := filepath.Join(t.TempDir(), "findings.ndjson")
	code, got, stderr := tidewaiter(t, url, "export", "-o", path, "--severity", "high,critical", "--no-fixable", "--registry", "prod")
	if code != 0 || got != "" {
		t.Fatalf("exit %d: %s%s", code, got, stderr)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != exportedRows {
		t.Errorf("wrote %q, %v", content, err)
	}
	if q := asked.URL.Query().Encode(); q != "fixable=false&format=ndjson&ignored=false&registry=prod&severity=high%2Ccritical" {
		t.Errorf("asked %s", q)
	}
	if code, got, _ := tidewaiter(t, url, "export"); code != 0 || got != exportedRows {
		t.Errorf("exit %d, stdout %q", code, got)
	}
}

// What was cut off is no export, and leaves no file.
func TestExportCommandCutOff(t *testing.T) {
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(exportedRows[:20]))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer broken.Close()
	short, _ := service(t, "/export/findings", exportedRows[:40])
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		httpserver.WriteProblem(w, r, errs.New(errs.RateLimited, "two exports are running"))
	}))
	defer refusing.Close()
	for name, url := range map[string]string{"connection": broken.URL, "last line": short, "refused": refusing.URL} {
		path := filepath.Join(t.TempDir(), "findings.ndjson")
		code, _, stderr := tidewaiter(t, url, "export", "-o", path)
		left, _ := filepath.Glob(path + "*")
		if code != 1 || stderr == "" || len(left) != 0 {
			t.Errorf("%s: exit %d, stderr %q, files %v", name, code, stderr, left)
		}
	}
}
