package main

import (
	"os"
	"runtime/debug"

	"github.com/tidewaiter/tidewaiter/internal/cgroup"
	"github.com/tidewaiter/tidewaiter/internal/config"
)

// limitMemory has the garbage collector keep this process within its share of
// what its container may have, and returns the share; 0 when there is no limit or
// GOMEMLIMIT says something. Without it the heap may grow to twice what is used
// before it is looked at, and the container is killed with room to spare.
func limitMemory(w config.Workers) int64 {
	limit, ok := cgroup.MemoryLimit()
	if !ok || os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	share := shareOf(limit, w)
	debug.SetMemoryLimit(share)
	return share
}

// shareOf is what the service itself may use of a limit. Processes that read
// images have limits of their own and need about as much together; what the
// runtime does not know of, as the vulnerability database in memory, needs some.
func shareOf(limit int64, w config.Workers) int64 {
	if w.Enabled && w.Isolation == config.IsolationProcess {
		return limit / 2
	}
	return limit / 5 * 4
}
