//go:build parity

package match

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// TestParity compares our answers with grype's over real images and databases:
// "tidewaiter scan -o grype-json" with the grype CLI on the same image, and our
// verdicts with grype's VulnerabilityMatcher on the same SBOM. TIDEWAITER_SHARED
// names the directory that holds data/images and data/vulndb. Both programs are
// built from this module; TIDEWAITER_BIN and GRYPE_BIN name built ones instead.
//
//	TIDEWAITER_SHARED=DIR go test -tags parity -run TestParity -timeout 60m -v ./internal/match/
func TestParity(t *testing.T) {
	shared := os.Getenv("TIDEWAITER_SHARED")
	if shared == "" {
		t.Fatal("TIDEWAITER_SHARED names no directory with data/images and data/vulndb")
	}
	p := &parity{
		images: filepath.Join(shared, "data", "images"), work: t.TempDir(),
		tidewaiter: build(t, "TIDEWAITER_BIN", "github.com/tidewaiter/tidewaiter/cmd/tidewaiter"),
		grype:      build(t, "GRYPE_BIN", "github.com/anchore/grype/cmd/grype"),
	}
	var out bytes.Buffer
	p.table = tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(p.table, "database\timage\tmatches\tignored\tdiffer: CLI\tlibrary\trelabelled\tjudge\tFindMatches\ttidewaiter scan\tgrype CLI\t")
	for _, name := range []string{"full", "small"} {
		archives, err := filepath.Glob(filepath.Join(shared, "data", "vulndb", name, "*.tar.zst"))
		if err != nil || len(archives) != 1 {
			t.Fatalf("%s: %d archives, %v", name, len(archives), err)
		}
		p.database(t, name, archives[0])
	}
	_ = p.table.Flush()
	t.Logf("\n%s", out.String())
}

type parity struct {
	images, work      string
	tidewaiter, grype string
	table             *tabwriter.Writer

	name    string
	library string // of tidewaiter
	cache   string // of grype
	engine  *Engine
}

// build returns a program: the one a variable names, or one built from a
// package of the module.
func build(t *testing.T, variable, pkg string) string {
	if path := os.Getenv(variable); path != "" {
		return path
	}
	path := filepath.Join(t.TempDir(), filepath.Base(pkg))
	if out, err := exec.Command("go", "build", "-o", path, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, out)
	}
	return path
}

func (p *parity) database(t *testing.T, name, archive string) {
	p.name = name
	p.library, p.cache = filepath.Join(p.work, name, "tidewaiter"), filepath.Join(p.work, name, "grype")
	library, err := vulndb.Open(vulndb.Config{Dir: p.library})
	if err != nil {
		t.Fatal(err)
	}
	installed, err := library.Import(t.Context(), archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.run(t, p.grype, "db", "import", archive)
	p.engine = NewEngine(Options{Parallel: 1})
	if err := p.engine.Use(t.Context(), installed); err != nil {
		t.Fatal(err)
	}
	for _, ref := range p.refs(t) {
		t.Run(name+"/"+ref, func(t *testing.T) { p.image(t, ref) })
	}
	_ = p.engine.Close()
}

// refs are the names in the layout's index.
func (p *parity) refs(t *testing.T) []string {
	index, err := layout.ImageIndexFromPath(p.images)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var refs []string
	for _, d := range manifest.Manifests {
		refs = append(refs, d.Annotations["org.opencontainers.image.ref.name"])
	}
	sort.Strings(refs)
	return refs
}

func (p *parity) image(t *testing.T, ref string) {
	single := p.extract(t, ref)
	ours, document := filepath.Join(t.TempDir(), "ours.json"), filepath.Join(t.TempDir(), "sbom.json")
	start := time.Now()
	p.run(t, p.tidewaiter, "scan", "oci-dir:"+p.images+":"+ref, "--db", p.library, "-o", "grype-json", "--file", ours)
	scanned := time.Since(start)
	p.run(t, p.tidewaiter, "scan", "oci-dir:"+p.images+":"+ref, "--db", p.library, "-o", "syft-json", "--file", document)
	start = time.Now()
	theirs := p.run(t, p.grype, "oci-dir:"+single, "-o", "json", "--show-suppressed")
	grypeTook := time.Since(start)

	got, want := readLines(t, read1(t, ours)), readLines(t, theirs)
	relabelled := relabel(want, got)
	cli := gocmp.Diff(sortLines(want), sortLines(got))
	if cli != "" {
		t.Errorf("differs from the grype CLI (-grype +tidewaiter):\n%s", cli)
	}
	library, judge, find := p.onSBOM(t, read1(t, document))
	if library != "" {
		t.Errorf("differs from grype's matcher on the same SBOM (-grype +tidewaiter):\n%s", library)
	}
	ignored := 0
	for _, l := range got {
		if l.Ignored {
			ignored++
		}
	}
	fmt.Fprintf(p.table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t\n", p.name, ref, len(got)-ignored, ignored,
		changed(cli), changed(library), relabelled, ms(judge), ms(find), ms(scanned), ms(grypeTook))
}

// onSBOM compares verdicts on the SBOM with those of grype's matcher, and how
// long both take with a database just opened.
func (p *parity) onSBOM(t *testing.T, document []byte) (diff string, judge, find time.Duration) {
	c, err := read(t.Context(), sbom.Document{JSON: document})
	if err != nil {
		t.Fatal(err)
	}
	inv := c.inventory(&cpeNames{})
	in := p.engine.current.installed
	ours, theirs := NewEngine(Options{Parallel: 1}), NewEngine(Options{Parallel: 1})
	for _, e := range []*Engine{ours, theirs} {
		if err := e.Use(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = e.Close() }()
	}
	s, err := ours.Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	start := time.Now()
	judgements, err := s.Judge(t.Context(), inv.Packages)
	if err != nil {
		t.Fatal(err)
	}
	judge = time.Since(start)
	start = time.Now()
	want := grypeLines(t, plainProvider(t, in), c)
	find = time.Since(start)
	return gocmp.Diff(want, ourLines(inv, judgements)), judge, find
}

// extract copies one image into a layout of its own: grype reads no other.
func (p *parity) extract(t *testing.T, ref string) string {
	dir := filepath.Join(p.work, "images", ref)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	index, err := layout.ImageIndexFromPath(p.images)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	n := slices.IndexFunc(manifest.Manifests, func(d v1.Descriptor) bool {
		return d.Annotations["org.opencontainers.image.ref.name"] == ref
	})
	img, err := index.Image(manifest.Manifests[n].Digest)
	if err != nil {
		t.Fatal(err)
	}
	out, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := out.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return dir
}

// run runs a program with grype told to stay off the network and to show what
// its matchers suppress.
func (p *parity) run(t *testing.T, program string, args ...string) []byte {
	var out, messages bytes.Buffer
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stdout, command.Stderr = &out, &messages
	command.Env = append(os.Environ(), "GRYPE_DB_CACHE_DIR="+p.cache, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false",
		"GRYPE_CHECK_FOR_APP_UPDATE=false", "GRYPE_INCLUDE_MATCHER_SUPPRESSIONS=true")
	if err := command.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, messages.String())
	}
	return out.Bytes()
}

func read1(t *testing.T, path string) []byte {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// readLines reads grype's JSON. An instance of a package is told by its place.
func readLines(t *testing.T, document []byte) []line {
	type grypeMatch struct {
		Vulnerability struct {
			ID, Namespace string
			Fix           struct {
				State    string
				Versions []string
			}
		}
		MatchDetails []struct{ Type string }
		Artifact     struct {
			Name, Version, Type string
			Locations           []struct{ Path, LayerID string }
		}
	}
	var doc struct{ Matches, IgnoredMatches []grypeMatch }
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Matches == nil {
		t.Fatal("the document has no matches[]")
	}
	var lines []line
	for i, m := range append(doc.Matches, doc.IgnoredMatches...) {
		a, v := m.Artifact, m.Vulnerability
		sort.Strings(v.Fix.Versions)
		lines = append(lines, line{
			Package: fmt.Sprint(a.Locations), Type: a.Type, Name: a.Name, Version: a.Version,
			ID: v.ID, Space: v.Namespace, How: m.MatchDetails[0].Type,
			Fix: fmt.Sprint(v.Fix.State, v.Fix.Versions), Ignored: i >= len(doc.Matches),
		})
	}
	return lines
}

// relabel takes the release out of namespaces where the CLI gives several
// records of one package the same one. That cannot be: one package has one match
// of an id in a namespace. It happens where the database lacks the distro's
// release and grype searches its neighbours: it then writes the namespace of the
// first record it described under the name to all of them.
func relabel(theirs, ours []line) int {
	type key struct{ pkg, typ, name, version, id, family string }
	of := func(l line) key {
		family := l.Space[:strings.LastIndexByte(l.Space, ':')+1]
		return key{l.Package, l.Type, l.Name, l.Version, l.ID, family}
	}
	times := map[line]int{}
	twice := map[key]bool{}
	for _, l := range theirs {
		place := line{Package: l.Package, Type: l.Type, Name: l.Name, Version: l.Version, ID: l.ID, Space: l.Space}
		if times[place]++; times[place] > 1 {
			twice[of(l)] = true
		}
	}
	n := 0
	for _, lines := range [][]line{theirs, ours} {
		for i, l := range lines {
			if twice[of(l)] {
				lines[i].Space = of(l).family + "*"
				n++
			}
		}
	}
	return n / 2
}

// changed counts the lines of a diff.
func changed(diff string) int {
	n := 0
	for l := range strings.SplitSeq(diff, "\n") {
		if strings.HasPrefix(l, "-") || strings.HasPrefix(l, "+") {
			n++
		}
	}
	return n
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f ms", float64(d)/float64(time.Millisecond)) }
