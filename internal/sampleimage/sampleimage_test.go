package sampleimage_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

func build(t *testing.T, c sampleimage.Content) v1.Image {
	t.Helper()
	img, err := sampleimage.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// layers returns the digests of the layers.
func layers(t *testing.T, img v1.Image) []string {
	t.Helper()
	manifest, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, l := range manifest.Layers {
		out = append(out, l.Digest.String())
	}
	return out
}

// files reads all layers, the upper ones last.
func files(t *testing.T, img v1.Image) map[string][]byte {
	t.Helper()
	all, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, l := range all {
		rc, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		r := tar.NewReader(rc)
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if out[h.Name], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

func TestHelmChartIsNoImage(t *testing.T) {
	chart, err := sampleimage.HelmChart()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := chart.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(manifest.Config.MediaType); got != "application/vnd.cncf.helm.config.v1+json" {
		t.Errorf("the chart's config is of type %s", got)
	}
}

func TestImagesAreTheSameEveryTime(t *testing.T) {
	first, second := build(t, sampleimage.VulnerableContent()), build(t, sampleimage.VulnerableContent())
	a, errA := first.Digest()
	b, errB := second.Digest()
	if errA != nil || errB != nil || a != b {
		t.Errorf("digests are %s and %s (%v, %v)", a, b, errA, errB)
	}
}

func TestImagesShareLayers(t *testing.T) {
	c := sampleimage.VulnerableContent()
	first := layers(t, build(t, c))
	c.NPM = append([]sampleimage.Package{{Name: "ws", Version: "7.0.0"}}, c.NPM...)
	second := layers(t, build(t, c))
	differ := 0
	for i := range first {
		if first[i] != second[i] {
			differ++
		}
	}
	if len(first) != 5 || len(second) != 5 || differ != 1 {
		t.Errorf("one package more changes %d of %d layers", differ, len(first))
	}
}

func TestHistoryFitsLayers(t *testing.T) {
	config, err := build(t, sampleimage.VulnerableContent()).ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	var steps, empty int
	for _, h := range config.History {
		if h.EmptyLayer {
			empty++
		} else {
			steps++
		}
		if h.CreatedBy == "" {
			t.Error("a step has no instruction")
		}
	}
	if steps != len(config.RootFS.DiffIDs) || empty != 2 {
		t.Errorf("%d steps for %d layers and %d without", steps, len(config.RootFS.DiffIDs), empty)
	}
}

func TestGoProgramHasBuildInformation(t *testing.T) {
	program := files(t, build(t, sampleimage.VulnerableContent()))["usr/local/bin/shop"]
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{"go": info.GoVersion, info.Main.Path: info.Main.Version}
	for _, d := range info.Deps {
		got[d.Path] = d.Version
	}
	want := map[string]string{
		"go": "go1.20.1", "example.com/shop": "v1.0.0",
		"golang.org/x/crypto": "v0.14.0", "golang.org/x/net": "v0.7.0", "golang.org/x/text": "v0.3.7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestJarIsAnArchive(t *testing.T) {
	jar := files(t, build(t, sampleimage.VulnerableContent()))["opt/app/lib/log4j-core-2.14.1.jar"]
	r, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range r.File {
		names = append(names, f.Name)
	}
	const maven = "META-INF/maven/org.apache.logging.log4j/log4j-core/"
	if diff := cmp.Diff([]string{"META-INF/MANIFEST.MF", maven + "pom.properties", maven + "pom.xml"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestPlatformsAndIndex(t *testing.T) {
	platform := v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}
	one := build(t, sampleimage.Content{Platform: platform})
	other := build(t, sampleimage.Content{})
	index, err := sampleimage.Index(true, one, other)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range manifest.Manifests {
		got = append(got, m.Platform.String()+" "+m.Annotations["vnd.docker.reference.type"])
	}
	want := []string{"linux/arm64/v8 ", "unknown/unknown attestation-manifest", "linux/amd64 ", "unknown/unknown attestation-manifest"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
