package catalog_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// sameAsStock catalogues an image through our layers, twice where they are
// cached, and through stereoscope as syft itself does, and compares the documents
// but for the order of lists.
func sameAsStock(t *testing.T, c *catalog.Cataloger, img v1.Image, ref image.Reference) {
	t.Helper()
	want, err := c.Stock(t.Context(), img, ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, turn := range []string{"cold", "warm"} {
		got, err := c.Catalog(t.Context(), img, ref)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(sortedDocument(t, want), sortedDocument(t, got)); diff != "" {
			t.Errorf("%s differs from stock (-stock +ours):\n%s", turn, diff)
		}
	}
}

// sortedDocument reads a document with its lists in an order of their own. Which
// of two packages of one name others depend on, syft itself tells differently
// from run to run; nothing is matched on it, so dependencies are left out.
func sortedDocument(t *testing.T, doc sbom.Document) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(doc.JSON, &out); err != nil {
		t.Fatal(err)
	}
	edges, _ := out["artifactRelationships"].([]any)
	out["artifactRelationships"] = slices.DeleteFunc(edges, func(e any) bool {
		edge, _ := e.(map[string]any)
		return edge["type"] == "dependency-of"
	})
	for _, list := range []string{"artifacts", "artifactRelationships"} {
		items, _ := out[list].([]any)
		slices.SortFunc(items, func(a, b any) int { return cmpText(t, a, b) })
	}
	return out
}

func cmpText(t *testing.T, a, b any) int {
	t.Helper()
	x, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Compare(x, y)
}
