package overlay

import (
	"path"
	"slices"
	"strings"

	"github.com/becheran/wildmatch-go"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
)

// index finds the files of all layers by their names. It finds those that upper
// layers cover as well: their paths may lead somewhere still.
type index struct {
	layers []*layers.Layer
	paths  []string
	bases  chains
	exts   chains
	mimes  map[string][]int32
	names  []string // of bases, sorted
}

// chains are lists of numbers by name, each list linked through one array.
type chains struct {
	head map[string]int32
	link []struct{ number, next int32 }
}

func newChains(size int) chains { return chains{head: make(map[string]int32, size)} }

func (c *chains) add(name string, number int32) {
	next, ok := c.head[name]
	if !ok {
		next = none
	}
	c.head[name] = int32(len(c.link))
	c.link = append(c.link, struct{ number, next int32 }{number, next})
}

func (c *chains) each(name string, yield func(number int32)) {
	at, ok := c.head[name]
	for ok && at != none {
		yield(c.link[at].number)
		at = c.link[at].next
	}
}

func newIndex(read []*layers.Layer) index {
	size := 0
	for _, l := range read {
		size += len(l.Entries)
	}
	return index{layers: read, paths: make([]string, 0, size), bases: newChains(size), exts: newChains(0), mimes: map[string][]int32{}}
}

// add notes a file.
func (x *index) add(f File) {
	p := x.layers[f.Layer].Entries[f.Entry].Path
	n := int32(len(x.paths))
	x.paths = append(x.paths, p)
	base := path.Base(p)
	x.bases.add(base, n)
	eachExtension(base, func(ext string) { x.exts.add(ext, n) })
	x.addMIME(f, n)
}

// again notes what a file became that its layer has twice. It is found by what it
// was before, too.
func (x *index) again(f File) { x.addMIME(f, none) }

func (x *index) addMIME(f File, n int32) {
	l := x.layers[f.Layer]
	mime := l.Entries[f.Content].MIME
	if mime == "" {
		return
	}
	if n == none {
		n = int32(len(x.paths))
		x.paths = append(x.paths, l.Entries[f.Entry].Path)
	}
	x.mimes[mime] = append(x.mimes[mime], n)
}

// eachExtension tells what a name can be said to end in: a.tar.gz both in ".gz"
// and in ".tar.gz". A dot at the beginning or the end counts for none.
func eachExtension(base string, yield func(ext string)) {
	base = strings.TrimSpace(base)
	if strings.HasSuffix(base, ".") {
		return
	}
	base = strings.TrimLeft(base, ".")
	for i := len(base) - 1; i >= 0; i-- {
		if base[i] == '.' {
			yield(base[i:])
		}
	}
}

// finish ends the filling.
func (x *index) finish() {
	x.names = make([]string, 0, len(x.bases.head))
	for name := range x.bases.head {
		x.names = append(x.names, name)
	}
	slices.Sort(x.names)
}

// eachBase tells the paths that end in a name.
func (x *index) eachBase(name string, yield func(p string)) {
	x.bases.each(name, func(n int32) { yield(x.paths[n]) })
}

// eachExt tells the paths with an extension.
func (x *index) eachExt(ext string, yield func(p string)) {
	x.exts.each(ext, func(n int32) { yield(x.paths[n]) })
}

// eachBaseLike tells the paths whose name matches a pattern with * and ?. Only
// names that begin as the pattern does are looked at.
func (x *index) eachBaseLike(pattern string, yield func(p string)) {
	matcher := wildmatch.NewWildMatch(pattern)
	begin := pattern
	if i := strings.IndexAny(pattern, "*?"); i >= 0 {
		begin = pattern[:i]
	}
	from, _ := slices.BinarySearch(x.names, begin)
	for _, name := range x.names[from:] {
		if !strings.HasPrefix(name, begin) {
			return
		}
		if matcher.IsMatch(name) {
			x.eachBase(name, yield)
		}
	}
}

// eachMIME tells the paths of a media type.
func (x *index) eachMIME(mime string, yield func(p string)) {
	for _, n := range x.mimes[mime] {
		yield(x.paths[n])
	}
}
