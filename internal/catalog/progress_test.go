package catalog_test

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Layers that were kept from before are there, though nobody reads them again.
func TestCatalogTellsOfLayersThatAreThere(t *testing.T) {
	c := cataloger(t).With(catalog.Options{TempDir: t.TempDir(), CacheDir: t.TempDir()}, 0)
	img, err := sampleimage.Vulnerable()
	if err != nil {
		t.Fatal(err)
	}
	for _, round := range []string{"first", "from the cache"} {
		tracker := &scan.Tracker{}
		followed := scan.Follow(tracker, img)
		before := tracker.Progress()
		if before.Phase != scan.PhasePull || before.LayersOf == 0 {
			t.Fatalf("%s: %+v before", round, before)
		}
		if _, err := c.Catalog(scan.WithTracker(t.Context(), tracker), followed, reference(t, img)); err != nil {
			t.Fatal(err)
		}
		got := tracker.Progress()
		if got.Phase != scan.PhaseCatalogue || got.Layers != before.LayersOf || got.Bytes != before.BytesOf {
			t.Errorf("%s: %+v", round, got)
		}
	}
}
