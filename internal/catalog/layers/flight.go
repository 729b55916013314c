package layers

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

const (
	lockSuffix = ".lock"
	// pause is how often a lock that another process holds is tried again.
	pause = 20 * time.Millisecond
)

// flights let one at a time read a layer: over the goroutines of this process,
// and by files in dir over all processes of this machine. The files are gone
// when nobody reads.
type flights struct {
	dir string

	mu   sync.Mutex
	busy map[string]chan struct{}
}

// enter waits for its turn. The error is that of ctx, or of kind Unavailable.
func (f *flights) enter(ctx context.Context, name string) (leave func(), err error) {
	for {
		f.mu.Lock()
		done, busy := f.busy[name]
		if !busy {
			f.busy[name] = make(chan struct{})
			f.mu.Unlock()
			break
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, waiting(ctx)
		case <-done:
		}
	}
	unlock, err := takeTurn(ctx, filepath.Join(f.dir, name+lockSuffix))
	if err != nil {
		f.leave(name)
		return nil, err
	}
	return func() { unlock(); f.leave(name) }, nil
}

func (f *flights) leave(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.busy[name])
	delete(f.busy, name)
}

// takeTurn takes the lock of a file that is deleted when it is given back.
func takeTurn(ctx context.Context, path string) (release func(), err error) {
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, diskError(err)
		}
		held, err := filelock.Try(f)
		switch {
		case err != nil:
			_ = f.Close()
			return nil, errs.Wrap(errs.Unavailable, "layers: lock", err)
		case held && isAt(f, path):
			return func() { _ = os.Remove(path); _ = f.Close() }, nil
		}
		_ = f.Close()
		if held { // of a file that was deleted meanwhile
			continue
		}
		select {
		case <-ctx.Done():
			return nil, waiting(ctx)
		case <-time.After(pause):
		}
	}
}

// isAt reports whether an open file is still the one at path.
func isAt(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

// sweepTurns deletes the lock files that killed processes left.
func sweepTurns(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() || !strings.HasSuffix(path, lockSuffix) {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if held, err := filelock.Try(f); err == nil && held && isAt(f, path) {
			_ = os.Remove(path)
		}
		_ = f.Close()
	}
}
