package postgres

import (
	"fmt"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

func ledgerOf(n int, at time.Time, took time.Duration) ledgers {
	return ledgers{at: at, took: took, registries: []*registryLedger{
		{manifests: []report.LedgerEntry{{State: report.LedgerDone, Count: n - 1}}, targets: []report.LedgerEntry{{State: report.LedgerQueued, Count: 1}}},
	}}
}

// Small ledgers are made for every answer, whatever the machine is busy with;
// large ones are kept as long as they are dear.
func TestLedgersAreKeptWhereTheyAreLarge(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name  string
		made  ledgers
		after time.Duration
		kept  bool
	}{
		{"small and slow", ledgerOf(freshLedger, now, time.Second), 0, false},
		{"large", ledgerOf(freshLedger+1, now, 200*time.Millisecond), 19 * time.Second, true},
		{"large, in time", ledgerOf(freshLedger+1, now, 200*time.Millisecond), 21 * time.Second, false},
		{"slow", ledgerOf(1e6, now, 5*time.Second), 69 * time.Second, true},
		{"slow, but never for long", ledgerOf(1e6, now, 5*time.Second), 71 * time.Second, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newLedgerCache()
			c.keep("a", tt.made)
			if _, kept := c.find("a", now.Add(tt.after)); kept != tt.kept {
				t.Errorf("kept %v, want %v", kept, tt.kept)
			}
			if _, kept := c.find("b", now); kept {
				t.Error("another reader is shown it")
			}
		})
	}
}

func TestLedgersOfManyReadersAreBounded(t *testing.T) {
	c := newLedgerCache()
	for n := range 10 * maxLedgers {
		c.keep(fmt.Sprint(n), ledgerOf(freshLedger+1, time.Now(), time.Second))
	}
	if len(c.kept) > maxLedgers {
		t.Errorf("%d ledgers are kept, want at most %d", len(c.kept), maxLedgers)
	}
}
