package intake

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

func rejectionsOf(t *testing.T, w *postgrestest.World) report.Coverage {
	t.Helper()
	got, err := w.Store.Coverage(t.Context(), report.Access{}, report.CoverageFilter{Registry: "main", Window: time.Hour, Endpoints: []string{"main"}})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// A flood of bad requests is a few rows, and all of it is counted.
func TestAFloodOfRejectionsIsFewRows(t *testing.T) {
	w := postgrestest.New(t)
	r := NewRejections(w.Store, slog.New(slog.DiscardHandler))
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			for n := range 2500 {
				r.Add("main", 401, "unauthorized", fmt.Sprint("the secret is wrong ", n))
				r.Add("", 404, "not_found", "there is no such endpoint")
			}
		})
	}
	senders.Wait()
	if len(r.counts) > 4 || len(r.newest["main"]) > keptOf {
		t.Fatalf("%d counts and %d requests are held in memory", len(r.counts), len(r.newest["main"]))
	}
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := rejectionsOf(t, w)
	if e := got.Items[0].Endpoint; e.Rejected.Requests != 20000 || len(e.LastRejected) != 10 || !strings.HasPrefix(e.LastRejected[0].Detail, "the secret is wrong") {
		t.Errorf("endpoint = %+v", e)
	}
	if got.NoEndpoint.Requests != 20000 {
		t.Errorf("to no endpoint: %+v", got.NoEndpoint)
	}
	if err := r.Flush(t.Context()); err != nil || len(r.counts) != 0 {
		t.Errorf("a second write: %v", err)
	}
	if again := rejectionsOf(t, w).Items[0].Endpoint.Rejected.Requests; again != 20000 {
		t.Errorf("%d after a second write, want 20000", again)
	}
}

// What could not be written is not forgotten.
func TestRejectionsSurviveADatabaseThatIsAway(t *testing.T) {
	w := postgrestest.New(t)
	r := NewRejections(w.Store, slog.New(slog.DiscardHandler))
	for n := range 30 {
		r.Add("main", 401, "unauthorized", fmt.Sprint(n))
	}
	away, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Flush(away); !errs.Is(err, errs.Canceled) {
		t.Fatalf("flush = %v", err)
	}
	r.Add("main", 401, "unauthorized", "later")
	if err := r.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := rejectionsOf(t, w).Items[0].Endpoint
	if e.Rejected.Requests != 31 || e.LastRejected[0].Detail != "later" || e.LastRejected[1].Detail != "29" {
		t.Errorf("endpoint = %+v", e)
	}
}

func TestRejectionsWriteWhileTheyRun(t *testing.T) {
	w := postgrestest.New(t)
	r := NewRejections(w.Store, slog.New(slog.DiscardHandler))
	r.every = time.Millisecond
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.Add("main", 413, "too_large", "")
	for rejectionsOf(t, w).Items[0].Endpoint.Rejected.Requests == 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Error("nothing was written")
	}
	stop()
	running.Wait()
}

// Words of strangers are short and print.
func TestRejectionsCleanWhatTheyKeep(t *testing.T) {
	r := NewRejections(nil, nil)
	r.Add("main", 400, "invalid", "a\x1b[2J\x00\u202eb"+strings.Repeat("c", 1000))
	got := r.newest["main"][0].Detail
	if !strings.HasPrefix(got, "a[2Jb") || len([]rune(got)) != maxDetails+1 {
		t.Errorf("detail = %q", got)
	}
	for n := range 3 * maxKinds {
		r.Add("main", 400, fmt.Sprint("made up ", n), "")
	}
	total := 0
	for _, c := range r.counts {
		total += c.Requests
	}
	if len(r.counts) > maxKinds+1 || total != 3*maxKinds+1 {
		t.Errorf("%d counts of %d requests, want at most %d of %d", len(r.counts), total, maxKinds+1, 3*maxKinds+1)
	}
}

// The receiver's reasons and the words of a trace are kept in two rooms.
func TestEveryReasonToIgnoreHasWords(t *testing.T) {
	for _, reason := range webhook.Reasons() {
		if _, known := report.IgnoredWords(reason); !known {
			t.Errorf("report.IgnoredWords has no words for %q", reason)
		}
	}
}
