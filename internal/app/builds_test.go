package app_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// ownAdvisory is a private advisory in OSV form, as a site would write it.
const ownAdvisory = `{
  "id": "GHSA-2222-3333-4444", "aliases": ["CVE-2026-99999"], "modified": "2026-11-01T00:00:00Z", "published": "2026-11-01T00:00:00Z",
  "summary": "Own advisory", "details": "lodash as this site sees it.",
  "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
  "affected": [{"package": {"ecosystem": "npm", "name": "lodash"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "4.17.22"}]}]}]
}`

func TestANewDatabaseReachesWhatWasScannedBeforeWithoutAPull(t *testing.T) {
	library := filepath.Join(t.TempDir(), "vulndb")
	if err := installSample(t.Context(), library, t.TempDir()); err != nil {
		t.Fatal(err)
	}
	s := start(t, func(c *config.Config) { c.VulnDB.Dir = library })
	s.pushed(withNPM(t, "lodash", "4.17.20"), "demo/shop", "1")
	pulled := s.count("scan WHERE pulled_bytes > 0")
	before := s.count("repository_finding WHERE closed_at IS NULL")
	if before == 0 || s.count("repository_finding WHERE vulnerability = 'CVE-2026-99999'") != 0 {
		t.Fatalf("%d findings to begin with", before)
	}
	importAdvisory(t, library)
	s.until(`count(*) = 1 FROM repository_finding WHERE vulnerability = 'CVE-2026-99999' AND closed_at IS NULL`)
	if n := s.count("finding_event WHERE kind = 'opened' AND cause = 'build' AND vulnerability = 'CVE-2026-99999'"); n != 1 {
		t.Errorf("%d events tell of it, want 1", n)
	}
	if n := s.count("finding_event WHERE kind = 'closed' AND cause = 'build'"); n != before {
		t.Errorf("%d findings that the new database does not know were closed, want %d", n, before)
	}
	s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND NOT sample`)
	s.pushed(withNPM(t, "lodash", "4.17.20", "left-pad", "1.0.0"), "demo/shop", "2")
	if n := s.count("scan WHERE pulled_bytes > 0"); n != pulled+1 {
		t.Errorf("%d pulls, want one more than %d", n, pulled)
	}
}

// importAdvisory builds a database from the advisory alone and installs it.
func importAdvisory(t *testing.T, library string) {
	t.Helper()
	from := t.TempDir()
	if err := os.WriteFile(filepath.Join(from, "own.json"), []byte(ownAdvisory), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := vulndb.Open(vulndb.Config{Dir: library})
	if err != nil {
		t.Fatal(err)
	}
	built, err := l.Build(t.Context(), vulndb.BuildOptions{From: from, Out: filepath.Join(t.TempDir(), "own")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Import(t.Context(), built.Archive, nil); err != nil {
		t.Fatal(err)
	}
}
