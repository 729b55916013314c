package main

import (
	"context"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// patiently looks again and again until something is over. A service that is being
// restarted is waited for. waiting says in the error what was under way when ctx
// ended.
func patiently(ctx context.Context, waiting string, over func() bool, look func() error) error {
	const every, patience = 500 * time.Millisecond, time.Minute
	heard := time.Now()
	for !over() {
		select {
		case <-ctx.Done():
			return errs.Wrap(errs.Canceled, waiting, ctx.Err())
		case <-time.After(every):
		}
		err := look()
		passing := errs.Is(err, errs.Unavailable) || errs.Is(err, errs.Timeout) || errs.Is(err, errs.RateLimited)
		switch {
		case err == nil:
			heard = time.Now()
		case !passing || time.Since(heard) >= patience:
			return err
		}
	}
	return nil
}
