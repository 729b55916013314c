//go:build parity

package match

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/anchore/grype/grype/db/v6/diff"
	"github.com/anchore/grype/grype/vulnerability"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// TestParityChange judges every package of the shared SBOMs and images under two
// databases, and holds that whatever differs is selected by Names and Compare:
// judgements by name, descriptions of what is matched by name or record. It also
// holds that what grype's own comparison of databases names is named here, and
// that no matcher searches under a name that Names does not list.
func TestParityChange(t *testing.T) {
	shared := os.Getenv("TIDEWAITER_SHARED")
	if shared == "" {
		t.Fatal("TIDEWAITER_SHARED names no directory with data/images and data/vulndb")
	}
	before, after := installShared(t, shared, "small-old"), installShared(t, shared, "small")
	change, err := NewEngine(Options{}).Compare(t.Context(), before, after)
	if err != nil || change.Everything != "" {
		t.Fatalf("%v %s", err, change.Everything)
	}
	packages := sharedPackages(t, shared, after)
	names := make([][]string, len(packages))
	for i, p := range packages {
		names[i] = Names(p)
	}
	t.Run("names", func(t *testing.T) { searchedUnder(t, after, packages, names) })
	t.Run("grype's comparison", func(t *testing.T) { compareWithGrype(t, before, after, change) })
	t.Run("judgements", func(t *testing.T) { compareJudgements(t, before, after, change, packages, names) })
}

func installShared(t *testing.T, shared, name string) vulndb.Installed {
	t.Helper()
	library, err := vulndb.Open(vulndb.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	in, err := library.Import(t.Context(), filepath.Join(shared, "data", "vulndb", name), nil)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// sharedPackages are the distinct packages of the shared SBOMs and images.
func sharedPackages(t *testing.T, shared string, in vulndb.Installed) []inventory.Package {
	t.Helper()
	documents, err := filepath.Glob(filepath.Join(shared, "data", "vulndb", "sboms", "*.json"))
	if err != nil || len(documents) == 0 {
		t.Fatalf("%d SBOMs, %v", len(documents), err)
	}
	p := &parity{images: filepath.Join(shared, "data", "images"), work: t.TempDir(),
		tidewaiter: build(t, "TIDEWAITER_BIN", "github.com/tidewaiter/tidewaiter/cmd/tidewaiter")}
	library := filepath.Dir(filepath.Dir(in.Dir))
	for _, ref := range p.refs(t) {
		document := filepath.Join(p.work, ref+".json")
		p.run(t, p.tidewaiter, "scan", "oci-dir:"+p.images+":"+ref, "--db", library, "-o", "syft-json", "--file", document)
		documents = append(documents, document)
	}
	seen := map[inventory.Fingerprint]bool{}
	var out []inventory.Package
	for _, path := range documents {
		inv, err := TakeInventory(t.Context(), sbom.Document{JSON: read1(t, path)})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range inv.Matchable() {
			if !seen[inv.Fingerprints[i]] {
				seen[inv.Fingerprints[i]] = true
				out = append(out, inv.Packages[i])
			}
		}
	}
	return out
}

// noted passes searches on and notes them.
type noted struct {
	vulnerability.Provider
	searches searches
}

func (n *noted) FindVulnerabilities(criteria ...vulnerability.Criteria) ([]vulnerability.Vulnerability, error) {
	_, _ = n.searches.FindVulnerabilities(criteria...)
	return n.Provider.FindVulnerabilities(criteria...)
}

// searchedUnder runs the matchers over a real database: they may search more
// once they have found something.
func searchedUnder(t *testing.T, in vulndb.Installed, packages []inventory.Package, names [][]string) {
	provider := plainProvider(t, in)
	matchers := newMatcherIndex()
	unknown := 0
	for i, p := range packages {
		if names[i] == nil {
			unknown++
			continue
		}
		subject, err := toGrype(p)
		if err != nil {
			t.Fatal(err)
		}
		n := &noted{Provider: provider, searches: searches{found: map[string]bool{}}}
		for _, m := range matchers.of(subject.Type) {
			if _, _, err := m.Match(n, subject); err != nil {
				t.Errorf("%s: %v", describe(p), err)
			}
		}
		for _, name := range n.searches.names() {
			if _, ok := slices.BinarySearch(names[i], name); !ok {
				t.Errorf("%s is searched as %q, not among %q", describe(p), name, names[i])
			}
		}
	}
	t.Logf("%d packages, %d of them under unknown names", len(packages), unknown)
}

// compareWithGrype gives grype copies, for it writes into what it compares.
func compareWithGrype(t *testing.T, before, after vulndb.Installed, change scan.Change) {
	copied := func(in vulndb.Installed) string {
		dir := t.TempDir()
		if err := os.CopyFS(dir, os.DirFS(in.Dir)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	config := diff.DefaultConfig()
	config.OldDB, config.NewDB, config.EPSSThreshold, config.Include.EPSS = copied(before), copied(after), 0, true
	differ, err := diff.NewDBDiffer(config)
	if err != nil {
		t.Fatal(err)
	}
	result, err := differ.Diff()
	if err != nil {
		t.Fatal(err)
	}
	missed := 0
	for _, p := range result.Packages {
		if _, ok := slices.BinarySearch(change.Names, strings.ToLower(p.Name)); !ok {
			missed++
			t.Errorf("grype names %q of %s", p.Name, p.Ecosystem)
		}
	}
	was, is, err := takeBoth(t.Context(), before, after)
	if err != nil {
		t.Fatal(err)
	}
	records := map[string]bool{}
	for _, r := range change.Records {
		records[r.ID] = true
	}
	about := map[string]bool{} // records that are about something
	for _, l := range is.links {
		about[is.vulnerabilities[l.vulnerability].name] = true
	}
	dated := 0
	for _, v := range result.Vulnerabilities.Modified {
		r := record{name: v.ID, provider: v.Provider}
		switch {
		case records[v.ID] || !about[v.ID]:
		case v.Provider != "" && was.records[r] == is.records[r]:
			dated++ // only the day it was written down differs, which nothing shows
		default:
			missed++
			t.Errorf("grype names %v as described otherwise", v)
		}
	}
	t.Logf("grype: %d names, %d records described otherwise, of %d only a date; here %d names, %d records; missed %d",
		len(result.Packages), len(result.Vulnerabilities.Modified), dated, len(change.Names), len(change.Records), missed)
}

func compareJudgements(t *testing.T, before, after vulndb.Installed, change scan.Change, packages []inventory.Package, names [][]string) {
	was, described := judgeAll(t, before, packages)
	is, redescribed := judgeAll(t, after, packages)
	records := map[vuln.Ref]bool{}
	for _, r := range change.Records {
		records[r] = true
	}
	var selected, differ, missed, records1, recordsMissed int
	for i, p := range packages {
		chosen := names[i] == nil || slices.ContainsFunc(names[i], func(n string) bool { _, ok := slices.BinarySearch(change.Names, n); return ok })
		if chosen {
			selected++
		}
		if was[i] != is[i] {
			differ++
			if !chosen {
				missed++
				t.Errorf("%s is judged otherwise and not selected: %q\n%s", describe(p), names[i], gocmp.Diff(was[i], is[i]))
			}
		}
		for ref, text := range redescribed[i] {
			if text == described[i][ref] {
				continue
			}
			records1++
			if !chosen && !records[ref] {
				recordsMissed++
				t.Errorf("%v of %s is described otherwise and not listed", ref, describe(p))
			}
		}
	}
	t.Logf("%d packages: %d selected, %d judged otherwise, %d missed; %d descriptions of matches differ, %d missed (of %d names, %d records)",
		len(packages), selected, differ, missed, records1, recordsMissed, len(change.Names), len(change.Records))
}

// judgeAll returns each package's judgement and the descriptions of its matches,
// as text.
func judgeAll(t *testing.T, in vulndb.Installed, packages []inventory.Package) (judged []string, described []map[vuln.Ref]string) {
	t.Helper()
	e := NewEngine(Options{})
	s, err := e.OpenCandidate(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	judgements, err := s.Judge(t.Context(), packages)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[vuln.Ref]string{}
	for _, j := range judgements {
		of := map[vuln.Ref]string{}
		for _, m := range j.Matches {
			if _, ok := texts[m.Ref]; !ok {
				v, err := s.Vulnerabilities(t.Context(), []vuln.Ref{m.Ref})
				if err != nil {
					t.Fatal(err)
				}
				texts[m.Ref] = asText(t, v)
			}
			of[m.Ref] = texts[m.Ref]
		}
		judged, described = append(judged, asText(t, j)), append(described, of)
	}
	return judged, described
}

func asText(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
