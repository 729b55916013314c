package sandbox

import (
	"context"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	// glance is how often memory is looked at. A program can fill some hundred MB
	// in between; Options.Memory is to leave room for that.
	glance = 100 * time.Millisecond
	// roundEvery is how many glances there are to a look at the disk.
	roundEvery = 5
)

// watch looks after a child until ctx ends, and ends ctx with the reason when the
// child takes more than it may.
func (c *child) watch(ctx context.Context, fail context.CancelCauseFunc) {
	var peak int64
	defer func() { c.options.Metrics.peak(peak) }()
	ticker := time.NewTicker(glance)
	defer ticker.Stop()
	for n := 0; ; n++ {
		taken, known := resident(c.process.Process.Pid)
		peak = max(peak, taken)
		if limit := c.options.Memory; known && limit > 0 && taken > limit {
			fail(errs.New(errs.TooLarge, "needs more than %s of memory", bytesText(limit)).
				WithHint("raise limits.memory to scan it"))
			return
		}
		if n%roundEvery == 0 {
			if err := c.disk(); err != nil {
				fail(err)
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// disk looks at what the child wrote and what is left.
func (c *child) disk() error {
	for i, d := range c.dirs {
		if limit := c.options.Private[i].Bytes; limit > 0 && d.Size(limit) > limit {
			return errs.New(errs.TooLarge, "needs more than %s on disk while it is read", bytesText(limit)).
				WithHint("raise limits.temp_bytes to scan it")
		}
	}
	if c.options.Guard != nil {
		return c.options.Guard()
	}
	return nil
}

// bytesText writes a number of bytes for people.
func bytesText(n int64) string {
	if n >= 1<<30 {
		return fmt.Sprintf("%.4g GiB", float64(n)/(1<<30))
	}
	return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20))
}
