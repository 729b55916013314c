//go:build parity

package app_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// TestParityOfAChange scans the images and uploads the SBOMs of TIDEWAITER_SHARED
// under the database small-old, then imports small. What changes is what grype's
// CLI said that changes (findings-old-to-new.txt), each change is an event, every
// answer is that of a service that has known nothing but small, the registry is
// not asked, and the same import again writes nothing.
func TestParityOfAChange(t *testing.T) {
	shared := os.Getenv("TIDEWAITER_SHARED")
	if shared == "" {
		t.Fatal("TIDEWAITER_SHARED names no directory with data/images and data/vulndb")
	}
	c := &change{t: t, data: filepath.Join(shared, "data"), sboms: []string{"debian12", "alpine", "npm", "langs", "gobin"}}
	library := filepath.Join(t.TempDir(), "vulndb")
	c.install(library, "small-old")
	s := start(t, func(c *config.Config) { c.VulnDB.Dir = library })
	images := c.fill(s)
	before := c.rows(s)
	if err := s.registry.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	asked := s.metric("tidewaiter_registry_requests_total")
	started := time.Now()
	c.install(library, "small")
	s.untilWithin(5*time.Minute, `count(*) = 1 FROM vuln_build WHERE state = 'active' AND id > (SELECT min(id) FROM vuln_build)`)
	t.Logf("in force %.1f s after the import", time.Since(started).Seconds())
	if now := s.metric("tidewaiter_registry_requests_total"); now != asked {
		t.Errorf("the registry was asked %v times", now-asked)
	}
	after := c.rows(s)
	expected := c.expected()
	for _, name := range c.sboms {
		t.Run(name, func(t *testing.T) {
			expected[name].compare(t, before[name], after[name])
			sameEvents(t, s, name, before[name], after[name])
		})
	}
	t.Run("from scratch", func(t *testing.T) { c.fromScratch(t, s, images) })
	t.Run("again", func(t *testing.T) {
		const written = `(SELECT count(*) FROM finding_event) + (SELECT count(*) FROM repository_finding) + (SELECT max(xmin::text::bigint) FROM repository_finding)
		     + (SELECT count(*) FROM package_match) + (SELECT max(xmin::text::bigint) FROM package_match)`
		was := s.number(written)
		c.install(library, "small")
		s.until(`max(id) > 0 FROM vuln_build`)
		time.Sleep(15 * time.Second) // three looks at the library
		if now := s.number(written); now != was {
			t.Errorf("the same database again wrote findings: %d became %d", was, now)
		}
	})
}

// change is a test's data.
type change struct {
	t     *testing.T
	data  string
	sboms []string
}

func (c *change) install(library, name string) {
	c.t.Helper()
	archives, err := filepath.Glob(filepath.Join(c.data, "vulndb", name, "*.tar.zst"))
	if err != nil || len(archives) != 1 {
		c.t.Fatalf("%s: %d archives, %v", name, len(archives), err)
	}
	l, err := vulndb.Open(vulndb.Config{Dir: library})
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := l.Import(c.t.Context(), archives[0], nil); err != nil {
		c.t.Fatal(err)
	}
}

// fill pushes the images and uploads the documents; it returns the images' names.
func (c *change) fill(s *service) []string {
	c.t.Helper()
	images := layoutImages(c.t, filepath.Join(c.data, "images"))
	for _, name := range slices.Sorted(maps.Keys(images)) {
		s.push(images[name], "corpus/"+name+":1")
	}
	for _, name := range c.sboms {
		document, err := os.ReadFile(filepath.Join(c.data, "vulndb", "sboms", name+".json"))
		if err != nil {
			c.t.Fatal(err)
		}
		if status, body := s.upload("real/"+name, "1", document); status != http.StatusAccepted {
			c.t.Fatalf("%s: %d %s", name, status, body)
		}
	}
	s.untilWithin(10*time.Minute, `count(*) = $1 FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.state = 'done'`, len(images)+len(c.sboms))
	return slices.Sorted(maps.Keys(images))
}

// row is a match with what may change about it.
type row struct {
	severity, state, fix string
	kev                  bool
	epss                 float64 // which is no change by itself
}

func (r row) bare() row {
	r.epss = 0
	return r
}

func (r row) String() string { return fmt.Sprintf("%s %s %q %v", r.severity, r.state, r.fix, r.kev) }

// rows lists the matches of each document by "package version vulnerability".
func (c *change) rows(s *service) map[string]map[string]row {
	out := map[string]map[string]row{}
	for _, name := range c.sboms {
		out[name] = map[string]row{}
		for _, f := range s.all("sboms/real/" + name + ":1") {
			for _, m := range f.Matches {
				out[name][f.Package.Name+" "+f.Package.Version+" "+m.ID] = row{
					strings.ToLower(string(m.Severity)), string(m.Fix.State), strings.Join(m.Fix.Versions, ","), f.KnownExploited, 0,
				}
				if f.EPSS != nil {
					r := out[name][f.Package.Name+" "+f.Package.Version+" "+m.ID]
					r.epss = *f.EPSS
					out[name][f.Package.Name+" "+f.Package.Version+" "+m.ID] = r
				}
			}
		}
	}
	return out
}

// all reads every finding of a reference.
func (s *service) all(ref string) (out []report.Finding) {
	s.t.Helper()
	for cursor := ""; ; {
		var page report.FindingPage
		query := "/api/v1/findings?limit=500&ref=" + ref
		if cursor != "" {
			query += "&cursor=" + cursor
		}
		if status := s.get(query, &page); status != http.StatusOK {
			s.t.Fatalf("findings of %s: %d", ref, status)
		}
		out = append(out, page.Items...)
		if cursor = page.NextCursor; cursor == "" {
			return out
		}
	}
}

// expectation is a section of findings-old-to-new.txt. Its lists are cut, its
// counts are not.
type expectation struct {
	old, now, appear, disappear, changed int
	lines                                []string
}

func (c *change) expected() map[string]*expectation {
	text, err := os.ReadFile(filepath.Join(c.data, "vulndb", "findings-old-to-new.txt"))
	if err != nil {
		c.t.Fatal(err)
	}
	out := map[string]*expectation{}
	var at *expectation
	for line := range strings.Lines(string(text)) {
		if head, ok := strings.CutPrefix(line, "## "); ok {
			name, rest, _ := strings.Cut(head, ":")
			at = &expectation{}
			if _, err := fmt.Sscanf(rest, " old %d new %d appear %d disappear %d changed %d", &at.old, &at.now, &at.appear, &at.disappear, &at.changed); err != nil {
				c.t.Fatalf("%q: %v", line, err)
			}
			out[name] = at
			continue
		}
		at.lines = append(at.lines, strings.TrimSpace(line))
	}
	return out
}

var told = regexp.MustCompile(`\('(\w*)', '([\w-]*)', '([^']*)', (True|False)\)`)

func (e *expectation) compare(t *testing.T, before, after map[string]row) {
	t.Helper()
	got := expectation{old: len(before), now: len(after)}
	seen := map[string]bool{}
	for key, now := range after {
		was, had := before[key]
		switch {
		case !had:
			got.appear++
			seen["+ "+key+" "+now.String()] = true
		case was.bare() != now.bare():
			got.changed++
			seen["~ "+key+" "+was.String()+" "+now.String()] = true
		}
	}
	for key, was := range before {
		if _, has := after[key]; !has {
			got.disappear++
			seen["- "+key+" "+was.String()] = true
		}
	}
	if diff := cmp.Diff([]int{e.old, e.now, e.appear, e.disappear, e.changed}, []int{got.old, got.now, got.appear, got.disappear, got.changed}); diff != "" {
		t.Errorf("old, new, appear, disappear, changed (-grype +ours):\n%s", diff)
	}
	for _, line := range e.lines {
		key, _, _ := strings.Cut(line, "(")
		key = strings.TrimSpace(key)
		for _, m := range told.FindAllStringSubmatch(line, -1) {
			key += " " + row{strings.ToLower(m[1]), m[2], m[3], m[4] == "True", 0}.String()
		}
		if !seen[key] {
			t.Errorf("grype saw and we did not: %s", key)
		}
	}
}

// sameEvents holds the events that the change wrote for a repository to what is
// different in it.
func sameEvents(t *testing.T, s *service, name string, before, after map[string]row) {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `
		SELECT e.kind || ' ' || e.package_name || ' ' || e.vulnerability FROM finding_event e JOIN repository r ON r.id = e.repository_id
		 WHERE r.name = $1 AND e.cause = 'build' AND e.build_id = (SELECT id FROM vuln_build WHERE state = 'active')`, "real/"+name)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		if got[line] {
			t.Errorf("told twice: %s", line)
		}
		got[line] = true
	}
	const likely = 0.5 // as the configuration has it
	names := canonical(t, s, name)
	want := map[string]bool{}
	for key, now := range after {
		was, had := before[key]
		if !had {
			want["opened "+names(key)] = true
			continue
		}
		// What is compared has one event, the worse; how likely it is exploited is
		// looked at apart.
		switch {
		case vuln.Severity(now.severity).Rank() > vuln.Severity(was.severity).Rank(), now.kev && !was.kev:
			want["escalated "+names(key)] = true
		case now.state == "fixed" && was.state != "fixed":
			want["fix_available "+names(key)] = true
		}
		if now.epss >= likely && was.epss < likely {
			want["escalated "+names(key)] = true
		}
	}
	for key := range before {
		if _, has := after[key]; !has {
			want["closed "+names(key)] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))); diff != "" {
		t.Errorf("events (-differences +told):\n%s", diff)
	}
}

// canonical maps "package version id" to "package vulnerability" as findings are
// named now.
func canonical(t *testing.T, s *service, name string) func(key string) string {
	t.Helper()
	known := map[string]string{}
	for _, f := range s.all("sboms/real/" + name + ":1") {
		for _, m := range f.Matches {
			known[f.Package.Name+" "+f.Package.Version+" "+m.ID] = f.Package.Name + " " + f.Vulnerability
		}
	}
	return func(key string) string {
		if k, ok := known[key]; ok {
			return k
		}
		parts := strings.Fields(key)
		return parts[0] + " " + parts[len(parts)-1]
	}
}

// fromScratch compares every answer with that of a service that has known one
// database only.
func (c *change) fromScratch(t *testing.T, changed *service, images []string) {
	library := filepath.Join(t.TempDir(), "vulndb")
	c.install(library, "small")
	fresh := start(t, func(c *config.Config) { c.VulnDB.Dir = library })
	c.fill(fresh)
	var refs [][2]string
	for _, name := range images {
		refs = append(refs, [2]string{fresh.registry.Host() + "/corpus/" + name + ":1", changed.registry.Host() + "/corpus/" + name + ":1"})
	}
	for _, name := range c.sboms {
		refs = append(refs, [2]string{"sboms/real/" + name + ":1", "sboms/real/" + name + ":1"})
	}
	for _, ref := range refs {
		want, got := fresh.apiMatches(ref[0]), changed.apiMatches(ref[1])
		if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
			t.Errorf("%s (-scanned +judged again):\n%s", ref[0], diff)
		}
		var one, other report.Image
		fresh.get("/api/v1/image?ref="+ref[0], &one)
		changed.get("/api/v1/image?ref="+ref[1], &other)
		if diff := cmp.Diff(one.Counts, other.Counts); diff != "" {
			t.Errorf("counts of %s (-scanned +judged again):\n%s", ref[0], diff)
		}
	}
}

// metric adds up the samples of a counter.
func (s *service) metric(name string) (sum float64) {
	s.t.Helper()
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	found := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, name+"{") || strings.HasPrefix(line, name+" ") {
			n, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
			if err != nil {
				s.t.Fatal(err)
			}
			sum, found = sum+n, true
		}
	}
	if !found {
		s.t.Fatalf("there is no metric %s", name)
	}
	return sum
}

// number evaluates an expression.
func (s *service) number(expression string) (n int64) {
	s.t.Helper()
	if err := s.pool.QueryRow(s.t.Context(), `SELECT (`+expression+`)::bigint`).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}
