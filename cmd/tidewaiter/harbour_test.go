package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// harbour is the API over a database with one of everything.
type harbour struct {
	*postgrestest.World
	t          *testing.T
	url, token string
}

func newHarbour(t *testing.T) *harbour {
	t.Helper()
	h := &harbour{World: postgrestest.Harbour(t), t: t}
	handler, err := api.New(api.Options{
		Reader: h.Store, Hosts: func(host string) (string, bool) { return "main", host == postgrestest.Host },
		Requests: harbourRequests{h.Store}, Reconciler: h.Store, SBOMs: harbourRest{}, Versions: harbourRest{}, Tokens: h.Store, Keyring: h.Store,
		Audit: h.Store, Databases: h.Store, Forgetter: h.Store, Notifications: struct{ notices }{},
		Program: report.Version{Version: "v9.8.7", Go: "go1", Engine: report.ToolVersion{Name: "grype", Version: "v1"}, Cataloger: report.ToolVersion{Name: "syft", Version: "v2"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	h.url = server.URL
	if h.token, err = h.Store.CreateToken(t.Context(), "harbour", report.ScopeAdmin, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	return h
}

// run runs a command line with the address before the command, as people type it.
func (h *harbour) run(args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	var out, bad bytes.Buffer
	code = run(h.t.Context(), append([]string{"--server", h.url, "--token", h.token}, args...), &out, &bad)
	return code, out.String(), bad.String()
}

// says checks a command's exit code and that its output holds texts, and returns it.
func (h *harbour) says(code int, args string, texts ...string) string {
	h.t.Helper()
	got, stdout, stderr := h.run(strings.Fields(args)...)
	if got != code {
		h.t.Errorf("%s: exit code %d, want %d\n%s%s", args, got, code, stdout, stderr)
	}
	for _, text := range texts {
		if all := strings.Join(strings.Fields(stdout+stderr), " "); !strings.Contains(all, text) {
			h.t.Errorf("%s: %q is missing in\n%s%s", args, text, stdout, stderr)
		}
	}
	return stdout
}

// harbourRequests queue and give nobody a permit.
type harbourRequests struct{ store *postgres.Store }

func (r harbourRequests) RequestScan(ctx context.Context, ref image.Reference) (int64, error) {
	return r.store.RequestScan(ctx, "main", ref, postgrestest.NoPermits)
}

func (r harbourRequests) Hurry(ctx context.Context, id int64) error {
	return r.store.HurryScan(ctx, id)
}

func (r harbourRequests) Cancel(ctx context.Context, access report.Access, id int64, who string) (report.RunState, error) {
	return r.store.CancelScan(ctx, access, id, who)
}

func (r harbourRequests) Upload(context.Context, string, string, []byte) (int64, image.Digest, error) {
	return 0, "", nil
}

// notices are those of the API, under a name that is no method of theirs.
type notices = api.Notifications

// harbourRest is what the commands here hardly ask for.
type harbourRest struct{}

func (harbourRest) Encode(context.Context, []byte, sbom.Format) ([]byte, error) { return nil, nil }

func (harbourRest) Satisfies(kind, version, constraint string) (bool, error) {
	return match.Satisfies(kind, version, constraint)
}

func (harbourRest) Compare(kind, a, b string) (int, error) { return match.CompareVersions(kind, a, b) }

const harbourApp = postgrestest.Host + "/team/app"

func TestCommandsAgainstTheAPI(t *testing.T) {
	h := newHarbour(t)
	repos := h.says(0, "repos", "REPOSITORY TAGS ANSWER CRITICAL", harbourApp+" 2 findings 1 2 0 0 1 3 1", "legacy/centos 1 unknown 0 0 0 0 0 0 0",
		"no data for distro:centos:7", "team/chart 1 none - - - - - - -", "team/web 1 clean", "Judged with the database of")
	if strings.Index(repos, "team/app") > strings.Index(repos, "team/web") || strings.Index(repos, "legacy/centos") > strings.Index(repos, "team/web") {
		t.Errorf("the worst is not first:\n%s", repos)
	}
	h.says(0, "repos "+postgrestest.Host+"/legacy --limit 1", "legacy/", "there are more")
	h.says(0, "repos nowhere.example/", "No repository that the token sees is known there")
	h.says(0, "tags "+harbourApp, "1.0 findings 1 2", "multi", "linux/arm64/v8")
	h.says(0, "tags "+postgrestest.Host+"/team/broken", "1 none", "failed: malformed")
	h.says(1, "tags "+postgrestest.Host+"/team/nobody", "tidewaiter: no repository")
	h.says(0, "image "+harbourApp+":multi", "linux/arm64/v8 findings", "excluded: platforms", "attestation")
	h.says(0, "image "+postgrestest.Host+"/legacy/centos:7", "unknown: nothing in it could be judged", "support of centos:7 ended 2024-06-30")
	h.says(0, "image "+postgrestest.Host+"/team/web:1", "clean: no vulnerability is known")
	h.says(0, "where log4j-core", harbourApp+":1.0", "2.14.1 java-archive", "Images that nobody has read yet are not listed")
	h.says(0, "where pkg:maven/log4j-core", "log4j-core")
	h.says(0, "where nobody-has-it", "No image behind a live tag that was read holds nobody-has-it", "coverage")
	h.says(0, "where CVE-2021-44228", "critical, known to be exploited; also", "2.15.0", "3 images more could not be judged in full and may have it")
	h.says(0, "where CVE-2021-44228 --package", "No image behind a live tag that was read holds CVE-2021-44228", "--vulnerability asks")
	h.says(1, "where CVE-1999-0001", "tidewaiter:")
	h.says(64, "where a --package --vulnerability", "can't be used together")
	h.says(0, "events --min-severity critical", "opened critical CVE-2021-44228 log4j-core "+harbourApp+" push of 1.0")
	h.says(0, "events --kind closed", "Nothing changed in that time")
	h.says(1, "events --since yesterday", "is no time", "24h or 7d")
	h.says(0, "scans --state done", harbourApp+":1.0 push 1")
	h.says(0, "scans --state running", "No scan is running.")
	h.says(0, "coverage", "main 7", "have no last word", "failed: malformed")
	h.says(0, "coverage --repositories", "team/broken")
	h.says(0, "coverage "+postgrestest.Host+"/team/broken", "1 linux/amd64 failed malformed")
	h.says(0, "coverage "+postgrestest.Host+"/team/web", "has its last word")
	h.says(64, "coverage --state failed", "a repository goes with --state only")
	h.says(0, "registries", "main "+postgrestest.Host+" 7", "sboms")
	h.says(0, "request "+harbourApp+":9", "scan 10 of "+harbourApp+":9: queued", "trace "+harbourApp+":9 --wait")
	h.says(0, "version --server "+h.url, "service v9.8.7 go1, grype v1, syft v2, schema 1", "database sha256:one")
	h.says(64, "repos --limit=0", "--limit 0 lists nothing")
}

func TestFindingsAgainstTheAPI(t *testing.T) {
	h := newHarbour(t)
	h.says(0, "findings "+harbourApp+":1.0", "SEVERITY VULNERABILITY PACKAGE TYPE FIXED IN EPSS EXPLOITED",
		"critical CVE-2021-44228 log4j-core 2.14.1 java-archive 2.15.0 50.0% yes", "negligible CVE-2019-1010022 openssl 3.0.11-1 deb wont-fix - -",
		"4 vulnerabilities (1 critical, 2 high, 0 medium, 1 low)", "everything could be judged")
	h.says(0, "findings --repository "+harbourApp+" --kev", "IMAGES", "1.0, multi")
	h.says(0, "findings "+harbourApp+":1.0 --package nobody", "No finding passes the filter.", "4 vulnerabilities")
	h.says(0, "findings "+harbourApp+":1.0 --limit 1", "The first 1; there are more")
	h.says(2, "findings "+harbourApp+":1.0 --fail-on high", "3 vulnerabilities, counted once per package name, at or above high")
	h.says(2, "findings "+harbourApp+":1.0 --fail-on high --fixable --package lodash", "1 finding, among those that pass the filter, at or above high")
	h.says(0, "findings "+harbourApp+":1.0 --fail-on critical --package lodash")
	h.says(0, "findings "+postgrestest.Host+"/team/web:1 --fail-on unknown --wait", "clean: no vulnerability is known")
	h.says(3, "findings "+postgrestest.Host+"/legacy/mixed:1 --fail-on high", "the answer is partial (--allow-partial accepts that): no data for ecosystem:gem")
	h.says(0, "findings "+postgrestest.Host+"/legacy/mixed:1 --fail-on high --allow-partial", "partial: not everything in it could be judged")
	h.says(3, "findings "+postgrestest.Host+"/legacy/centos:7 --fail-on high --allow-partial", "the answer is unknown")
	h.says(3, "findings "+postgrestest.Host+"/team/broken:1 --fail-on high", "the answer is none")
	h.says(1, "findings "+harbourApp+":nobody", "tidewaiter:")
	h.says(64, "findings", "name an image, or a repository with --repository")
	h.says(64, "findings a/b:1 --repository a/b")
	h.says(64, "findings --repository a/b --wait")
}

// JSON is what the API answers, a page a line.
func TestListingsAsJSON(t *testing.T) {
	h := newHarbour(t)
	out := h.says(0, "repos -o json --limit 2")
	var page report.Judged[report.Repository]
	if err := json.Unmarshal([]byte(out), &page); err != nil || len(page.Items) != 2 || page.NextCursor == "" || page.Build == nil || strings.Count(out, "\n") != 1 {
		t.Errorf("%v: %s", err, out)
	}
	for _, args := range []string{
		"repos --all", "tags " + harbourApp, "image " + harbourApp + ":1.0", "findings " + harbourApp + ":1.0", "where log4j-core", "where CVE-2021-44228",
		"events", "scans", "coverage", "coverage --repositories", "coverage " + harbourApp, "registries", "request " + harbourApp + ":1.0",
	} {
		if out := h.says(0, args+" -o json"); !json.Valid([]byte(out)) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: no line of JSON: %s", args, out)
		}
	}
}

func TestForgetAgainstTheAPI(t *testing.T) {
	h := newHarbour(t)
	h.says(0, "forget repository "+harbourApp+" --dry-run", "Would go with "+harbourApp+":", "2 tags", "of which other repositories have 1 too: those stay there", "note: if the registry still has")
	h.says(0, "forget repository "+harbourApp+" --dry-run -o json", `"dry_run":true`)
	if code, _, stderr := h.run("forget", "repository", harbourApp); code != 1 || !strings.Contains(stderr, "nobody can be asked") {
		t.Errorf("without anybody to ask: %d, %s", code, stderr)
	}
	h.says(0, "tags "+harbourApp, "1.0")
	h.says(0, "forget repository "+harbourApp+" --yes", "Gone with "+harbourApp+":", "2 tags")
	h.says(1, "tags "+harbourApp, "no repository")
	h.says(0, "forget registry main --dry-run", "Would go with registry main:", "6 repositories", "note: the configuration still has the registry")
	h.says(0, "forget registry main --yes -o json", `"done":true`)
	h.says(0, "repos", "sboms/team/app")
	h.says(1, "forget registry nobody", "no registry")
}

// Deleting wants the name, typed.
func TestForgetAsks(t *testing.T) {
	for typed, want := range map[string]bool{"\n": false, "yes\n": false, harbourApp: true, harbourApp + "\n": true, " " + harbourApp + " \n": true, "": false} {
		h := newHarbour(t)
		var out, bad bytes.Buffer
		c := forgetRepositoryCmd{Repository: harbourApp, forgetFlags: forgetFlags{
			serverFlags: serverFlags{Server: h.url, Token: h.token}, formFlags: formFlags{Output: "table"}}}
		err := c.Run(t.Context(), &output{Stdout: &out, Stderr: people{&bad}, Stdin: strings.NewReader(typed)})
		if (err == nil) != want || !strings.Contains(bad.String(), "2 tags") || !strings.Contains(bad.String(), "Type "+harbourApp) {
			t.Errorf("%q: %v\n%s", typed, err, bad.String())
		}
		if code, _, _ := h.run("tags", harbourApp); (code == 1) != want {
			t.Errorf("%q: the repository is there: %v", typed, code == 0)
		}
	}
}
