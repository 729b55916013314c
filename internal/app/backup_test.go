package app_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// backupPage is the page whose commands these tests run.
const backupPage = "../../docs/backup.md"

// TestABackupIsRestored takes a backup of a service in use and restores it as
// docs/backup.md says, and starts a service on it that has nothing else: no
// vulnerability database, no layers.
func TestABackupIsRestored(t *testing.T) {
	images := []string{"team/shop:1.0", "team/shop:latest"}
	s, c, before := used(t, images)
	restored := pgtest.Empty(t)
	runPage(t, "## Back up", "## Restore", c.Database.URL.Reveal(), restored)
	s.stop()

	c.Database.URL, c.VulnDB.Dir, c.Cache.Dir = config.Secret(restored), filepath.Join(t.TempDir(), "vulndb"), t.TempDir()
	s.run(c)
	if diff := cmp.Diff(before, s.answers(images)); diff != "" {
		t.Errorf("what was restored answers otherwise (-before +after):\n%s", diff)
	}
	eventually(t, "the database in force comes out of Postgres", func() bool { return ready(s.url) })
	pulled := s.count("scan WHERE pulled_bytes > 0")
	s.pushed(withNPM(t, "lodash", "4.17.15", "minimist", "1.2.0"), "team/shop", "again")
	s.pushed(withNPM(t, "lodash", "4.17.21", "left-pad", "1.0.0"), "team/shop", "latest")
	if n := s.count("scan WHERE pulled_bytes > 0"); n != pulled+1 {
		t.Errorf("%d pulls after the restore, want one: the other image was known before", n-pulled)
	}
	importAdvisory(t, c.VulnDB.Dir)
	s.until(`count(*) > 0 FROM repository_finding WHERE vulnerability = 'CVE-2026-99999' AND closed_at IS NULL`)
}

// TestASmallBackupIsRestored leaves out what can be had again, and starts with
// nothing in the way of a database but what an update brings.
func TestASmallBackupIsRestored(t *testing.T) {
	images := []string{"team/shop:1.0", "team/shop:latest"}
	s, c, before := used(t, images)
	restored := pgtest.Empty(t)
	runPage(t, "## A smaller backup", "## Restore", c.Database.URL.Reveal(), restored)
	s.stop()

	c.Database.URL, c.VulnDB.Dir = config.Secret(restored), filepath.Join(t.TempDir(), "vulndb")
	s.run(c)
	if diff := cmp.Diff(before.Findings, s.answers(images).Findings); diff != "" {
		t.Errorf("what was restored answers otherwise (-before +after):\n%s", diff)
	}
	digest := s.push(withNPM(t, "lodash", "4.17.21", "left-pad", "1.0.0"), "team/shop:new")
	s.until(`count(*) = 1 FROM scan WHERE state = 'queued' AND tag = 'new'`) // nobody can judge it yet
	importAdvisory(t, c.VulnDB.Dir)
	s.settled("team/shop", "new", digest)
	if got := s.findings(s.registry.Host() + "/team/shop:new"); !slices.Contains(got, "CVE-2026-99999 npm lodash 4.17.21") {
		t.Errorf("after the import the new image has %v", got)
	}
}

// stoppable is a service that is stopped before its test ends.
type stoppable struct {
	*service
	end func() error
}

func (s *stoppable) stop() {
	s.t.Helper()
	if err := s.end(); err != nil {
		s.t.Fatalf("the service stopped with %v", err)
	}
}

// used is a service that did a bit of everything, and what it answers.
func used(t *testing.T, images []string) (*stoppable, config.Config, answered) {
	t.Helper()
	s := &stoppable{service: &service{t: t}}
	c := s.config(pgtest.URL(t))
	s.end = s.runUntil(c)
	one := withNPM(t, "lodash", "4.17.15", "minimist", "1.2.0")
	s.pushed(one, "team/shop", "1.0")
	s.pushed(one, "team/shop", "latest")
	s.pushed(withNPM(t, "lodash", "4.17.21"), "team/shop", "latest")
	chart, err := sampleimage.HelmChart()
	if err != nil {
		t.Fatal(err)
	}
	s.pushed(chart, "charts/web", "1.0.0")
	s.until(`count(*) = 1 FROM vuln_archive WHERE complete`)
	return s, c, s.answers(images)
}

// runPage runs the commands that stand under two headings of the page, with the
// databases to read and to write named as it says.
func runPage(t *testing.T, from, to, source, target string) {
	t.Helper()
	page, err := os.ReadFile(backupPage)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, heading := range []string{from, to} {
		script := firstShell(t, string(page), heading)
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+clientPrograms(t)+":"+os.Getenv("PATH"),
			"TIDEWAITER_DATABASE_URL="+source, "RESTORED_DATABASE_URL="+target)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q of docs/backup.md: %v\n%s\n%s", heading, err, script, out)
		}
	}
}

// clientPrograms is the directory with pg_dump and pg_restore: beside the server's
// programs, so that they are of its version.
func clientPrograms(t *testing.T) string {
	t.Helper()
	server, err := localpostgres.Find(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range append([]string{server}, filepath.SplitList(os.Getenv("PATH"))...) {
		if _, err := os.Stat(filepath.Join(dir, "pg_restore")); err == nil {
			return dir
		}
	}
	t.Fatal("pg_dump and pg_restore are not on this machine: install PostgreSQL's programs (apt-get install postgresql)")
	return ""
}

// firstShell is the first block of shell commands under a heading.
func firstShell(t *testing.T, page, heading string) string {
	t.Helper()
	_, section, ok := strings.Cut(page, "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, block, ok2 := strings.Cut(section, "```sh\n")
	block, _, ok3 := strings.Cut(block, "```")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("docs/backup.md has no commands under %q", heading)
	}
	return block
}
