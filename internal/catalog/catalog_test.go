package catalog_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// shared is made once: the licence scanner takes a second.
var shared = sync.OnceValues(func() (*catalog.Cataloger, error) {
	c := catalog.New(catalog.Options{})
	return c, c.Warm()
})

func cataloger(t testing.TB) *catalog.Cataloger {
	t.Helper()
	c, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// with makes a cataloger with other options and with a temporary directory the
// test can look at.
func with(t *testing.T, o catalog.Options) (c *catalog.Cataloger, temp string) {
	t.Helper()
	temp = t.TempDir()
	t.Setenv("TMPDIR", temp)
	o.TempDir = temp
	return cataloger(t).With(o, 0), temp
}

func reference(t *testing.T, img v1.Image) image.Reference {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return image.Reference{Registry: "registry.example.com", Repository: "shop/web", Tag: "1.0", Digest: image.Digest(digest.String())}
}

func build(t *testing.T, c sampleimage.Content) v1.Image {
	t.Helper()
	img, err := sampleimage.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func catalogue(t *testing.T, img v1.Image) sbom.Document {
	t.Helper()
	doc, err := cataloger(t).Catalog(t.Context(), img, reference(t, img))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// syftDocument is the part of syft's JSON that the tests look at.
type syftDocument struct {
	Artifacts []struct {
		Name, Version, Type string
		Locations           []struct{ Path, LayerID string }
	}
	ArtifactRelationships []struct{ Parent, Child, Type string }
	Files                 []any
	Source                struct {
		Name, Version string
		Metadata      struct {
			UserInput, ManifestDigest string
			Tags, RepoDigests         []string
			Layers                    []struct{ Digest string }
			Architecture, OS          string
		}
	}
	Distro     struct{ ID, VersionID string }
	Descriptor struct{ Name, Version string }
}

func parse(t *testing.T, doc sbom.Document) syftDocument {
	t.Helper()
	var d syftDocument
	if err := json.Unmarshal(doc.JSON, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func packages(t *testing.T, doc sbom.Document) []string {
	t.Helper()
	var out []string
	for _, a := range parse(t, doc).Artifacts {
		out = append(out, a.Type+" "+a.Name+" "+a.Version)
	}
	sort.Strings(out)
	return out
}

func TestCatalogFindsEveryEcosystem(t *testing.T) {
	img, err := sampleimage.Vulnerable()
	if err != nil {
		t.Fatal(err)
	}
	doc := catalogue(t, img)
	want := []string{
		"deb base-files 12.4",
		"deb curl 7.88.1-10",
		"deb libc6 2.36-9",
		"deb libcurl4 7.88.1-10",
		"deb liblzma5 5.4.1-0.2",
		"deb libssl3 3.0.9-1",
		"deb openssl 3.0.9-1",
		"deb perl-base 5.36.0-7",
		"deb xz-utils 5.4.1-0.2",
		"deb zlib1g 1:1.2.13.dfsg-1",
		"go-module example.com/shop v1.0.0",
		"go-module golang.org/x/crypto v0.14.0",
		"go-module golang.org/x/net v0.7.0",
		"go-module golang.org/x/text v0.3.7",
		"go-module stdlib go1.20.1",
		"java-archive log4j-core 2.14.1",
		"java-archive snakeyaml 1.29",
		"npm express 4.17.1",
		"npm lodash 4.17.15",
		"npm minimist 1.2.0",
		"npm node-fetch 2.6.0",
		"python django 3.2.0",
		"python jinja2 2.11.2",
		"python pyyaml 5.3",
		"python requests 2.25.0",
		"python urllib3 1.26.4",
	}
	if diff := cmp.Diff(want, packages(t, doc)); diff != "" {
		t.Error(diff)
	}
	if doc.Packages != len(want) || doc.Distro != "debian 12" || doc.Tool != "syft" || doc.ToolVersion != "1.55.0" {
		t.Errorf("document says %d packages, distro %q, tool %s %s", doc.Packages, doc.Distro, doc.Tool, doc.ToolVersion)
	}
}

func TestCatalogNamesSourceAndLayers(t *testing.T) {
	img := build(t, sampleimage.VulnerableContent())
	ref := reference(t, img)
	d := parse(t, catalogue(t, img))
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var diffIDs, layers []string
	for _, h := range config.RootFS.DiffIDs {
		diffIDs = append(diffIDs, h.String())
	}
	for _, l := range d.Source.Metadata.Layers {
		layers = append(layers, l.Digest)
	}
	if diff := cmp.Diff(diffIDs, layers); diff != "" {
		t.Errorf("layers: %s", diff)
	}
	// Debian, npm, Python, Go and Java content have a layer each, in this order.
	layer := map[string]string{"deb": diffIDs[0], "npm": diffIDs[1], "python": diffIDs[2], "go-module": diffIDs[3], "java-archive": diffIDs[4]}
	for _, a := range d.Artifacts {
		for _, l := range a.Locations {
			if l.LayerID != layer[a.Type] {
				t.Errorf("%s %s at %s is said to be in layer %s", a.Type, a.Name, l.Path, l.LayerID)
			}
		}
	}
	m := d.Source.Metadata
	got := []any{m.UserInput, m.ManifestDigest, m.Tags, m.RepoDigests, m.OS, m.Architecture, d.Source.Name, d.Files}
	want := []any{ref.String(), string(ref.Digest), []string{ref.Name() + ":1.0"}, []string{ref.Name() + "@" + string(ref.Digest)}, "linux", "amd64", ref.Name(), []any(nil)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestCatalogIsDeterministic(t *testing.T) {
	img := build(t, sampleimage.VulnerableContent())
	first, second := catalogue(t, img), catalogue(t, img)
	if diff := cmp.Diff(string(first.JSON), string(second.JSON)); diff != "" {
		t.Error(diff)
	}
}

func TestCatalogLeavesNothingBehind(t *testing.T) {
	c, temp := with(t, catalog.Options{})
	img := build(t, sampleimage.VulnerableContent())
	if _, err := c.Catalog(t.Context(), img, reference(t, img)); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, temp)
}

func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 0 {
		t.Errorf("left in the temporary directory: %v", left)
	}
}

func TestCatalogAlpineAndEmpty(t *testing.T) {
	tests := []struct {
		name    string
		content sampleimage.Content
		distro  string
		want    []string
	}{
		{"alpine", sampleimage.Content{
			Distro: sampleimage.Alpine("3.18.4"),
			APK:    []sampleimage.APK{{Name: "libcrypto3", Version: "3.1.3-r0", Origin: "openssl", Files: []string{"/lib/libcrypto.so.3"}}},
		}, "alpine 3.18.4", []string{"apk libcrypto3 3.1.3-r0"}},
		{"no layers", sampleimage.Content{}, "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			doc := catalogue(t, build(t, tt.content))
			if diff := cmp.Diff(tt.want, packages(t, doc)); diff != "" {
				t.Error(diff)
			}
			if doc.Distro != tt.distro {
				t.Errorf("distro is %q", doc.Distro)
			}
		})
	}
}

// An archive's image has no manifest and no digest to be checked against.
func TestCatalogOfAnArchive(t *testing.T) {
	pushed := build(t, sampleimage.VulnerableContent())
	tag, err := name.NewTag("registry.example.com/shop/web:1.0")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "web.tar")
	if err := tarball.WriteToFile(path, tag, pushed); err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := cataloger(t).Catalog(t.Context(), img, image.Reference{Registry: "docker-archive", Repository: "web.tar", Tag: "1.0"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(packages(t, catalogue(t, pushed)), packages(t, doc)); diff != "" {
		t.Error(diff)
	}
}

func TestVersionIsThatOfGoMod(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*github\.com/anchore/syft v(\S+)$`).FindSubmatch(mod)
	if m == nil {
		t.Fatal("go.mod does not name syft")
	}
	if got := cataloger(t).Version(); !strings.HasPrefix(got, "syft-"+string(m[1])+"/") {
		t.Errorf("Version is %q, go.mod has syft %s", got, m[1])
	}
}

func TestCatalogStopsWithItsContext(t *testing.T) {
	c, temp := with(t, catalog.Options{})
	img := build(t, sampleimage.VulnerableContent())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Catalog(ctx, img, reference(t, img))
	if err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("Catalog returned %v", err)
	}
	checkEmpty(t, temp)
}
