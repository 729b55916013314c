package vulndb

import (
	"context"
	"os"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	lockFile       = "lock"
	updateLockFile = "update.lock"
	// lockPause is how often a waiting process looks again. The operating
	// system's blocking lock would not end with the context.
	lockPause = 50 * time.Millisecond
)

// lock takes the named lock of the library and waits for it as long as ctx
// lives. Locks belong to open files: they end with the process, however it
// ends, and hold between two Libraries of one process as well.
func (l *Library) lock(ctx context.Context, name string) (release func(), err error) {
	if err := l.makeDirs(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(l.path(name), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, diskError("vulndb: open lock", err)
	}
	for {
		held, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, errs.Wrap(errs.Internal, "vulndb: lock", err)
		}
		if held {
			return func() { f.Close() }, nil
		}
		if err := pause(ctx, lockPause); err != nil {
			f.Close()
			return nil, errs.Op("vulndb: wait for another process", err)
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
