package postgres_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Two repositories are pushed to and scanned while one of them is forgotten again
// and again: no push is lost or refused, no scan ends but well or because its
// repository went, the other repository has what it would have alone, and nothing
// is left of what was forgotten.
func TestForgettingBesidePushesAndScans(t *testing.T) {
	f := newFixture(t)
	const rounds, scanners = 60, 3
	var all sync.WaitGroup
	failures := make(chan error, 1000)
	ctx, stop := context.WithCancel(t.Context())
	for _, repository := range []string{"team/app", "team/kept"} {
		all.Go(func() {
			for n := range rounds {
				_, err := f.store.Accept(ctx, "prod", []postgres.Delivery{{DedupeKey: fmt.Sprint(repository, n), Action: "push",
					Repository: repository, Tag: fmt.Sprint("v", n%6)}}, noPermits)
				if err != nil {
					failures <- fmt.Errorf("push %d of %s: %w", n, repository, err)
				}
			}
		})
	}
	var working sync.WaitGroup
	for worker := range scanners {
		working.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				if _, err := f.store.ReleaseScans(ctx, noPermits); err != nil && ctx.Err() == nil {
					failures <- err
				}
				job, err := f.store.ClaimScan(ctx)
				if err != nil && ctx.Err() == nil {
					failures <- err
				}
				if job == nil {
					continue
				}
				err = comingBack{job: *job, number: (n + worker) % 8}.scan(t.Context(), f.store)
				if errs.Is(err, errs.Conflict) { // another one is at the image
					err = f.store.RetryScan(t.Context(), *job, scan.Result{}, err, 0, false)
				}
				if err != nil && !errs.Is(err, errs.Canceled) {
					failures <- fmt.Errorf("scan of %s: %w", job.Ref, err)
				}
			}
		})
	}
	all.Go(func() {
		for range rounds / 4 {
			_, err := f.store.ForgetRepository(t.Context(), report.Access{}, report.RepositoryRef{Registry: "prod", Name: "team/app"}, report.ForgetOptions{By: byTest})
			if err != nil && !errs.Is(err, errs.NotFound) {
				failures <- err
			}
		}
	})
	all.Wait()
	for f.count("scan WHERE state IN ('queued', 'running')") > 0 && len(failures) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	working.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
	w := f.world
	if left := query[string](t, w, knownOf); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if diff := cmp.Diff(query[string](t, w, liveByRepository), query[string](t, w, openByRepository)); diff != "" {
		t.Errorf("findings of repositories (-of their images +stored): %s", diff)
	}
	if diff := cmp.Diff(query[string](t, w, openByRepositoryNames), query[string](t, w, toldByRepository)); diff != "" {
		t.Errorf("events (-open findings +told): %s", diff)
	}
	if days := query[int64](t, w, `SELECT COALESCE((SELECT sum(critical + high + medium + low + negligible + unknown) FROM repository_day), 0)
		- (SELECT count(*) FROM repository_finding WHERE closed_at IS NULL)`); days[0] != 0 {
		t.Errorf("the days add up to %d more than is open", days[0])
	}
	if tags := f.count("tag t JOIN repository r ON r.id = t.repository_id WHERE r.name = 'team/kept'"); tags != 6 {
		t.Errorf("the other repository has %d of 6 tags", tags)
	}
	// What is pushed after all that is there.
	job := f.scanned("team/app", "last", "image1", returning(1))
	if f.count("repository_finding WHERE repository_id = $1 AND closed_at IS NULL", job.Repository) == 0 {
		t.Error("the repository did not come back")
	}
}
