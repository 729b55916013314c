package vulndb

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	receivedDir     = "received"
	receiveLockFile = "receive.lock"
)

// Bytes gives the packed bytes of a parcel from an offset on.
type Bytes func(ctx context.Context, offset int64) (io.ReadCloser, error)

// Receive installs a build that another library packed. The bytes are taken only
// when they have the parcel's size and digest, and the database in them only when
// it has the checksum the parcel says. What was received before an interruption,
// by this process or another, is not asked for again; of several that want the
// same library to have a build, one receives it and the others find it there. The
// build becomes current only in place of a sample or of older data.
//
// The error is of kind Malformed when the bytes are others than promised, TooLarge
// beyond Config.MaxBytes; else it is what content returned.
func (l *Library) Receive(ctx context.Context, p Parcel, content Bytes, progress Progress) (Installed, error) {
	in, err := l.receive(ctx, p, content, progress)
	return in, errs.Op("vulndb: receive "+p.Checksum, err)
}

func (l *Library) receive(ctx context.Context, p Parcel, content Bytes, progress Progress) (Installed, error) {
	if err := p.check(l.cfg.MaxBytes); err != nil {
		return Installed{}, err
	}
	release, err := l.lock(ctx, receiveLockFile)
	if err != nil {
		return Installed{}, err
	}
	defer release()
	if have, err := l.Get(p.Checksum); err == nil {
		return have, nil
	}
	part, err := l.receivePart(ctx, p, content, progress)
	if err != nil {
		return Installed{}, err
	}
	defer os.Remove(part)
	s, err := l.newStage(ctx)
	if err != nil {
		return Installed{}, err
	}
	defer s.close()
	from, err := l.unpackFile(ctx, part, s.database(), progress)
	if err != nil {
		return Installed{}, err
	}
	if from.checksum != p.Database {
		return Installed{}, errs.New(errs.Malformed, "vulndb: the archive holds database %s instead of %s", from.checksum, p.Database)
	}
	if err := keepArchive(part, s.dir, from); err != nil {
		return Installed{}, err
	}
	if from.checksum != p.Checksum {
		from.database = from.checksum
	}
	from.checksum, from.source, from.received = p.Checksum, p.Source, true
	return l.install(ctx, s, from, progress)
}

// check refuses a description that cannot be acted upon.
func (p Parcel) check(limit int64) error {
	for _, sum := range []string{p.Checksum, p.Database, p.Digest} {
		if hex, ok := strings.CutPrefix(sum, algorithm); !ok || !hexDigest.MatchString(hex) {
			return errs.New(errs.Invalid, "vulndb: %.80q is not a checksum", sum)
		}
	}
	if p.Size <= 0 || p.Size > limit {
		return errs.New(errs.TooLarge, "vulndb: the archive has %d bytes, not between 1 and %d", p.Size, limit)
	}
	return nil
}

// receivePart brings the packed bytes into a file and compares their digest. The
// caller holds the lock.
func (l *Library) receivePart(ctx context.Context, p Parcel, content Bytes, progress Progress) (string, error) {
	if err := os.MkdirAll(l.path(receivedDir), 0o755); err != nil {
		return "", diskError("vulndb: make directory", err)
	}
	part := l.path(receivedDir, strings.TrimPrefix(p.Digest, algorithm)+partSuffix)
	dropOthers(l.path(receivedDir), part)
	for {
		resumed, err := appendPart(ctx, part, p.Size, content, progress)
		if err != nil {
			return "", err
		}
		sum, err := fileChecksum(part)
		if err != nil {
			return "", diskError("vulndb: receive", err)
		}
		if sum == p.Digest {
			return part, nil
		}
		os.Remove(part)
		if !resumed { // else the old part may be to blame: once more from the start
			return "", errs.New(errs.Malformed, "vulndb: the archive has checksum %s instead of %s", sum, p.Digest)
		}
	}
}

// appendPart adds what is missing to a file. Resumed says that it held something
// before.
func appendPart(ctx context.Context, part string, size int64, content Bytes, progress Progress) (resumed bool, err error) {
	f, err := os.OpenFile(part, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return false, diskError("vulndb: receive", err)
	}
	defer f.Close()
	have, err := f.Seek(0, io.SeekEnd)
	if err == nil && have > size {
		have, err = 0, restart(f)
	}
	if err != nil || have == size {
		return have > 0, diskError("vulndb: receive", err)
	}
	r, err := content(ctx, have)
	if err != nil {
		return false, err
	}
	defer r.Close()
	body := &countReader{
		r:    &limitReader{r: contextReader{ctx, r}, left: size - have, limit: size},
		done: have, total: size, stage: "receiving", progress: progress,
	}
	_, err = io.Copy(&diskWriter{f}, body)
	return have > 0, err
}
