package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestPackagesNobodyCanJudgeAreNotClean(t *testing.T) {
	w := postgrestest.New(t)
	versionless := postgrestest.Package{Package: inventory.Package{Type: "npm", Name: "lodash"}, Excluded: inventory.ExcludedNoVersion}
	versioned := postgrestest.Package{Package: inventory.Package{Type: "npm", Name: "lodash", Version: "1"}}
	typeless := postgrestest.Package{Package: inventory.Package{Type: "UnknownPackage", Name: "x", Version: "1"}}
	for _, tt := range []struct {
		name     string
		packages []postgrestest.Package
		noData   []string
		want     report.Answer
	}{
		{"no-version", []postgrestest.Package{versionless}, []string{"version:npm"}, report.Unknown},
		{"some-without", []postgrestest.Package{versionless, versioned}, []string{"version:npm"}, report.Partial},
		{"no-type", []postgrestest.Package{typeless}, []string{"ecosystem:unknown"}, report.Unknown},
		{"some-typeless", []postgrestest.Package{typeless, versioned}, []string{"ecosystem:unknown"}, report.Partial},
		{"neither", []postgrestest.Package{typeless, versionless}, []string{"ecosystem:unknown", "version:npm"}, report.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w.Push("team/"+tt.name, "1", postgrestest.Image{Name: tt.name, Packages: tt.packages, NoData: tt.noData})
			got, err := w.Store.Image(t.Context(), all, targetTag("team/"+tt.name, "1"))
			if err != nil {
				t.Fatal(err)
			}
			if got.Answer != tt.want || got.Complete || !cmp.Equal(got.NoData, tt.noData) {
				t.Errorf("answer %s, complete %v, no data %v; want %s", got.Answer, got.Complete, got.NoData, tt.want)
			}
		})
	}
}

// asked is a judge that remembers the inventories it was asked about.
type asked struct {
	judge
	inventories *[]inventory.Inventory
}

func (a asked) Coverage(_ context.Context, inv *inventory.Inventory) ([]string, time.Time, error) {
	*a.inventories = append(*a.inventories, *inv)
	return nil, time.Time{}, nil
}

// TestSettlingAsksAboutPackagesWithoutVersion sees what a new build is asked
// about an inventory that is stored.
func TestSettlingAsksAboutPackagesWithoutVersion(t *testing.T) {
	f := newFixture(t)
	b := inventory.NewBuilder(nil)
	b.Add(npm("a", "1"), "", inventory.Occurrence{ID: "1"})
	b.Add(npm("b", "1"), "", inventory.Occurrence{ID: "2"})
	b.Add(npm("c", ""), inventory.ExcludedNoVersion, inventory.Occurrence{ID: "3"})
	b.Add(inventory.Package{Type: "gem", Name: "d"}, inventory.ExcludedNoVersion, inventory.Occurrence{ID: "4"})
	b.Add(inventory.Package{Type: "python", Name: "e", Version: "1"}, inventory.ExcludedOwned, inventory.Occurrence{ID: "5"})
	a := answer("x", nil)
	a.Inventory, a.Judged = b.Build(), map[int]inventory.Judgement{}
	for n := range a.Inventory.Packages {
		a.Judged[n] = inventory.Judgement{}
	}
	f.scanned("team/app", "1", "x", a)
	var seen []inventory.Inventory
	_, err := (&scan.Rejudger{Store: f.store}).Rejudge(t.Context(), asked{judge{build: secondBuild()}, &seen})
	f.ok(err)
	want := []inventory.Inventory{{
		Packages: []inventory.Package{{Type: "npm"}, {Type: "gem"}, {Type: "npm"}},
		Members: []inventory.Member{{Package: 0}, {Package: 1, Excluded: inventory.ExcludedNoVersion},
			{Package: 2, Excluded: inventory.ExcludedNoVersion}},
	}}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Errorf("asked about (-want +got):\n%s", diff)
	}
}
