package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// received puts a delivery into the past.
func received(t *testing.T, w *postgrestest.World, key string, ago time.Duration) {
	t.Helper()
	w.Deliver("main", postgres.Delivery{DedupeKey: key, Ignored: "pull", Action: "pull", Repository: "team/app", Tag: "1"})
	execute(t, w, `UPDATE delivery SET received_at = now() - make_interval(secs => $2) WHERE dedupe_key = $1`, key, ago.Seconds())
}

func endpointOf(t *testing.T, w *postgrestest.World) report.Endpoint {
	t.Helper()
	e := coverage(t, w, all, "main").Items[0].Endpoint
	if e == nil {
		t.Fatal("the registry has no endpoint")
	}
	return *e
}

func TestEndpointThatWasNeverHeard(t *testing.T) {
	w := postgrestest.New(t)
	want := report.Endpoint{Configured: true, Silence: report.SilenceUnknown, Events: report.EventCounts{Reasons: []report.ReasonCount{}},
		Rejected: report.Rejected{Reasons: []report.RejectedCount{}}, LastIgnored: []report.Delivery{}, LastRejected: []report.Rejection{}}
	if diff := cmp.Diff(want, endpointOf(t, w)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := coverage(t, w, all, "sboms").Items[0].Endpoint; got != nil {
		t.Errorf("a registry without one has %+v", got)
	}
}

func TestEndpointCountsItsEvents(t *testing.T) {
	w := postgrestest.New(t)
	queued(w, "team/app", "1", "")
	again := postgres.Delivery{DedupeKey: "again", Action: "push", Repository: "team/app", Tag: "2"}
	for range 3 {
		w.Deliver("main", again)
	}
	for n := range 12 {
		w.Deliver("main", postgres.Delivery{DedupeKey: fmt.Sprint("pull", n), Ignored: "pull", Action: "pull", Repository: "team/app", Tag: "1"})
	}
	w.Deliver("main", postgres.Delivery{DedupeKey: "chart", Ignored: "chart", Action: "push", Repository: "team/app", Tag: "3"})
	received(t, w, "yesterday", 25*time.Hour)
	got := endpointOf(t, w)
	want := report.EventCounts{Received: 17, Accepted: 2, Ignored: 13, Duplicates: 2, Reasons: []report.ReasonCount{{Reason: "pull", Count: 12}, {Reason: "chart", Count: 1}}}
	if diff := cmp.Diff(want, got.Events); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if len(got.LastIgnored) != 10 || got.LastIgnored[0].Reason != "pull" || got.LastIgnored[1].Reason != "chart" ||
		got.LastIgnored[1].Repository != postgrestest.Host+"/team/app" {
		t.Errorf("last ignored = %+v", got.LastIgnored)
	}
	if got.LastDeliveryAt == nil || *got.GapSeconds > 60 || got.Silence != report.SilenceUnknown {
		t.Errorf("last heard %v, %v seconds ago, %s", got.LastDeliveryAt, *got.GapSeconds, got.Silence)
	}
}

// heard makes an endpoint that is heard twice an hour by day, with three events
// each time, over the nine days before a gap.
func heard(t *testing.T, w *postgrestest.World, gap time.Duration) {
	t.Helper()
	execute(t, w, `
		INSERT INTO delivery (registry_id, dedupe_key, received_at, verdict)
		SELECT 1, concat_ws('/', day, half, n), now() - make_interval(secs => $1) - make_interval(days => day, mins => half * 30, secs => n), 'accepted'
		  FROM generate_series(0, 8) day, generate_series(0, 19) half, generate_series(0, 2) n`, gap.Seconds())
}

func TestEndpointThatFallsSilent(t *testing.T) {
	for _, tt := range []struct {
		gap  time.Duration
		want report.Silence
	}{{time.Minute, report.SilenceUsual}, {14 * time.Hour, report.SilenceUsual}, {20 * time.Hour, report.SilenceUsual}, {22 * time.Hour, report.SilenceAlarm}} {
		t.Run(tt.gap.String(), func(t *testing.T) {
			w := postgrestest.New(t)
			heard(t, w, tt.gap)
			got := endpointOf(t, w)
			if got.Silence != tt.want || got.Silent != (tt.want == report.SilenceAlarm) || *got.GapSeconds/60 != int64(tt.gap.Minutes()) {
				t.Errorf("silence %s, silent %v, gap %d s", got.Silence, got.Silent, *got.GapSeconds)
			}
			// Of seven days and what leads into them: half hours, and nights of 14.5 hours.
			alarm := int64(78300)
			want := &report.Pace{Bursts: 141, MedianGapSeconds: 1800, P95GapSeconds: 4320, LongestGapSeconds: 52200, AlarmAfterSeconds: &alarm}
			if diff := cmp.Diff(want, got.Pace); diff != "" {
				t.Errorf("pace (-want +got):\n%s", diff)
			}
		})
	}
}

// A week holds one weekend, and the gap of the weekend may be the one that leads
// into it.
func TestPaceCountsTheGapBeforeItsWeek(t *testing.T) {
	w := postgrestest.New(t)
	for n := range 30 {
		received(t, w, fmt.Sprint("week", n), 20*time.Hour+time.Duration(n)*4*time.Hour) // five days, to 136 hours ago
	}
	received(t, w, "friday", 196*time.Hour)
	received(t, w, "older", 400*time.Hour)
	got := endpointOf(t, w)
	if want := int64(60 * 3600); got.Pace.LongestGapSeconds != want || got.Silence != report.SilenceUsual {
		t.Errorf("longest gap %d s, silence %s; want %d, usual", got.Pace.LongestGapSeconds, got.Silence, want)
	}
}

func TestTooLittleHistoryIsNoAlarm(t *testing.T) {
	w := postgrestest.New(t)
	for n := range 40 {
		received(t, w, fmt.Sprint(n), 240*time.Hour+time.Duration(n)*time.Hour) // heard for two days, then not for ten
	}
	if got := endpointOf(t, w); got.Silence != report.SilenceUnknown || got.Silent || got.Pace.AlarmAfterSeconds != nil {
		t.Errorf("silence %s, pace %+v", got.Silence, got.Pace)
	}
}

func TestRejectionsAreCountedAndTheNewestKept(t *testing.T) {
	w := postgrestest.New(t)
	now := time.Now().UTC().Truncate(time.Second)
	hour := now.Truncate(time.Hour)
	save := func(counts []postgres.RejectionCount, newest []postgres.Rejection) {
		t.Helper()
		if err := w.Store.SaveRejections(t.Context(), counts, newest); err != nil {
			t.Fatal(err)
		}
	}
	rejection := func(n int) postgres.Rejection {
		return postgres.Rejection{Registry: "main", At: now.Add(time.Duration(n-1000) * time.Second), Status: 401, Reason: "unauthorized", Detail: fmt.Sprint("number ", n, "\x00")}
	}
	count := func(registry string, at time.Time, status int, reason string, n int) postgres.RejectionCount {
		return postgres.RejectionCount{Registry: registry, Hour: at, Status: status, Reason: reason, Requests: n, LastAt: now}
	}
	for batch := range 15 {
		var newest []postgres.Rejection
		for n := range 20 {
			newest = append(newest, rejection(batch*20+n))
		}
		save([]postgres.RejectionCount{count("main", hour, 401, "unauthorized", 500), count("main", hour, 413, "too_large", 1), count("", hour, 404, "not_found", 7)}, newest)
	}
	save([]postgres.RejectionCount{count("main", hour.Add(-40*24*time.Hour), 401, "unauthorized", 9), count("nobody", hour, 401, "unauthorized", 9)},
		[]postgres.Rejection{{Registry: "", At: now, Status: 404, Reason: "not_found"}})
	save([]postgres.RejectionCount{count("main", hour, 401, "unauthorized", 1)}, nil)
	got := coverage(t, w, all, "")
	e := got.Items[0].Endpoint
	want := report.Rejected{Requests: 7516, LastAt: &now, Reasons: []report.RejectedCount{{Status: 401, Reason: "unauthorized", Count: 7501}, {Status: 413, Reason: "too_large", Count: 15}}}
	if diff := cmp.Diff(want, e.Rejected); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	if len(e.LastRejected) != 10 || !strings.HasPrefix(e.LastRejected[0].Detail, "number 299") || e.LastRejected[9].Detail[:10] != "number 290" {
		t.Errorf("last rejected = %+v", e.LastRejected)
	}
	if got.NoEndpoint == nil || got.NoEndpoint.Requests != 105 {
		t.Errorf("to no endpoint: %+v", got.NoEndpoint)
	}
	var rows, hours int
	if err := w.Pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM webhook_rejection), (SELECT count(*) FROM webhook_rejection_hour)`).Scan(&rows, &hours); err != nil {
		t.Fatal(err)
	}
	if rows > 120 || rows < 100 || hours != 4 {
		t.Errorf("%d rejections and %d hours are kept; want about 100 and 4", rows, hours)
	}
}
