package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// feed is a database as a publisher would build it: for each ecosystem so many
// advisories, each about a package of its own that every image has.
type feed struct {
	built time.Time
	npm   int
	pypi  int
}

func (f feed) build(t *testing.T) vulndb.BuildReport {
	t.Helper()
	from := t.TempDir()
	for ecosystem, n := range map[string]int{"npm": f.npm, "PyPI": f.pypi} {
		for i := range n {
			id := fmt.Sprintf("OWN-%s-%d", strings.ToUpper(ecosystem), i)
			text := fmt.Sprintf(`{"id": %q, "modified": "2026-11-01T00:00:00Z", "summary": "x",
				"affected": [{"package": {"ecosystem": %q, "name": "thing-%d"}, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "9.0.0"}]}]}]}`, id, ecosystem, i)
			if ecosystem == "npm" {
				text = strings.ReplaceAll(text, "ECOSYSTEM", "SEMVER")
			}
			if err := os.WriteFile(filepath.Join(from, id+".json"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	built, err := vulndb.Build(t.Context(), vulndb.BuildOptions{From: from, Out: t.TempDir(), Provider: "own", Built: f.built}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return built
}

func (f feed) install(t *testing.T, library string) string {
	t.Helper()
	l, err := vulndb.Open(vulndb.Config{Dir: library})
	if err != nil {
		t.Fatal(err)
	}
	in, err := l.Import(t.Context(), f.build(t).Archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	return in.Checksum
}

var feedDay = time.Now().UTC().Truncate(time.Hour).AddDate(0, 0, -3)

// guarded is a service on a feed, with an image scanned.
func guarded(t *testing.T) (s *service, library string) {
	library = filepath.Join(t.TempDir(), "vulndb")
	feed{feedDay, 30, 30}.install(t, library)
	s = start(t, func(c *config.Config) {
		c.VulnDB.Dir = library
		c.VulnDB.Hold.MinMatches, c.VulnDB.Hold.MinRecords = 5, 5
	})
	var packages []string
	for i := range 20 {
		packages = append(packages, fmt.Sprintf("thing-%d", i), "1.0.0")
	}
	s.pushed(withNPM(t, packages...), "demo/shop", "1")
	if n := s.count("repository_finding WHERE closed_at IS NULL"); n != 20 {
		t.Fatalf("%d findings to begin with, want 20", n)
	}
	return s, library
}

func TestABuildThatEmptiesAnEcosystemWaitsForAPerson(t *testing.T) {
	s, library := guarded(t)
	bad := feed{feedDay.Add(time.Hour), 0, 30}.install(t, library)
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'held' AND checksum = $1`, bad)
	if n := s.count("repository_finding WHERE closed_at IS NULL"); n != 20 {
		t.Errorf("%d findings while the build is held, want 20", n)
	}
	var got report.BuildState
	if status := s.get("/api/v1/vulndb/"+bad[:20], &got); status != http.StatusOK || got.State != "held" || got.HeldAt == nil || !got.Shared {
		t.Fatalf("%d %+v", status, got)
	}
	for _, words := range []string{"20 of the 20 open matches of ecosystem:npm", "knows nothing about ecosystem:npm any more"} {
		if !strings.Contains(got.Reason, words) {
			t.Errorf("the reason is %q, want it to say %q", got.Reason, words)
		}
	}
	scopes := map[string]report.BuildScope{}
	for _, scope := range got.Changes.Scopes {
		scopes[scope.Scope] = scope
	}
	if npm := scopes["ecosystem:npm"]; npm.Matches.Closed != 20 || npm.Records != (report.RecordChange{Before: 30}) {
		t.Errorf("npm: %+v", npm)
	}
	// Discarded, it is not tried again, also by a process that begins anew.
	if status := s.call(http.MethodPost, "/api/v1/vulndb/"+bad+"/discard", &got); status != http.StatusOK || got.State != "retired" || got.Reason != "discarded" {
		t.Errorf("%d %+v", status, got)
	}
	if status := s.call(http.MethodPost, "/api/v1/vulndb/"+bad+"/release", nil); status != http.StatusConflict {
		t.Errorf("a discarded build is released: %d", status)
	}
	good := feed{feedDay.Add(2 * time.Hour), 31, 30}.install(t, library)
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND checksum = $1`, good)
	if n := s.count("vuln_build WHERE checksum = $1", bad); n != 1 {
		t.Errorf("the discarded build was begun %d times", n)
	}
	if n := s.count("repository_finding WHERE closed_at IS NULL"); n != 20 {
		t.Errorf("%d findings in the end, want 20", n)
	}
}

func TestAHeldBuildGoesOnWhenAPersonReleasesIt(t *testing.T) {
	s, library := guarded(t)
	half := feed{feedDay.Add(time.Hour), 10, 30}.install(t, library)
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'held' AND checksum = $1`, half)
	var got report.BuildState
	if status := s.call(http.MethodPost, "/api/v1/vulndb/"+strings.TrimPrefix(half, "sha256:")+"/release", &got); status != http.StatusOK || got.State != "candidate" {
		t.Errorf("%d %+v", status, got)
	}
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND checksum = $1`, half)
	if n := s.count("repository_finding WHERE closed_at IS NULL"); n != 10 {
		t.Errorf("%d findings, want 10", n)
	}
	if n := s.count("finding_event WHERE kind = 'closed' AND cause = 'build'"); n != 10 {
		t.Errorf("%d events, want 10", n)
	}
}

func TestALookOnDemandFetchesRefusesAndTells(t *testing.T) {
	mirror := t.TempDir()
	server := httptest.NewServer(http.FileServer(http.Dir(mirror)))
	t.Cleanup(server.Close)
	publish := func(f feed) vulndb.BuildReport {
		b := f.build(t)
		if err := os.MkdirAll(filepath.Join(mirror, "v6"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{b.Archive, b.Latest} {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(mirror, "v6", filepath.Base(file)), raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return b
	}
	first := publish(feed{feedDay, 30, 30})
	s := start(t, func(c *config.Config) {
		c.VulnDB.Dir, c.VulnDB.URL = filepath.Join(t.TempDir(), "vulndb"), config.URL(server.URL)
	})
	look := func(want string) (check report.BuildCheck) {
		t.Helper()
		var got report.Builds
		if status := s.call(http.MethodPost, "/api/v1/vulndb/check", &got); status != http.StatusAccepted {
			t.Fatalf("status %d", status)
		}
		eventually(t, "the look is over", func() bool {
			s.get("/api/v1/vulndb", &got)
			return got.Check.Over()
		})
		if got.Check.Outcome != want {
			t.Errorf("check = %+v, want %s", got.Check, want)
		}
		return got.Check
	}
	look("fetched") // although auto_update is off: somebody asked
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND checksum = $1`, first.Checksum)
	look("unchanged")
	next := publish(feed{feedDay.Add(time.Hour), 31, 30})
	archive := filepath.Join(mirror, "v6", filepath.Base(next.Archive))
	whole, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if check := look("failed"); !strings.Contains(check.Detail, "checksum") {
		t.Errorf("a truncated archive: %q", check.Detail)
	}
	if n := s.count("vuln_build WHERE state = 'active' AND checksum = $1", first.Checksum); n != 1 {
		t.Error("a failed update changed the build in force")
	}
	if err := os.WriteFile(archive, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	look("fetched")
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND checksum = $1`, next.Checksum)
}
