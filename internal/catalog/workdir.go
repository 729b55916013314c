package catalog

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

const (
	workPrefix = "tidewaiter-layers-"
	lockName   = ".lock"
	// settling is how old a directory must be to be taken for a left one: a new
	// one is not locked yet.
	settling = time.Minute
)

// workDir is a directory for the layers of one image, locked while it is in
// use, so that what a killed process leaves can be told from what others use.
type workDir struct {
	path string
	lock *os.File
}

func newWorkDir(parent string) (*workDir, error) {
	path, err := os.MkdirTemp(parent, workPrefix)
	if err != nil {
		return nil, diskError("make a directory for layers", err)
	}
	w := &workDir{path: path}
	if w.lock, err = os.Create(filepath.Join(path, lockName)); err == nil {
		_, err = filelock.Try(w.lock)
	}
	if err != nil {
		w.remove()
		return nil, diskError("lock the directory for layers", err)
	}
	return w, nil
}

// remove deletes the directory. What cannot be deleted is left to a later sweep.
func (w *workDir) remove() {
	if w.lock != nil {
		_ = w.lock.Close()
	}
	_ = os.RemoveAll(w.path)
}

// sweep deletes the directories that killed processes left in parent. It is
// only tidying up: what it cannot read or delete stays.
func sweep(parent string, now time.Time) {
	if parent == "" {
		parent = os.TempDir()
	}
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), workPrefix) && now.Sub(info.ModTime()) > settling {
			sweepOne(filepath.Join(parent, e.Name()))
		}
	}
}

func sweepOne(path string) {
	w := workDir{path: path}
	lock, err := os.OpenFile(filepath.Join(path, lockName), os.O_RDWR, 0)
	if err == nil {
		w.lock = lock
		if free, err := filelock.Try(lock); err != nil || !free {
			_ = lock.Close()
			return
		}
	} else if !os.IsNotExist(err) {
		return
	}
	w.remove()
}
