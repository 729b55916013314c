package main

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

func TestShareOf(t *testing.T) {
	for _, test := range []struct {
		name    string
		workers config.Workers
		want    int64
	}{
		{"processes beside it", config.Workers{Enabled: true, Isolation: config.IsolationProcess}, 500},
		{"reads images itself", config.Workers{Enabled: true, Isolation: config.IsolationNone}, 800},
		{"reads none", config.Workers{Isolation: config.IsolationProcess}, 800},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := shareOf(1000, test.workers); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

// A person who sets GOMEMLIMIT has decided.
func TestLimitMemoryLeavesWhatWasSet(t *testing.T) {
	t.Setenv("GOMEMLIMIT", "off")
	before := debug.SetMemoryLimit(-1)
	if got := limitMemory(config.Workers{}); got != 0 {
		t.Errorf("got %d, want 0", got)
	}
	if after := debug.SetMemoryLimit(-1); after != before || before != math.MaxInt64 {
		t.Errorf("the limit went from %d to %d", before, after)
	}
}
