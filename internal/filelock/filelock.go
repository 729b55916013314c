// Package filelock takes exclusive locks of files, which hold between processes
// and between two open files of one process, and end with the process however it
// ends.
//
// It is responsible for hiding what systems call that. It must not decide what a
// lock protects.
package filelock

import (
	"context"
	"os"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// pause is how often a waiting process looks again. The operating system's own
// blocking lock would not end with the context.
const pause = 20 * time.Millisecond

// Take opens (and makes) the file at path and waits for its lock as long as ctx
// lives. release gives it back; the file stays. Errors are of kind Unavailable
// when the file cannot be opened or locked, Timeout or Canceled when ctx ends.
func Take(ctx context.Context, path string) (release func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, errs.Wrap(errs.Unavailable, "filelock: open", err)
	}
	for {
		held, err := Try(f)
		if err != nil {
			_ = f.Close()
			return nil, errs.Wrap(errs.Unavailable, "filelock: lock", err)
		}
		if held {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, errs.Op("filelock: wait", ctx.Err())
		case <-time.After(pause):
		}
	}
}
