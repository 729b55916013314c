package vulndb

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

const lockSuffix = ".lock"

// stage is a private directory in which a build is prepared. A lock beside it
// lives as long as the process, so that what a crash leaves behind can be told
// from what another process is working on.
type stage struct {
	dir  string
	lock *os.File
}

// newStage makes a stage and removes those whose process is gone.
func (l *Library) newStage(ctx context.Context) (*stage, error) {
	release, err := l.lock(ctx, lockFile)
	if err != nil {
		return nil, err
	}
	defer release()
	l.sweep()
	dir, err := os.MkdirTemp(l.path(stagingDir), "build-*")
	if err != nil {
		return nil, diskError("vulndb: make a staging directory", err)
	}
	s := &stage{dir: dir}
	if s.lock, err = os.Create(dir + lockSuffix); err == nil {
		_, err = filelock.Try(s.lock)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755) // builds are read by less privileged children
	}
	if err != nil {
		s.close()
		return nil, diskError("vulndb: lock the staging directory", err)
	}
	return s, nil
}

// database is the path of the stage's database file.
func (s *stage) database() string { return filepath.Join(s.dir, v6.VulnerabilityDBFileName) }

// close removes what is left of the stage.
func (s *stage) close() {
	os.RemoveAll(s.dir)
	os.Remove(s.dir + lockSuffix)
	if s.lock != nil {
		s.lock.Close()
	}
}

// sweep removes stages nobody works on. The caller holds the library's lock,
// so none is being made meanwhile. What cannot be removed is left for the next
// time: it costs space and nothing else.
func (l *Library) sweep() {
	entries, err := os.ReadDir(l.path(stagingDir))
	if err != nil {
		return
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), lockSuffix)
		path := l.path(stagingDir, name)
		if abandoned(path + lockSuffix) {
			os.RemoveAll(path)
			os.Remove(path + lockSuffix)
		}
	}
}

func abandoned(lock string) bool {
	f, err := os.Open(lock)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return false
	}
	defer f.Close()
	held, err := filelock.Try(f)
	return err == nil && held
}
