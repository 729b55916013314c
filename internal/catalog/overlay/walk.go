package overlay

import (
	"io/fs"
	"path"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// walk finds what a pattern matches by going through directories. It takes long
// and is for patterns that say nothing about the name.
func (t *Tree) walk(pattern string) ([]Hit, error) {
	found, err := doublestar.Glob(walked{t}, path.Join("/", pattern))
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "overlay: look for "+pattern, err)
	}
	var hits []Hit
	for _, p := range found {
		p = path.Join("/", p)
		if at, err := t.find(p, true); err == nil && at.place != none && t.nodes[at.place].kind != directory {
			hits = append(hits, Hit{p, Place(at.place)})
		}
	}
	return hits, nil
}

// walked is a tree as a file system, as far as a walk needs one.
type walked struct{ tree *Tree }

var (
	_ fs.ReadDirFS = walked{}
	_ fs.StatFS    = walked{}
)

// Open is there because a file system needs it.
func (w walked) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
}

// Stat tells of what a path leads to.
func (w walked) Stat(name string) (fs.FileInfo, error) {
	at, err := w.tree.find(name, true)
	if err != nil || at.place == none {
		return nil, fs.ErrNotExist
	}
	return walkedFile{path.Base(name), w.tree.nodes[at.place].kind}, nil
}

// ReadDir lists a directory, but not one that is within itself for the second
// time.
func (w walked) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := w.tree.find(name, true)
	if err != nil || at.place == none || w.turnsBack(name) || !w.tree.try(name) {
		return nil, nil //nolint:nilerr // a link that leads nowhere holds nothing
	}
	var out []fs.DirEntry
	for c := w.tree.nodes[at.place].child; c != none; c = w.tree.nodes[c].next {
		out = append(out, fs.FileInfoToDirEntry(walkedFile{path.Base(w.tree.nodes[c].path), w.tree.nodes[c].kind}))
	}
	return out, nil
}

// turnsBack reports whether a path goes through the same places more than once.
func (w walked) turnsBack(name string) bool {
	steps, places := 0, map[int32]bool{}
	for p := clean(name); ; p = parentOf(p) {
		steps++
		if at, err := w.tree.find(p, true); err == nil && at.place != none {
			places[at.place] = true
		}
		if p == "/" {
			return steps-len(places) > 1
		}
	}
}

// walkedFile is what a walk sees of a file.
type walkedFile struct {
	name string
	kind kind
}

// Name is the last part of the path.
func (f walkedFile) Name() string { return f.name }

// IsDir reports whether it is a directory itself.
func (f walkedFile) IsDir() bool { return f.kind == directory }

// Mode tells directories and links from others.
func (f walkedFile) Mode() fs.FileMode {
	switch f.kind {
	case directory:
		return fs.ModeDir | 0o755
	case symlink, hardlink:
		return fs.ModeSymlink | 0o755
	}
	return 0o755
}

// Size is not told.
func (walkedFile) Size() int64 { return 0 }

// ModTime is not told.
func (walkedFile) ModTime() time.Time { return time.Time{} }

// Sys is not told.
func (walkedFile) Sys() any { return nil }
