package vulndb

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

const (
	lockFile       = "lock"
	updateLockFile = "update.lock"
)

// lock takes the named lock of the library and waits for it as long as ctx
// lives. It holds between two Libraries of one process as well.
func (l *Library) lock(ctx context.Context, name string) (release func(), err error) {
	if err := l.makeDirs(); err != nil {
		return nil, err
	}
	release, err = filelock.Take(ctx, l.path(name))
	return release, errs.Op("vulndb: wait for another process", err)
}
