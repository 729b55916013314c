package report_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestTally(t *testing.T) {
	entry := func(state report.LedgerState, reason string, n int) report.LedgerEntry {
		return report.LedgerEntry{State: state, Reason: reason, Count: n}
	}
	share := func(n float64) *float64 { return &n }
	tests := []struct {
		name                  string
		manifests, unresolved []report.LedgerEntry
		want                  report.Ledger
	}{
		{"nothing", nil, nil, report.Ledger{Reasons: []report.LedgerEntry{}}},
		{"only what is gone", []report.LedgerEntry{entry(report.LedgerGone, "", 3)}, nil,
			report.Ledger{States: report.LedgerCounts{Gone: 3}, Reasons: []report.LedgerEntry{}}},
		{"every state", []report.LedgerEntry{
			entry(report.LedgerDone, "", 10), entry(report.LedgerUnsupported, "signature", 2), entry(report.LedgerUnsupported, "attestation", 3),
			entry(report.LedgerTooLarge, "too_large", 1), entry(report.LedgerExcluded, "nightly", 4), entry(report.LedgerQueued, "", 1),
			entry(report.LedgerRunning, "", 1), entry(report.LedgerFailed, "malformed", 1), entry(report.LedgerGone, "", 7), entry(report.LedgerDone, "", 2),
		}, []report.LedgerEntry{entry(report.LedgerQueued, "", 2), entry(report.LedgerFailed, "malformed", 1)}, report.Ledger{
			Known: 28, Covered: 22, Share: share(22.0 / 28), Unresolved: 3,
			States: report.LedgerCounts{Done: 12, Queued: 3, Running: 1, Failed: 2, Unsupported: 5, TooLarge: 1, Excluded: 4, Gone: 7},
			Reasons: []report.LedgerEntry{
				entry(report.LedgerExcluded, "nightly", 4), entry(report.LedgerUnsupported, "attestation", 3), entry(report.LedgerFailed, "malformed", 2),
				entry(report.LedgerUnsupported, "signature", 2), entry(report.LedgerTooLarge, "too_large", 1),
			}}},
		{"all covered", []report.LedgerEntry{entry(report.LedgerDone, "", 3), entry(report.LedgerGone, "", 1)}, nil,
			report.Ledger{Known: 3, Covered: 3, Share: share(1), States: report.LedgerCounts{Done: 3, Gone: 1}, Reasons: []report.LedgerEntry{}}},
	}
	unread := report.Tally([]report.LedgerEntry{entry(report.LedgerDone, "", 3)}, nil).WithUnread(1)
	if unread.Known != 3 || unread.Unread != 1 || *unread.Share != 0.75 {
		t.Errorf("with something that could not be looked at: %+v, share %v", unread, *unread.Share)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, report.Tally(tt.manifests, tt.unresolved)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTallyBoundsItsReasons(t *testing.T) {
	var all []report.LedgerEntry
	for n := range 200 {
		all = append(all, report.LedgerEntry{State: report.LedgerExcluded, Reason: fmt.Sprint("rule ", n), Count: n + 1})
	}
	got := report.Tally(all, nil)
	if len(got.Reasons) != report.MaxReasons || got.Reasons[0].Count != 200 || got.States.Excluded != 200*201/2 {
		t.Errorf("%d reasons, the first %+v, %d excluded", len(got.Reasons), got.Reasons[0], got.States.Excluded)
	}
}

// Every state has a count of its own, and whether it is a last word is decided.
func TestLedgerStates(t *testing.T) {
	covered := map[report.LedgerState]bool{
		report.LedgerDone: true, report.LedgerUnsupported: true, report.LedgerTooLarge: true, report.LedgerExcluded: true,
		report.LedgerQueued: false, report.LedgerRunning: false, report.LedgerFailed: false, report.LedgerCanceled: false,
		report.LedgerGone: false,
	}
	for _, s := range report.LedgerStates() {
		l := report.Tally([]report.LedgerEntry{{State: s, Count: 1}}, nil)
		if want, known := covered[s]; !known || s.Covered() != want || l.States.Of(s) != 1 {
			t.Errorf("%s: covered %v, counted %d times", s, s.Covered(), l.States.Of(s))
		}
		delete(covered, s)
	}
	if len(covered) > 0 {
		t.Errorf("not listed: %v", covered)
	}
}

func TestPace(t *testing.T) {
	week := 7 * 24 * time.Hour
	tests := []struct {
		name    string
		bursts  int
		longest time.Duration
		history time.Duration
		gap     time.Duration
		want    report.Silence
	}{
		{"usual", 100, 10 * time.Hour, week, 14 * time.Hour, report.SilenceUsual},
		{"silent", 100, 10 * time.Hour, week, 16 * time.Hour, report.SilenceAlarm},
		{"a busy endpoint has an hour", 1000, 5 * time.Minute, week, 59 * time.Minute, report.SilenceUsual},
		{"and no more", 1000, 5 * time.Minute, week, 61 * time.Minute, report.SilenceAlarm},
		{"few bursts", 19, time.Hour, 10 * week, 1000 * time.Hour, report.SilenceUnknown},
		{"a short history", 1000, time.Hour, week - time.Second, 1000 * time.Hour, report.SilenceUnknown},
		{"one delivery", 1, 0, 0, 1000 * time.Hour, report.SilenceUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := report.NewPace(tt.bursts, time.Minute, time.Minute, tt.longest, tt.history)
			if got := p.Judge(tt.gap); got != tt.want || (p.AlarmAfterSeconds == nil) != (tt.want == report.SilenceUnknown) {
				t.Errorf("got %s with %+v, want %s", got, p, tt.want)
			}
		})
	}
}
