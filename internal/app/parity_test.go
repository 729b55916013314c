//go:build parity

package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// TestParityOfTheService pushes every image of TIDEWAITER_SHARED to a registry
// and compares what the API says after the push with the grype CLI on the same
// image in the same registry: every match with its fix, ignored or not. An
// instance of a package is not told apart here: the API names each distinct
// match once, with all its places.
func TestParityOfTheService(t *testing.T) {
	shared := os.Getenv("TIDEWAITER_SHARED")
	if shared == "" {
		t.Fatal("TIDEWAITER_SHARED names no directory with data/images and data/vulndb")
	}
	grype := os.Getenv("GRYPE_BIN")
	if grype == "" {
		grype = filepath.Join(t.TempDir(), "grype")
		if out, err := exec.Command("go", "build", "-o", grype, "github.com/anchore/grype/cmd/grype").CombinedOutput(); err != nil {
			t.Fatalf("build grype: %v\n%s", err, out)
		}
	}
	images := layoutImages(t, filepath.Join(shared, "data", "images"))
	for _, database := range []string{"full", "small"} {
		archives, err := filepath.Glob(filepath.Join(shared, "data", "vulndb", database, "*.tar.zst"))
		if err != nil || len(archives) != 1 {
			t.Fatalf("%s: %d archives, %v", database, len(archives), err)
		}
		t.Run(database, func(t *testing.T) { serviceParity(t, grype, archives[0], images) })
	}
}

// TestParityOfInventories compares the inventory of each image's SBOM in memory
// with that of its document.
func TestParityOfInventories(t *testing.T) {
	c := catalog.New(catalog.Options{TempDir: t.TempDir(), CacheDir: t.TempDir()})
	for name, img := range layoutImages(t, filepath.Join(os.Getenv("TIDEWAITER_SHARED"), "data", "images")) {
		t.Run(name, func(t *testing.T) { sameInventory(t, c, img) })
	}
}

func serviceParity(t *testing.T, grype, archive string, images map[string]v1.Image) {
	library := filepath.Join(t.TempDir(), "vulndb")
	l, err := vulndb.Open(vulndb.Config{Dir: library})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Import(t.Context(), archive, nil); err != nil {
		t.Fatal(err)
	}
	cache := t.TempDir()
	runGrype(t, grype, cache, "db", "import", archive)
	s := start(t, func(c *config.Config) { c.VulnDB.Dir = library })
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "image\tmatches\tignored\tdiffer\t")
	for _, name := range slices.Sorted(maps.Keys(images)) {
		s.pushed(images[name], "parity/image", name)
		ref := s.registry.Host() + "/parity/image:" + name
		got := s.apiMatches(ref)
		want := cliMatches(t, runGrype(t, grype, cache, "registry:"+ref, "-o", "json", "--show-suppressed"))
		oneNamespace(want, got)
		diff := cmp.Diff(lines(want), lines(got))
		if diff != "" {
			t.Errorf("%s differs (-grype +API):\n%s", name, diff)
		}
		ignored := 0
		for _, m := range got {
			if m.Ignored {
				ignored++
			}
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t\n", name, len(got)-ignored, ignored, strings.Count(diff, "\n+")+strings.Count(diff, "\n-"))
	}
	_ = table.Flush()
	t.Logf("\n%s", out.String())
}

// said is one distinct match of an image.
type said struct {
	Type, Name, Version, ID, Namespace, Fix string
	Ignored                                 bool
}

func (s *service) apiMatches(ref string) map[said]said {
	s.t.Helper()
	all := map[said]said{}
	for cursor := ""; ; {
		var page report.FindingPage
		query := url.Values{"ref": {ref}, "ignored": {"true"}, "limit": {"500"}, "cursor": {cursor}}
		if cursor == "" {
			query.Del("cursor")
		}
		if status := s.get("/api/v1/findings?"+query.Encode(), &page); status != http.StatusOK {
			s.t.Fatalf("findings of %s: %d", ref, status)
		}
		for _, f := range page.Items {
			for _, m := range f.Matches {
				one := said{f.Package.Type, f.Package.Name, f.Package.Version, m.ID, m.Namespace, fix(string(m.Fix.State), m.Fix.Versions), m.Ignored != ""}
				all[one] = one
			}
		}
		if cursor = page.NextCursor; cursor == "" {
			return all
		}
	}
}

func cliMatches(t *testing.T, document []byte) map[said]said {
	t.Helper()
	type grypeMatch struct {
		Vulnerability struct {
			ID, Namespace string
			Fix           struct {
				State    string
				Versions []string
			}
		}
		Artifact struct{ Name, Version, Type string }
	}
	var doc struct{ Matches, IgnoredMatches []grypeMatch }
	if err := json.Unmarshal(document, &doc); err != nil || doc.Matches == nil {
		t.Fatalf("grype's document: %v", err)
	}
	all := map[said]said{}
	for i, m := range append(doc.Matches, doc.IgnoredMatches...) {
		v, a := m.Vulnerability, m.Artifact
		one := said{a.Type, a.Name, a.Version, v.ID, v.Namespace, fix(v.Fix.State, v.Fix.Versions), i >= len(doc.Matches)}
		all[one] = one
	}
	return all
}

// oneNamespace takes the release out of the namespaces of matches for which the
// CLI names fewer namespaces than there are records: where the database lacks
// the distro's release, grype searches its neighbours and the CLI writes the
// namespace of the first record to all (see relabel in internal/match).
func oneNamespace(theirs, ours map[said]said) {
	type key struct{ typ, name, version, id string }
	spaces := map[key]map[string]bool{}
	for _, m := range ours {
		k := key{m.Type, m.Name, m.Version, m.ID}
		if spaces[k] == nil {
			spaces[k] = map[string]bool{}
		}
		spaces[k][m.Namespace] = true
	}
	for _, all := range []map[said]said{theirs, ours} {
		for from, m := range all {
			if len(spaces[key{m.Type, m.Name, m.Version, m.ID}]) > 1 {
				delete(all, from)
				m.Namespace = m.Namespace[:strings.LastIndexByte(m.Namespace, ':')+1] + "*"
				all[m] = m
			}
		}
	}
}

func fix(state string, versions []string) string {
	return state + " " + strings.Join(slices.Sorted(slices.Values(versions)), ",")
}

func lines(all map[said]said) []string {
	var out []string
	for _, m := range all {
		out = append(out, fmt.Sprintf("%+v", m))
	}
	slices.Sort(out)
	return out
}

func runGrype(t *testing.T, program, cache string, args ...string) []byte {
	t.Helper()
	var out, messages bytes.Buffer
	command := exec.CommandContext(t.Context(), program, args...)
	command.Stdout, command.Stderr = &out, &messages
	command.Env = append(os.Environ(), "GRYPE_DB_CACHE_DIR="+cache, "GRYPE_DB_AUTO_UPDATE=false", "GRYPE_DB_VALIDATE_AGE=false",
		"GRYPE_CHECK_FOR_APP_UPDATE=false", "GRYPE_INCLUDE_MATCHER_SUPPRESSIONS=true", "GRYPE_REGISTRY_INSECURE_USE_HTTP=true")
	if err := command.Run(); err != nil {
		t.Fatalf("grype %s: %v\n%s", strings.Join(args, " "), err, messages.String())
	}
	return out.Bytes()
}

func layoutImages(t *testing.T, dir string) map[string]v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{}
	for _, m := range list.Manifests {
		if images[m.Annotations["org.opencontainers.image.ref.name"]], err = index.Image(m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return images
}
