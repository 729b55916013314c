package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// A listing that takes several pages is asked for page by page, with the same
// filters, and no more than is wanted.
func TestListPages(t *testing.T) {
	const there = 1203
	asked := asks(t, func(w http.ResponseWriter, r *http.Request) {
		from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		size, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		if r.URL.Query().Get("registry") != "prod" || size < 1 || size > report.MaxLimit {
			t.Errorf("asked for %s", r.URL)
		}
		page := report.List[report.Registry]{Items: []report.Registry{}}
		for n := from; n < min(from+size, there); n++ {
			page.Items = append(page.Items, report.Registry{Name: fmt.Sprint(n)})
		}
		if from+size < there {
			page.NextCursor = fmt.Sprint(from + size)
		}
		_ = json.NewEncoder(w).Encode(page)
	})
	for most, want := range map[int]struct{ items, pages int }{1: {1, 1}, 500: {500, 1}, 501: {501, 2}, 1203: {1203, 3}, 5000: {1203, 3}, -1: {1203, 3}} {
		found, err := list[report.Registry](t.Context(), asked, "/things", given("registry", "prod"), most, people{})
		if err != nil || len(found.items) != want.items || len(found.raw) != want.pages || found.more != (want.items < there) {
			t.Errorf("%d wanted: %d items on %d pages, more %v, %v", most, len(found.items), len(found.raw), found.more, err)
		}
		if last := found.items[len(found.items)-1].Name; last != fmt.Sprint(want.items-1) {
			t.Errorf("%d wanted: the last is %s", most, last)
		}
	}
}

func TestListOfAnotherServer(t *testing.T) {
	url, _ := service(t, "/repositories", `{"hello": "world"}`)
	if code, _, stderr := tidewaiter(t, url, "repos"); code != 1 || !strings.Contains(stderr, "is no list") {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestWhereGuesses(t *testing.T) {
	for what, want := range map[string]bool{
		"CVE-2021-44228": true, "cve-2021-44228": true, "GHSA-jfh8-c2jp-5v3q": true, "GO-2021-0113": true, "RUSTSEC-2020-0001": true, "PYSEC-2021-19": true,
		"RHSA-2021:1234": true, "ALAS2-2021-1732": true, "USN-5192-1": true, "DSA-5020-1": true, "GLSA-202107-55": true, "openSUSE-SU-2021:4107-1": true,
		"BIT-log4j-2021-44228": true,
		"log4j-core":           false, "go-yaml3": false, "bit-vec-2": false, "osv-scanner": false, "pkg:npm/lodash": false, "openssl": false, "cve-bin-tool": false,
		"go-2": false, "": false, "CVE-2021": false,
	} {
		if got := (&whereCmd{What: what}).takenForVulnerability(); got != want {
			t.Errorf("%q is taken for a vulnerability: %v", what, got)
		}
	}
	if (&whereCmd{What: "CVE-2021-44228", Package: true}).takenForVulnerability() || !(&whereCmd{What: "x", Vulnerability: true}).takenForVulnerability() ||
		(&whereCmd{What: "CVE-2021-44228", Version: "<2"}).takenForVulnerability() {
		t.Error("what is said is not believed")
	}
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	for given, want := range map[string]string{
		"24h": "2026-11-22T10:00:00Z", "7d": "2026-11-16T10:00:00Z", "90m": "2026-11-23T08:30:00Z", "2026-03-01": "2026-03-01T00:00:00Z",
		"2026-03-01T01:00:00+01:00": "2026-03-01T00:00:00Z", "-3h": "", "7 d": "", "yesterday": "", "": "", "xd": "",
	} {
		got, err := momentOf(given, now)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
	}
}

// What is on its way or could not be judged never passes for clean.
func TestFindingsThatAreNotWhole(t *testing.T) {
	for _, tt := range []struct {
		name, answer, args string
		code               int
		text               string
	}{
		{"pending", `{"items": [], "answer": "pending", "complete": false, "no_data": [], "counts": null, "build": null, "state": "queued"}`, "--fail-on low --allow-partial", 3, "pending: the answer is being made"},
		{"failed", `{"items": [], "answer": "none", "complete": false, "no_data": [], "counts": null, "build": null, "state": "failed"}`, "--fail-on low", 3, "no answer, and none is coming: failed"},
		{"not asked to judge", `{"items": [], "answer": "unknown", "complete": false, "no_data": ["distro:centos:7"], "counts": {"total": 0}, "build": null, "state": "done"}`, "", 0, "nothing in it could be judged, so no findings mean nothing; no data for distro:centos:7"},
		{"an answer of tomorrow", `{"items": [], "answer": "doubtful", "complete": false, "no_data": [], "counts": {"total": 0}, "build": null, "state": "done"}`, "--fail-on low --allow-partial", 3, "the answer is doubtful"},
		{"a name that turns the terminal", `{"items": [{"vulnerability": "CVE-1", "package": {"type": "npm", "name": "a\u001b[2J", "version": "1"}, "severity": "high", "images": [], "aliases": []}], "answer": "partial", "complete": false, "no_data": ["\u202e"], "counts": {"total": 1, "high": 1}, "build": null, "state": "done"}`, "", 0, `a\x1b[2J 1`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url, _ := service(t, "/findings", tt.answer)
			code, stdout, stderr := tidewaiter(t, url, append([]string{"findings", "r.example/a:1"}, strings.Fields(tt.args)...)...)
			if code != tt.code || !strings.Contains(stdout+stderr, tt.text) || strings.Contains(stdout, "clean") || strings.ContainsAny(stdout+stderr, "\x1b\u202e") {
				t.Errorf("exit %d, want %d\n%s%s", code, tt.code, stdout, stderr)
			}
		})
	}
}

// follow tells each event once, also when it is looked at again.
func TestEventsFollow(t *testing.T) {
	first := `{"id": 1, "occurred_at": "` + time.Now().UTC().Format(time.RFC3339) + `", "kind": "opened", "cause": "push", "severity": "high", "vulnerability": "CVE-1", "package": {"type": "npm", "name": "a"}, "repository": "r.example/a"}`
	second := strings.NewReplacer(`"id": 1`, `"id": 2`, "CVE-1", "CVE-2").Replace(first)
	answers := []string{`{"items": [` + first + `]}`, `{"items": [` + second + `, ` + first + `]}`}
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if len(answers) == 0 {
			close(done)
			answers = []string{`{"items": []}`, `{"items": []}`}
		}
		_, _ = w.Write([]byte(answers[0]))
		answers = answers[1:]
	}))
	defer server.Close()
	c := eventsCmd{serverFlags: serverFlags{Server: server.URL, Token: "tw_x"}, pageFlags: pageFlags{Limit: 10}, formFlags: formFlags{Output: "json"},
		Since: "1d", Follow: true, every: time.Millisecond}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	go func() { <-done; stop() }()
	var out strings.Builder
	if err := c.Run(ctx, &output{Stdout: &out}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "\n") != 2 || strings.Index(got, "CVE-1") > strings.Index(got, "CVE-2") {
		t.Errorf("told:\n%s", got)
	}
}

func TestVersionOfTheService(t *testing.T) {
	url, _ := service(t, "/version", `{"version": "v1.9.0", "go": "go1", "engine": {"name": "grype", "version": "v1"}, "cataloger": {"name": "syft", "version": "v2"}, "schema": 15, "build": null}`)
	was := version
	defer func() { version = was }()
	for client, note := range map[string]bool{"v1.9.3": false, "v1.8.0": true, "v2.0.0": true, "": false} {
		version = client
		code, stdout, stderr := tidewaiter(t, url, "version")
		if code != 0 || !strings.Contains(stdout, "service v1.9.0 go1, grype v1, syft v2, schema 15, no vulnerability database yet\n") || strings.Contains(stderr, "use the same") != note {
			t.Errorf("%q: exit %d\n%s%s", client, code, stdout, stderr)
		}
	}
	if code, stdout, _ := tidewaiter(t, url, "version", "-o", "json"); code != 0 || !strings.Contains(stdout, `"server":{"version":"v1.9.0"`) {
		t.Errorf("json: %s", stdout)
	}
}
