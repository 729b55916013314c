package vulndb

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// origin says where a staged database came from.
type origin struct {
	checksum string // of the database as delivered
	source   string
	archive  string // checksum of the archive; empty without one
	database string // checksum of the file in the archive when that is not the name
	received bool   // from another library: nobody here asked for it to be current
}

// install checks and indexes the database in s and makes it the current build.
// If the same build is there already, that one stays and becomes current.
func (l *Library) install(ctx context.Context, s *stage, from origin, progress Progress) (Installed, error) {
	if have, err := l.Get(from.checksum); err == nil {
		return l.reuse(ctx, have, from)
	}
	in, err := prepare(ctx, s.dir, from, progress)
	if err != nil {
		return Installed{}, err
	}
	return l.commit(ctx, s, in, from.received)
}

// prepare makes a directory that holds a database into a complete build.
func prepare(ctx context.Context, dir string, from origin, progress Progress) (Installed, error) {
	file := filepath.Join(dir, v6.VulnerabilityDBFileName)
	d, err := describe(dir, file)
	if err != nil {
		return Installed{}, err
	}
	if err := checkSchema(file); err != nil {
		return Installed{}, err
	}
	if err := ctx.Err(); err != nil {
		return Installed{}, errs.Op("vulndb: install", err)
	}
	progress.report("indexing", 0, 0)
	if err := hydrate(dir, from.source); err != nil {
		return Installed{}, err
	}
	if err := ctx.Err(); err != nil {
		return Installed{}, errs.Op("vulndb: install", err)
	}
	info, err := os.Stat(file)
	if err == nil {
		err = syncPath(file)
	}
	if err != nil {
		return Installed{}, diskError("vulndb: install", err)
	}
	in := Installed{
		Dir: dir, Checksum: from.checksum, SchemaVersion: d.schema, Built: d.built, Source: from.source,
		Sample: d.sample, InstalledAt: time.Now().UTC().Truncate(time.Second), Archive: from.archive, Database: from.database, Bytes: info.Size(),
	}
	return in, writeInstalled(dir, in)
}

// commit moves the stage among the builds and points to it, in that order, so
// that a crash between the two leaves an unused build and never a pointer to
// nothing.
func (l *Library) commit(ctx context.Context, s *stage, in Installed, received bool) (Installed, error) {
	release, err := l.lock(ctx, lockFile)
	if err != nil {
		return Installed{}, err
	}
	defer release()
	if have, err := l.Get(in.Checksum); err == nil {
		return have, l.point(have) // another process was faster
	}
	target := l.path(buildsDir, in.hex())
	if err := l.discard(target); err != nil {
		return Installed{}, err
	}
	if err := os.Rename(s.dir, target); err != nil {
		return Installed{}, diskError("vulndb: install", err)
	}
	if err := syncPath(l.path(buildsDir)); err != nil {
		return Installed{}, diskError("vulndb: install", err)
	}
	in.Dir = target
	if current, err := l.Current(); received && err == nil && !Supersedes(in, current) {
		return in, nil
	}
	return in, l.point(in)
}

// Supersedes reports whether a build is to take the place of another when nobody
// says so: a real one that of a sample and never the reverse, else newer data
// that of older.
func Supersedes(in, current Installed) bool {
	if in.Sample != current.Sample {
		return current.Sample
	}
	return in.Built.After(current.Built)
}

// reuse makes an installed build current and remembers from which archive it
// was delivered this time, so that Update does not fetch that one again.
func (l *Library) reuse(ctx context.Context, have Installed, from origin) (Installed, error) {
	release, err := l.lock(ctx, lockFile)
	if err != nil {
		return Installed{}, err
	}
	defer release()
	if from.archive != "" && from.archive != have.Archive {
		have.Archive = from.archive
		if err := writeInstalled(have.Dir, have); err != nil {
			return Installed{}, err
		}
	}
	return have, l.point(have)
}

// point makes in the current build. The caller holds the library's lock.
func (l *Library) point(in Installed) error {
	return writeFile(l.path(currentFile), []byte(in.Checksum+"\n"))
}

// discard moves a directory out of sight before it removes it, so that nobody
// sees half of it. The caller holds the library's lock.
func (l *Library) discard(dir string) error {
	trash, err := os.MkdirTemp(l.path(stagingDir), "trash-*")
	if err != nil {
		return diskError("vulndb: remove", err)
	}
	defer os.RemoveAll(trash)
	err = os.Rename(dir, filepath.Join(trash, "build"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return diskError("vulndb: remove", err)
}
