package catalog

import (
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/anchore/stereoscope/pkg/file"
	"github.com/anchore/stereoscope/pkg/filetree"
	stereoscope "github.com/anchore/stereoscope/pkg/image"
	"github.com/becheran/wildmatch-go"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// fileIndex finds the files of all layers of an image by what catalogers look
// for. It answers as stereoscope's own does, in less memory, and the patterns of
// names, which some catalogers ask for once per package, without going through
// all names. It is filled by one goroutine and then read by many.
type fileIndex struct {
	entries []indexed
	byID    map[file.ID]int32

	byType map[file.Type][]int32
	byMIME map[string][]int32
	byExt  map[string][]int32
	byBase map[string][]int32
	bases  []string // sorted
}

type indexed struct {
	filetree.IndexEntry
	layer *stereoscope.Layer
	open  file.Opener
}

var (
	_ filetree.Index                = (*fileIndex)(nil)
	_ stereoscope.FileCatalogReader = (*fileIndex)(nil)
)

func newFileIndex() *fileIndex {
	return &fileIndex{
		byID: map[file.ID]int32{}, byType: map[file.Type][]int32{}, byMIME: map[string][]int32{},
		byExt: map[string][]int32{}, byBase: map[string][]int32{},
	}
}

// Add notes a file. The same reference again replaces what was noted, and is
// found by what it was before as well.
func (x *fileIndex) Add(ref file.Reference, m file.Metadata) {
	n, again := x.byID[ref.ID()]
	if !again {
		n = int32(len(x.entries))
		x.entries = append(x.entries, indexed{})
		x.byID[ref.ID()] = n
		base := path.Base(string(ref.RealPath))
		x.byBase[base] = append(x.byBase[base], n)
		for _, ext := range extensions(string(ref.RealPath)) {
			x.byExt[ext] = append(x.byExt[ext], n)
		}
	}
	before := x.entries[n].IndexEntry
	x.entries[n].IndexEntry = filetree.IndexEntry{Reference: ref, Metadata: m}
	if m.MIMEType != "" && (!again || before.MIMEType != m.MIMEType) {
		x.byMIME[m.MIMEType] = append(x.byMIME[m.MIMEType], n)
	}
	if !again || before.Type != m.Type {
		x.byType[m.Type] = append(x.byType[m.Type], n)
	}
}

// place says which layer a file is of and how to open it.
func (x *fileIndex) place(ref file.Reference, layer *stereoscope.Layer, open file.Opener) {
	n := x.byID[ref.ID()]
	x.entries[n].layer, x.entries[n].open = layer, open
}

// finish ends the filling.
func (x *fileIndex) finish() {
	x.bases = make([]string, 0, len(x.byBase))
	for base := range x.byBase {
		x.bases = append(x.bases, base)
	}
	slices.Sort(x.bases)
	for _, all := range x.byMIME {
		slices.Sort(all)
	}
	for _, all := range x.byType {
		slices.Sort(all)
	}
}

func (x *fileIndex) find(ref file.Reference) (indexed, bool) {
	n, ok := x.byID[ref.ID()]
	if !ok {
		return indexed{}, false
	}
	return x.entries[n], true
}

func (x *fileIndex) opener(ref file.Reference) file.Opener {
	found, _ := x.find(ref)
	return found.open
}

// Layer returns the layer a file is of.
func (x *fileIndex) Layer(ref file.Reference) *stereoscope.Layer {
	found, _ := x.find(ref)
	return found.layer
}

// Open opens the content of a file.
func (x *fileIndex) Open(ref file.Reference) (io.ReadCloser, error) {
	open := x.opener(ref)
	if open == nil {
		return nil, errs.New(errs.NotFound, "no contents of %q", ref.RealPath)
	}
	return open()
}

// Exists reports whether a file was noted.
func (x *fileIndex) Exists(ref file.Reference) bool {
	_, ok := x.byID[ref.ID()]
	return ok
}

// Get returns what was noted of a file.
func (x *fileIndex) Get(ref file.Reference) (filetree.IndexEntry, error) {
	found, ok := x.find(ref)
	if !ok {
		return filetree.IndexEntry{}, os.ErrNotExist
	}
	return found.IndexEntry, nil
}

func (x *fileIndex) collect(into []filetree.IndexEntry, numbers []int32) []filetree.IndexEntry {
	for _, n := range numbers {
		into = append(into, x.entries[n].IndexEntry)
	}
	return into
}

// GetByMIMEType returns the files of some media types.
func (x *fileIndex) GetByMIMEType(types ...string) (out []filetree.IndexEntry, err error) {
	for _, t := range types {
		out = x.collect(out, x.byMIME[t])
	}
	return out, nil
}

// GetByFileType returns the files of some types.
func (x *fileIndex) GetByFileType(types ...file.Type) (out []filetree.IndexEntry, err error) {
	for _, t := range types {
		out = x.collect(out, x.byType[t])
	}
	return out, nil
}

// GetByExtension returns the files with some extensions.
func (x *fileIndex) GetByExtension(extensions ...string) (out []filetree.IndexEntry, err error) {
	for _, ext := range extensions {
		out = x.collect(out, x.byExt[ext])
	}
	return out, nil
}

// GetByBasename returns the files with some names.
func (x *fileIndex) GetByBasename(names ...string) (out []filetree.IndexEntry, err error) {
	for _, name := range names {
		if strings.Contains(name, "/") {
			return nil, errs.New(errs.Internal, "a name holds a slash")
		}
		out = x.collect(out, x.byBase[name])
	}
	return out, nil
}

// GetByBasenameGlob returns the files whose name matches a pattern with * and ?.
// Only the names that begin as the pattern does are looked at.
func (x *fileIndex) GetByBasenameGlob(patterns ...string) (out []filetree.IndexEntry, err error) {
	for _, pattern := range patterns {
		if strings.Contains(pattern, "**") || strings.Contains(pattern, "/") {
			return nil, errs.New(errs.Internal, "pattern %q is not one of names", pattern)
		}
		matcher := wildmatch.NewWildMatch(pattern)
		begin := pattern
		if i := strings.IndexAny(pattern, "*?"); i >= 0 {
			begin = pattern[:i]
		}
		from, _ := slices.BinarySearch(x.bases, begin)
		for _, base := range x.bases[from:] {
			if !strings.HasPrefix(base, begin) {
				break
			}
			if matcher.IsMatch(base) {
				out = x.collect(out, x.byBase[base])
			}
		}
	}
	return out, nil
}

// extensions lists what a name can be said to end in: of a.tar.gz both ".gz" and
// ".tar.gz". A dot at the beginning or the end counts for none.
func extensions(full string) (out []string) {
	full = strings.TrimSpace(full)
	if strings.HasSuffix(full, ".") || strings.HasSuffix(full, "/") {
		return nil
	}
	name := strings.TrimLeft(path.Base(full), ".")
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			out = append(out, name[i:])
		}
	}
	return out
}
