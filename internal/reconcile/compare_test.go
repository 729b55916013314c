package reconcile

import (
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestWhy(t *testing.T) {
	one, two := image.DigestOf([]byte("one")), image.DigestOf([]byte("two"))
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	known := func(state scan.ManifestState) Known { return Known{Digest: one, State: state, Presence: Present} }
	scanned := func(k Known, last LastScan) Known { k.Scan = last; return k }
	failed := func(kind errs.Kind, ago time.Duration) LastScan {
		return LastScan{State: scan.StateFailed, Digest: one, Reason: kind, FinishedAt: now.Add(-ago)}
	}
	queued := LastScan{State: scan.StateQueued, Digest: two}
	left := Known{Digest: one, State: scan.ManifestQueued, Presence: Excluded, Rule: "old"}
	may := scan.Verdict{Names: []string{"old"}}
	sure := scan.Verdict{Names: []string{"old", "branches"}, Sure: true}
	tests := []struct {
		name    string
		known   Known
		digest  image.Digest
		rules   scan.Verdict
		changed bool
		want    Why
	}{
		{"not known", Known{}, one, scan.Verdict{}, false, New},
		{"not known, a scan waits", Known{Scan: queued}, one, scan.Verdict{}, false, Same},
		{"not known, a scan of it runs", Known{Scan: LastScan{State: scan.StateRunning, Digest: one}}, one, scan.Verdict{}, false, Same},
		{"not known, a scan of another digest runs", Known{Scan: LastScan{State: scan.StateRunning, Digest: two}}, one, scan.Verdict{}, false, New},
		{"not known, its scan failed on the way", Known{Scan: failed(errs.Unauthorized, time.Hour)}, one, scan.Verdict{}, false, New},
		{"not known, it was not there then", Known{Scan: failed(errs.NotFound, time.Hour)}, one, scan.Verdict{}, false, New},
		{"not known, it is damaged", Known{Scan: failed(errs.Malformed, time.Hour)}, one, scan.Verdict{}, false, Same},
		{"not known, it was damaged long ago", Known{Scan: failed(errs.Malformed, 8*24*time.Hour)}, one, scan.Verdict{}, false, New},
		{"not known, another was damaged", Known{Scan: failed(errs.Malformed, time.Hour)}, two, scan.Verdict{}, false, New},
		{"moved", known(scan.ManifestDone), two, scan.Verdict{}, false, Moved},
		{"moved, a scan waits", scanned(known(scan.ManifestDone), queued), two, scan.Verdict{}, false, Same},
		{"moved while a scan of the old one runs", scanned(known(scan.ManifestDone), LastScan{State: scan.StateRunning, Digest: one}), two, scan.Verdict{}, false, Moved},
		{"came back", Known{Digest: one, State: scan.ManifestDone, Presence: Gone}, one, scan.Verdict{}, false, New},
		{"never linked", Known{Digest: one, State: scan.ManifestDone}, one, scan.Verdict{}, false, New},
		{"answered", known(scan.ManifestDone), one, scan.Verdict{}, false, Same},
		{"unsupported", known(scan.ManifestUnsupported), one, scan.Verdict{}, false, Same},
		{"too large", known(scan.ManifestTooLarge), one, scan.Verdict{}, false, Same},
		{"without an answer and a scan", known(scan.ManifestQueued), one, scan.Verdict{}, false, Again},
		{"being answered", scanned(known(scan.ManifestRunning), LastScan{State: scan.StateRunning, Digest: one}), one, scan.Verdict{}, false, Same},
		{"failed on the way", scanned(known(scan.ManifestFailed), failed(errs.Timeout, time.Minute)), one, scan.Verdict{}, false, Again},
		{"failed for what it is", scanned(known(scan.ManifestFailed), failed(errs.Malformed, time.Minute)), one, scan.Verdict{}, false, Same},
		{"failed for what it is, long ago", scanned(known(scan.ManifestFailed), failed(errs.Malformed, 8*24*time.Hour)), one, scan.Verdict{}, false, Again},
		{"left out", left, one, may, false, LeftOut},
		{"left out by a rule that is gone", left, one, scan.Verdict{}, false, Ruled},
		{"left out by a rule for ages, and rules changed", left, one, may, true, Ruled},
		{"left out for sure, and rules changed", left, one, sure, true, LeftOut},
		{"left out, moved", left, two, may, false, Moved},
		{"answered, and a new rule may leave it out", known(scan.ManifestDone), one, may, true, Ruled},
		{"answered because somebody asked", known(scan.ManifestDone), one, sure, false, Same},
		{"answered, rules changed and do not matter", known(scan.ManifestDone), one, scan.Verdict{}, true, Same},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := comparison{known: tt.known, head: Head{Digest: tt.digest}, rules: tt.rules, changed: tt.changed, now: now}
			if got := c.why(); got != tt.want {
				t.Errorf("comes to %q, want %q", got, tt.want)
			}
		})
	}
}

func TestBehind(t *testing.T) {
	page := []string{"a", "b", "c"}
	for done, want := range map[string]int{"": 3, "a": 2, "c": 0, "gone": 3} {
		if got := behind(page, done); len(got) != want {
			t.Errorf("behind %q: %v", done, got)
		}
	}
}
