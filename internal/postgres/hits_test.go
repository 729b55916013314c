package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// A package that nearly everything has is looked for on another way than one
// that few have. Both find the same images, on pages of any size.
func TestBothWaysToTheImagesOfAPackageFindTheSame(t *testing.T) {
	w := postgrestest.New(t)
	wanted := inventory.Package{Type: "npm", Name: "lodash", Version: "4.17.20", PURL: "pkg:npm/lodash@4.17.20"}
	other := inventory.Package{Type: "npm", Name: "react", Version: "18", PURL: "pkg:npm/react@18"}
	with := func(name string) postgrestest.Image {
		return postgrestest.Image{Name: name, Packages: []postgrestest.Package{{Package: wanted}}}
	}
	var want int
	for _, repository := range []string{"b/two", "a/one", "c/three", "c/three-b", "d"} {
		for i := range 3 {
			w.Push(repository, fmt.Sprintf("1.%d", i), with(fmt.Sprintf("%s %d", repository, i)))
			want++
		}
		w.Push(repository, "same", with(repository+" 0"))
		w.Push(repository, "without", postgrestest.Image{Name: repository + " without", Packages: []postgrestest.Package{{Package: other}}})
	}
	w.PushIndex("e/index", "1", with("of an index"), with("another of it"))
	want += 2

	stored, err := w.Store.Packages(t.Context(), report.PackageQuery{Name: "lodash"})
	if err != nil || len(stored) != 1 {
		t.Fatalf("packages: %v, %v", stored, err)
	}
	for size := 1; size <= want+1; size++ {
		for _, atOnce := range []int{1, 2, 100} {
			everywhere, walked, err := w.Store.LiveHolders(t.Context(), report.Access{}, []int64{stored[0].ID}, size, atOnce)
			if err != nil {
				t.Fatal(err)
			}
			if len(everywhere) != want {
				t.Errorf("pages of %d: %d images, want %d: %v", size, len(everywhere), want, everywhere)
			}
			if diff := cmp.Diff(everywhere, walked); diff != "" {
				t.Errorf("pages of %d, %d repositories at once (-everywhere +walked):\n%s", size, atOnce, diff)
			}
		}
	}

	limited := report.Access{Prefixes: []string{postgrestest.Host + "/c/three/"}}
	everywhere, walked, err := w.Store.LiveHolders(t.Context(), limited, []int64{stored[0].ID}, 2, 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(everywhere, walked); diff != "" || len(everywhere) != 3 {
		t.Errorf("of one team: %d images, want 3 (-everywhere +walked):\n%s", len(everywhere), diff)
	}
	if slices.ContainsFunc(everywhere, func(r []string) bool { return r[1] != "c/three" }) {
		t.Errorf("a limited reader is told of %v", everywhere)
	}
}
