//go:build chaos

package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

const (
	changeDeaths       = 50
	changeRepositories = 30
	changePackages     = 200 // names; each repository has a version of its own
)

// changing are two replicas on one database, with libraries of their own, and
// what each of two database builds makes of what is stored.
type changing struct {
	*chaos
	other    *chaos
	library  *vulndb.Library
	advisory string // directory

	mu sync.Mutex
	// what is the state that a build leaves, by the checksum of the build: 0 or 1
	// before it is known what both look like, and the counts that answers show.
	what   map[string]int
	counts [2]map[string]int // of findings, by repository
}

// TestAChangeOfBuildEndsWellWhoeverDies changes the build to and fro while the
// leader, the other process or both are killed at random moments. The end is that
// of a change that nobody disturbs, with the same events, and readers see the one
// build or the other all the while.
func TestAChangeOfBuildEndsWellWhoeverDies(t *testing.T) {
	c := newChanging(t)
	// Undisturbed: there, back, and there again, when findings come back.
	var states, events [2]string
	for n := range 4 {
		c.change(n%2, func() {})
		states[n%2], events[n%2] = c.state(), c.events()
		c.counts[n%2] = c.count()
	}
	if states[0] == states[1] || events[0] == events[1] {
		t.Fatalf("the builds say the same: %s", states[0])
	}
	reading, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	read := 0
	readers.Go(func() { read = c.read(reading) })
	started := time.Now()
	for n := range changeDeaths {
		c.change(n%2, func() {
			time.Sleep(time.Duration(rand.IntN(7000)) * time.Millisecond)
			switch n % 3 {
			case 0:
				c.restart()
			case 1:
				c.other.restart()
			case 2:
				c.restart()
				c.other.restart()
			}
		})
		if got := c.state(); got != states[n%2] {
			t.Fatalf("death %d: the findings are not those of an undisturbed change:\n%s\nwant\n%s", n, got, states[n%2])
		}
		if got := c.events(); got != events[n%2] {
			t.Fatalf("death %d: the events are not those of an undisturbed change:\n%s\nwant\n%s", n, got, events[n%2])
		}
	}
	took := time.Since(started)
	stop()
	readers.Wait()
	t.Logf("%d changes of build in %.0f s, %d deaths; %d answers read meanwhile", changeDeaths, took.Seconds(), c.kills+c.other.kills, read)
	if read == 0 {
		t.Error("nothing was read")
	}
	c.never("left behind by a change", `SELECT count(*) FROM vuln_build WHERE state IN ('candidate', 'held')`)
}

func newChanging(t *testing.T) *changing {
	address := freeAddress(t)
	registry, err := localregistry.Start(t.Context(), localregistry.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close(context.Background()) })
	c := &changing{chaos: newChaosAt(t, address, registry, ""), advisory: t.TempDir(), what: map[string]int{}}
	dir := filepath.Dir(c.config)
	c.kill()
	c.configureHold(c.config, "vulndb: {", "vulndb: {hold: {enabled: false}, ")
	if c.library, err = vulndb.Open(vulndb.Config{Dir: filepath.Join(dir, "vulndb")}); err != nil {
		t.Fatal(err)
	}
	c.start()
	c.until(time.Minute, `to_regclass('goose_db_version') IS NOT NULL AND to_regclass('api_token') IS NOT NULL`)
	c.other = &chaos{t: t, binary: c.binary, config: filepath.Join(dir, "other.yaml"), address: freeAddress(t), pool: c.pool}
	text, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(c.address, c.other.address, filepath.Join(dir, "vulndb"), filepath.Join(dir, "other-vulndb")).Replace(string(text))
	if err := os.WriteFile(c.other.config, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	c.other.start()
	t.Cleanup(c.other.kill)
	c.upload()
	return c
}

func (c *changing) configureHold(path, from, to string) {
	text, err := os.ReadFile(path)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, bytes.Replace(text, []byte(from), []byte(to), 1), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// upload stores a document per repository, each with its versions of the same
// packages.
func (c *changing) upload() {
	c.t.Helper()
	for r := range changeRepositories {
		var components []string
		for p := range changePackages {
			name, version := fmt.Sprintf("pkg-%03d", p), fmt.Sprintf("1.%d.%d", r, p%7)
			components = append(components, fmt.Sprintf(`{"type":"library","name":%q,"version":%q,"purl":"pkg:npm/%s@%s"}`, name, version, name, version))
		}
		document := `{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[` + strings.Join(components, ",") + `]}`
		var answer json.RawMessage
		c.call(http.MethodPost, fmt.Sprintf("/api/v1/sboms?repository=team/app%d&tag=v1", r), json.RawMessage(document), &answer)
	}
	c.until(3*time.Minute, fmt.Sprintf(`(SELECT count(*) FROM manifest WHERE state = 'done') = %d`, changeRepositories))
}

// change builds a database of the one kind or the other, imports it where the
// first replica finds it, disturbs, and waits until it is in force.
func (c *changing) change(kind int, disturb func()) {
	c.t.Helper()
	if err := os.RemoveAll(c.advisory); err != nil {
		c.t.Fatal(err)
	}
	if err := os.MkdirAll(c.advisory, 0o755); err != nil {
		c.t.Fatal(err)
	}
	for p := range changePackages {
		if kind == 0 && p >= 150 || kind == 1 && p < 50 {
			continue // each knows packages that the other does not
		}
		severity := "C:L/I:L/A:N"
		if kind == 1 && p < 100 {
			severity = "C:H/I:H/A:H"
		}
		text := fmt.Sprintf(`{"id":"GHSA-2222-3333-4%03d","aliases":["CVE-2026-%05d"],"modified":"2026-11-01T00:00:00Z","published":"2026-11-01T00:00:00Z",
			"summary":"Of a test","details":"Of a test.","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/%s"}],
			"affected":[{"package":{"ecosystem":"npm","name":"pkg-%03d"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"2.0.%d"}]}]}]}`,
			p, 10000+p, severity, p, kind)
		if err := os.WriteFile(filepath.Join(c.advisory, fmt.Sprintf("%d.json", p)), []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	built, err := c.library.Build(c.t.Context(), vulndb.BuildOptions{From: c.advisory, Out: filepath.Join(c.t.TempDir(), "built")}, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	in, err := c.library.Import(c.t.Context(), built.Archive, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	c.mu.Lock()
	c.what[in.Checksum] = kind
	c.mu.Unlock()
	disturb()
	c.until(2*time.Minute, fmt.Sprintf(`EXISTS (SELECT 1 FROM vuln_build WHERE state = 'active' AND checksum = '%s')`, in.Checksum))
	time.Sleep(1100 * time.Millisecond) // builds are told apart by the second
}

// state is what is stored of findings now.
func (c *changing) state() (sum string) {
	c.t.Helper()
	c.scan(`
		WITH active AS (SELECT id FROM vuln_build WHERE state = 'active')
		SELECT concat_ws(' ',
		       (SELECT count(*) || '/' || md5(string_agg(concat_ws(',', repository_id, package_name, vulnerability, severity, fixable, known_exploited), ';'
		                ORDER BY repository_id, package_name, vulnerability)) FROM repository_finding WHERE closed_at IS NULL),
		       (SELECT count(*) || '/' || md5(string_agg(concat_ws(',', inventory_id, critical, high, medium, low, unknown, fixable), ';' ORDER BY inventory_id))
		          FROM inventory_summary),
		       (SELECT count(*) || '/' || md5(string_agg(concat_ws(',', i.id, f.package_id, f.vulnerability, f.severity_rank, f.fix_state), ';'
		                ORDER BY i.id, f.package_id, f.vulnerability)) FROM inventory i, active, inventory_findings(i.id, active.id) f))`, &sum)
	return sum
}

// events sums up what the build in force told.
func (c *changing) events() (sum string) {
	c.t.Helper()
	c.scan(`SELECT COALESCE(string_agg(kind || ' ' || n || '/' || names, '; ' ORDER BY kind), '') FROM (
	            SELECT kind, count(*) AS n, count(DISTINCT (repository_id, package_name, vulnerability)) AS names FROM finding_event
	             WHERE cause = 'build' AND build_id = (SELECT id FROM vuln_build WHERE state = 'active') GROUP BY kind) x`, &sum)
	return sum
}

// count is how many findings each repository has.
func (c *changing) count() map[string]int {
	out := map[string]int{}
	for r := range changeRepositories {
		name := fmt.Sprintf("team/app%d", r)
		var n int
		c.scan(fmt.Sprintf(`SELECT count(*) FROM repository_finding f JOIN repository r ON r.id = f.repository_id WHERE r.name = '%s' AND closed_at IS NULL`, name), &n)
		out["sboms/"+name] = n
	}
	return out
}

// read asks both replicas, whichever lives, until ctx ends; every answer must be
// whole and of the build that it names.
func (c *changing) read(ctx context.Context) (answers int) {
	for n := 0; ctx.Err() == nil; n++ {
		repository := fmt.Sprintf("sboms/team/app%d", rand.IntN(changeRepositories))
		from := []*chaos{c.chaos, c.other}[n%2]
		var page report.FindingPage
		if c.ask(ctx, from, "/api/v1/findings?limit=500&ref="+repository+":v1", &page) {
			answers++
			c.holds("findings of "+repository, repository, page.Build, len(page.Items))
			c.holds("counts with the findings of "+repository, repository, page.Build, countOf(page.Counts))
		}
		var list report.Judged[report.Repository]
		if c.ask(ctx, from, "/api/v1/repositories?limit=500", &list) {
			answers++
			for _, r := range list.Items {
				if strings.HasPrefix(r.Repository, "sboms/team/") {
					c.holds("counts of "+r.Repository, r.Repository, list.Build, countOf(r.Counts))
				}
			}
		}
		var img report.Image
		if c.ask(ctx, from, "/api/v1/image?ref="+repository+":v1", &img) {
			answers++
			c.holds("counts of the image of "+repository, repository, img.Build, countOf(img.Counts))
		}
	}
	return answers
}

func countOf(c *report.Counts) int {
	if c == nil {
		return -1
	}
	return c.Total
}

func (c *changing) holds(what, repository string, build *report.Build, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if build == nil {
		c.t.Errorf("%s have no build", what)
		return
	}
	kind, known := c.what[build.Checksum]
	if want := c.counts[kind][repository]; !known || n != want {
		c.t.Errorf("%s: %d under build %.20s (kind %d, known %v), want %d", what, n, build.Checksum, kind, known, want)
	}
}

// ask reads from a replica that may be dead; an answer that is an error is one of
// the test.
func (c *changing) ask(ctx context.Context, from *chaos, path string, into any) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+from.address+path, nil)
	if err != nil {
		c.t.Error(err)
		return false
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		time.Sleep(50 * time.Millisecond)
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return false
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(answer, into) != nil {
		c.t.Errorf("%s: %d %s", path, resp.StatusCode, answer)
		return false
	}
	return true
}
