package catalog_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// Syft keeps its list of catalogers to itself; ours has to be the same.
func TestCatalogersAreThoseOfSyft(t *testing.T) {
	stock, ours, err := cataloger(t).Names(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(stock, ours); diff != "" || len(stock.([]any)) < 30 {
		t.Errorf("(-syft +ours)\n%s", diff)
	}
}

// counted is a cataloger with a memory of its own, and what it counts.
type counted struct {
	*catalog.Cataloger
	registry *prometheus.Registry
	metrics  *catalog.Metrics
}

func newCounted(t *testing.T) *counted {
	c := &counted{registry: prometheus.NewRegistry()}
	c.metrics = catalog.NewMetrics(c.registry)
	c.Cataloger = cataloger(t).With(catalog.Options{TempDir: t.TempDir(), CacheDir: t.TempDir(), Metrics: c.metrics}, 0)
	return c
}

// run catalogues an image and returns its packages and how many catalogers ran.
func (c *counted) run(t *testing.T, img v1.Image) (found []string, ran int) {
	t.Helper()
	before := c.value(t, "tidewaiter_catalogers_total", "run")
	doc, err := c.Catalog(t.Context(), img, reference(t, img))
	if err != nil {
		t.Fatal(err)
	}
	return packages(t, doc), c.value(t, "tidewaiter_catalogers_total", "run") - before
}

func (c *counted) value(t *testing.T, name, outcome string) int {
	t.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (len(m.GetLabel()) == 0 || m.GetLabel()[0].GetValue() == outcome) {
				return int(m.GetCounter().GetValue() + m.GetGauge().GetValue())
			}
		}
	}
	t.Fatalf("%s is not counted", name)
	return 0
}

func TestOnlyNewThingsAreLookedInto(t *testing.T) {
	c := newCounted(t)
	base := build(t, sampleimage.VulnerableContent())
	first, all := c.run(t, base)
	if all < 30 || len(first) < 20 {
		t.Fatalf("%d catalogers ran and found %v", all, first)
	}
	again, ran := c.run(t, base)
	if diff := cmp.Diff(first, again); diff != "" || ran != 0 {
		t.Errorf("the same again: %d catalogers ran\n%s", ran, diff)
	}
	source, ran := c.run(t, over(t, base, text("srv/app.txt", "hello")))
	if diff := cmp.Diff(first, source); diff != "" || ran != 0 {
		t.Errorf("with a file that nobody asks for: %d catalogers ran\n%s", ran, diff)
	}
	more, ran := c.run(t, over(t, base, npm("srv/app", "app")))
	if len(more) != len(first)+1 || ran < 1 || ran > 3 {
		t.Errorf("with one more package: %d catalogers ran and found %v", ran, more)
	}
	fewer, ran := c.run(t, over(t, base, gone("var/lib/dpkg/status")))
	if len(fewer) >= len(first)-5 || ran < 1 {
		t.Errorf("without the packages of the system: %d catalogers ran and found %v", ran, fewer)
	}
}

// over puts one more layer over an image.
func over(t *testing.T, img v1.Image, items ...item) v1.Image {
	t.Helper()
	img, err := mutate.AppendLayers(img, layer(t, tarOf(t, items)))
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// What a cataloger reads on the way counts as well as what it looks for.
func TestWhatIsReadOnTheWayCounts(t *testing.T) {
	status := text("var/lib/dpkg/status", deb("wget", "1"))
	base := [][]item{
		{status, text("usr/share/doc/wget/copyright", "License: GPL-2\n"), link("usr/share/doc/curl", "wget")},
		{npm("a", "a"), link("b/package.json", "../a/package.json"), text("c", "c")},
	}
	changes := map[string][]item{
		"a license":               {text("usr/share/doc/wget/copyright", "License: MIT\n")},
		"a license gone":          {gone("usr/share/doc/wget/copyright")},
		"a list of files":         {text("var/lib/dpkg/info/wget.list", "/usr/bin/wget\n")},
		"the directory by a link": {gone("usr/share/doc/wget"), link("usr/share/doc/wget", "other"), text("usr/share/doc/other/copyright", "License: Zlib\n")},
		"where a link points":     {npm("a", "other")},
		"the link":                {link("b/package.json", "../c")},
		"the database":            {text("var/lib/dpkg/status", deb("wget", "2"))},
		"the distribution":        {text("etc/os-release", "ID=ubuntu\nVERSION_ID=24.04\n"), text("usr/lib/os-release", "ID=ubuntu\nVERSION_ID=24.04\n")},
	}
	c := cataloger(t).With(catalog.Options{TempDir: t.TempDir(), CacheDir: t.TempDir()}, 0)
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			for _, img := range []v1.Image{stack(t, base...), stack(t, append(base[:len(base):len(base)], change)...)} {
				sameAsStock(t, c, img, reference(t, img))
			}
		})
	}
}

// An image that fails teaches nothing.
func TestFailedImagesTeachNothing(t *testing.T) {
	c := newCounted(t)
	img := stack(t, []item{link("b/package.json", "code.js"), text("b/code.js", `{"name":"b","version":"2.0.0"}`)})
	all, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Catalog(t.Context(), onceReadable{img, all}, reference(t, img)); err == nil {
		t.Fatal("the image did not fail")
	}
	found, ran := c.run(t, img)
	if diff := cmp.Diff([]string{"deb zlib1g 1:1.2.13.dfsg-1", "npm b 2.0.0"}, found); diff != "" || ran < 30 {
		t.Errorf("%d catalogers ran\n%s", ran, diff)
	}
}

func TestManyImagesAtOnce(t *testing.T) {
	c := newCounted(t)
	base := build(t, sampleimage.VulnerableContent())
	want, _ := c.run(t, base)
	var wg sync.WaitGroup
	for i := range 8 {
		img := over(t, base, npm("srv/app", fmt.Sprint("app-", i%3)))
		wg.Go(func() {
			doc, err := c.Catalog(t.Context(), img, reference(t, img))
			if err != nil || doc.Packages != len(want)+1 {
				t.Errorf("%d packages, %v", doc.Packages, err)
			}
		})
	}
	wg.Wait()
}

func TestLayersAreCounted(t *testing.T) {
	c := newCounted(t)
	img := stack(t, []item{link("b/package.json", "code.js"), text("b/code.js", `{"name":"b","version":"2.0.0"}`), npm("a", "a")})
	c.run(t, img)
	c.run(t, img)
	for outcome, want := range map[string]int{"read": 2, "cached": 2, "read_again": 1} {
		if got := c.value(t, "tidewaiter_layers_total", outcome); got != want {
			t.Errorf("%s: %d, want %d", outcome, got, want)
		}
	}
	if c.value(t, "tidewaiter_layer_written_bytes_total", "") == 0 || c.value(t, "tidewaiter_layer_cache_bytes", "") == 0 {
		t.Error("bytes are not counted")
	}
}
