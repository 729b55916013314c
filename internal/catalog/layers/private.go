package layers

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

const (
	// privateLock is the lock in a private directory.
	privateLock = ".lock"
	// settling is how old a directory must be to be taken for a left one: a new
	// one is not locked yet.
	settling = time.Minute
)

// private is a directory that one process works in. It is locked meanwhile, so
// that what a killed process leaves can be told from what others use.
type private struct {
	path string
	lock *os.File
}

func newPrivate(parent, prefix string) (*private, error) {
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, diskError(err)
	}
	p := &private{path: path}
	if p.lock, err = os.Create(filepath.Join(path, privateLock)); err == nil {
		_, err = filelock.Try(p.lock)
	}
	if err != nil {
		p.remove()
		return nil, diskError(err)
	}
	return p, nil
}

// remove deletes the directory. What cannot be deleted is left to a later sweep.
func (p *private) remove() {
	if p.lock != nil {
		_ = p.lock.Close()
	}
	_ = os.RemoveAll(p.path)
}

// publish makes the directory something else's, under another name.
func (p *private) publish(path string) error {
	// Without its lock a directory is left alone while it is new, and it is: this
	// changes it.
	if err := os.Remove(filepath.Join(p.path, privateLock)); err != nil {
		return err
	}
	return os.Rename(p.path, path)
}

// sweep deletes the private directories that killed processes left in parent. It
// is only tidying up: what it cannot read or delete stays.
func sweep(parent, prefix string, now time.Time) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), prefix) && now.Sub(info.ModTime()) > settling {
			sweepOne(filepath.Join(parent, e.Name()))
		}
	}
}

func sweepOne(path string) {
	p := private{path: path}
	lock, err := os.OpenFile(filepath.Join(path, privateLock), os.O_RDWR, 0)
	if err == nil {
		p.lock = lock
		if free, err := filelock.Try(lock); err != nil || !free {
			_ = lock.Close()
			return
		}
	} else if !os.IsNotExist(err) {
		return
	}
	p.remove()
}
