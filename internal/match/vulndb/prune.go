package vulndb

import (
	"context"
	"slices"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Remove deletes a build. The current one is refused with errs.Conflict; one
// that is not there is errs.NotFound.
//
// A process that has the build open keeps what it has, but may fail to open
// more of it: remove a build only when no job is left that needs it.
func (l *Library) Remove(ctx context.Context, checksum string) error {
	release, err := l.lock(ctx, lockFile)
	if err != nil {
		return err
	}
	defer release()
	in, err := l.Get(checksum)
	if err != nil {
		return err
	}
	if current, err := l.Current(); err == nil && current.Checksum == checksum {
		return errs.New(errs.Conflict, "vulndb: build %s is the current one", checksum)
	}
	return l.discard(in.Dir)
}

// Prune deletes all builds but the current one, those that are needed, by their
// checksums, and next to the current one those with the newest data, so that keep
// builds are left (at least one). It returns what was deleted.
func (l *Library) Prune(ctx context.Context, keep int, needed ...string) ([]Installed, error) {
	release, err := l.lock(ctx, lockFile)
	if err != nil {
		return nil, err
	}
	defer release()
	all, err := l.List()
	if err != nil {
		return nil, err
	}
	current, err := l.Current()
	if err != nil {
		return nil, err // without a current build, which to keep is anybody's guess
	}
	left := keep - 1
	var gone []Installed
	for _, in := range all {
		if in.Checksum == current.Checksum {
			continue
		}
		if left > 0 || slices.Contains(needed, in.Checksum) {
			left--
			continue
		}
		if err := l.discard(in.Dir); err != nil {
			return gone, err
		}
		gone = append(gone, in)
	}
	return gone, nil
}
