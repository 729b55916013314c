package app

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// counting is a session that notes how many calls there were at once, and tells of
// each package its name.
type counting struct {
	scan.Session
	now, most *atomic.Int32
}

func (c counting) Judge(_ context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for before := c.most.Load(); n > before && !c.most.CompareAndSwap(before, n); before = c.most.Load() {
	}
	out := make([]inventory.Judgement, len(packages))
	for i, p := range packages {
		if p.Name == "bad" {
			return nil, errs.New(errs.Malformed, "cannot be judged")
		}
		out[i].Matches = []vuln.Match{{Ref: vuln.Ref{ID: p.Name}}}
	}
	return out, nil
}

func TestJudgingTakesTurnsWhileScansRun(t *testing.T) {
	var packages []inventory.Package
	var want []string
	for i := range 120 {
		name := strings.Repeat("x", i+1)
		packages, want = append(packages, inventory.Package{Name: name}), append(want, name)
	}
	for _, scanning := range []bool{true, false} {
		var now, most atomic.Int32
		m := &manners{scanning: func() bool { return scanning }}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				judged, err := polite{counting{now: &now, most: &most}, m}.Judge(t.Context(), packages)
				if err != nil {
					t.Error(err)
					return
				}
				var got []string
				for _, j := range judged {
					got = append(got, j.Matches[0].ID)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
		all.Wait()
		if scanning && most.Load() != 1 {
			t.Errorf("%d judged at once while scans run", most.Load())
		}
		if _, err := (polite{counting{now: &now, most: &most}, m}).Judge(t.Context(), append(packages[:3:3], inventory.Package{Name: "bad"})); !errs.Is(err, errs.Malformed) {
			t.Errorf("got %v, want kind malformed", err)
		}
	}
}

func TestADatabaseThatIsNowhereIsToldWithTheNextStep(t *testing.T) {
	library, err := vulndb.Open(vulndb.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	k := keeper{library: library, store: postgres.New(pgtest.New(t)), logger: slog.New(slog.DiscardHandler)}
	_, err = k.obtain(t.Context(), "sha256:"+strings.Repeat("0", 64))
	if !errs.Is(err, errs.NotFound) || !strings.Contains(errs.Hint(err), "tidewaiter vulndb import") {
		t.Errorf("got %v, hint %q", err, errs.Hint(err))
	}
}
