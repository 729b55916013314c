package app_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// TestABillIsReadAsItsDocument catalogues images of every kind of package: the
// inventory of what is in memory is that of the stored document.
func TestABillIsReadAsItsDocument(t *testing.T) {
	deb, alpine := sampleimage.VulnerableContent(), sampleimage.Content{
		Distro: sampleimage.Alpine("3.18.4"), APK: []sampleimage.APK{{Name: "busybox", Version: "1.36.1-r5", Origin: "busybox"}},
		NPM: []sampleimage.Package{{Name: "@scope/left", Version: "1.0.0"}, {Name: "nameless"}},
	}
	for name, content := range map[string]sampleimage.Content{"debian": deb, "alpine": alpine, "nothing": {}} {
		t.Run(name, func(t *testing.T) {
			img, err := sampleimage.Build(content)
			if err != nil {
				t.Fatal(err)
			}
			sameInventory(t, catalog.New(catalog.Options{TempDir: t.TempDir()}), img)
		})
	}
}

// sameInventory compares the inventory of an image's SBOM in memory with that of
// its document.
func sameInventory(t *testing.T, c *catalog.Cataloger, img v1.Image) {
	t.Helper()
	doc, err := c.Catalog(t.Context(), img, image.Reference{Registry: "registry.example", Repository: "team/app", Tag: "1"})
	if err != nil {
		t.Fatal(err)
	}
	if doc.Value == nil {
		t.Fatal("the document is only there in writing")
	}
	got, err := match.TakeInventory(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	doc.Value = nil
	want, err := match.TakeInventory(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("another inventory from memory (-document +memory):\n%s", diff)
	}
	if want.Fingerprint() != got.Fingerprint() {
		t.Error("another fingerprint from memory")
	}
}
