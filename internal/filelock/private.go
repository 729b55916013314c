package filelock

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// privateLock is the lock in a private directory.
	privateLock = ".lock"
	// settling is how old a directory must be to be taken for a left one: a new
	// one is not locked yet.
	settling = time.Minute
)

// Private is a directory that one process answers for. It is locked meanwhile, so
// that what a killed process leaves can be told from what others use.
type Private struct {
	path string
	lock *os.File
}

// NewPrivate makes a directory in parent; empty is the system's for temporary
// files. The error is the file system's.
func NewPrivate(parent, prefix string) (*Private, error) {
	path, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return nil, err
	}
	p := &Private{path: path}
	if p.lock, err = os.Create(filepath.Join(path, privateLock)); err == nil {
		_, err = Try(p.lock)
	}
	if err != nil {
		p.Remove()
		return nil, err
	}
	return p, nil
}

// Path is where the directory is.
func (p *Private) Path() string { return p.path }

// Remove deletes the directory. What cannot be deleted is left to a later sweep.
func (p *Private) Remove() {
	if p.lock != nil {
		_ = p.lock.Close()
	}
	_ = removeAll(p.path)
}

// Empty deletes all that is in the directory.
func (p *Private) Empty() error {
	entries, err := os.ReadDir(p.path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == privateLock {
			continue
		}
		if err := removeAll(filepath.Join(p.path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// removeAll deletes a tree, and what its owner took its own permissions away
// from.
func removeAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	_ = filepath.WalkDir(path, func(path string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}

// Publish makes the directory something else's, under another name on the same
// disk.
func (p *Private) Publish(path string) error {
	// Without its lock a directory is left alone while it is new, and it is: this
	// changes it.
	if err := os.Remove(filepath.Join(p.path, privateLock)); err != nil {
		return err
	}
	return os.Rename(p.path, path)
}

// Size adds up what the files in the directory take on disk, and at least a block
// each. It stops counting beyond enough.
func (p *Private) Size(enough int64) (total int64) {
	const block = 4 << 10
	_ = filepath.WalkDir(p.path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it was deleted meanwhile, or is unreadable
		}
		total += block
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() {
			total += occupied(info)
		}
		if total > enough {
			return fs.SkipAll
		}
		return nil
	})
	return total
}

// SweepPrivate deletes the directories that killed processes left in parent;
// empty is the system's for temporary files. It is only tidying up: what it cannot
// read or delete stays, and so does what is younger than a minute at that time.
func SweepPrivate(parent, prefix string, now time.Time) {
	if parent == "" {
		parent = os.TempDir()
	}
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
	p := Private{path: path}
	lock, err := os.OpenFile(filepath.Join(path, privateLock), os.O_RDWR, 0)
	if err == nil {
		p.lock = lock
		if free, err := Try(lock); err != nil || !free {
			_ = lock.Close()
			return
		}
	} else if !os.IsNotExist(err) {
		return
	}
	p.Remove()
}
