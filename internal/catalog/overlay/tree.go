// Package overlay puts the layers of an image over each other, as a container
// would see them, and finds files there: by path through links, by pattern and
// by media type.
//
// It is responsible for what whiteouts, opaque directories, links and files in
// the place of others mean. They mean what stereoscope, which syft reads images
// with, takes them for, down to its corners; a test of catalog compares the two.
// It must not know catalogers and must not read contents.
package overlay

import (
	"archive/tar"
	"path"
	"strings"
	"sync/atomic"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
)

// kind is what a place is as far as paths go: everything with content of its own
// is a file, devices and pipes too.
type kind uint8

const (
	directory kind = iota
	regular
	symlink
	hardlink
)

// none stands for no place and for no file.
const none = -1

// Place is a path of the image that something is at. Places are those of one
// Tree.
type Place int32

// node is a place. Nodes form a tree by their numbers.
type node struct {
	path string
	link string // where a link points, as it is written
	file int32  // none for a directory that is only implied by a path
	kind kind

	parent, child, next, previous int32 // child is the first one
	gone                          bool
}

// File is an entry of a layer as a part of the image.
type File struct {
	// Layer is the number of the layer, the base being 0.
	Layer int
	// Entry is the number of the entry there. Its path is the file's.
	Entry int
	// Content is the number of the entry that has the content: another one when
	// this is one more name of it.
	Content int
	// Type is that of tar, of the entry that has the content.
	Type byte
	// Link is where a symbolic link points.
	Link string
}

// Tree is what a container of an image would see. It is built by one goroutine
// and then read by many.
type Tree struct {
	files *files
	nodes []node
	at    map[string]int32
	// marks are the whiteouts in it, opaque the directories that one of all below
	// is in.
	marks  []int32
	opaque map[int32]bool
	// pointed are the links that point to a place.
	pointed map[int32][]int32
	// tries count what was looked for through links.
	tries atomic.Int64
}

// files are the entries of all layers, in a list and by what they are found by.
type files struct {
	layers []*layers.Layer
	all    []File
	index
}

// New puts layers over each other, the base first. Entries that mean nothing in
// an image are left out and counted.
func New(read []*layers.Layer) (t *Tree, leftOut int) {
	f := &files{layers: read, index: newIndex(read)}
	t = newTree(f, 0)
	for i, l := range read {
		upper := newTree(f, len(l.Entries))
		for n := range l.Entries {
			if !upper.addEntry(i, n) {
				leftOut++
			}
		}
		if i == 0 {
			t = upper
			t.dropMarks()
			continue
		}
		t.merge(upper)
	}
	f.index.finish()
	t.findLinks()
	return t, leftOut
}

func newTree(f *files, size int) *Tree {
	t := &Tree{files: f, nodes: make([]node, 1, size+size/8+1), at: make(map[string]int32, size+size/8+1)}
	t.nodes[0] = node{path: "/", kind: directory, file: none, parent: none, child: none, next: none, previous: none}
	t.at["/"] = 0
	return t
}

// addEntry adds an entry to the tree of its layer, and reports whether it means
// something.
func (t *Tree) addEntry(layer, n int) bool {
	e := &t.files.layers[layer].Entries[n]
	k := kindOf(e.Type)
	if meaningless(e.Path, k) {
		return false
	}
	own := File{Layer: layer, Entry: n, Content: n, Type: e.Type, Link: e.Link}
	if k == hardlink {
		// One more name of what is there already is that.
		if same, ok := t.named(e.Link); ok {
			other := own
			other.Content, other.Type, other.Link = same.Content, same.Type, same.Link
			if t.put(e.Path, kindOf(other.Type), other) {
				return true
			}
		}
	}
	if t.put(e.Path, k, own) {
		return true
	}
	if e.Path == "/" {
		return false
	}
	// The same path twice in one layer, as different things: the later counts, as
	// it does when the tar is unpacked.
	t.remove(e.Path)
	return t.put(e.Path, k, own)
}

func kindOf(tarType byte) kind {
	switch tarType {
	case tar.TypeDir:
		return directory
	case tar.TypeSymlink:
		return symlink
	case tar.TypeLink:
		return hardlink
	}
	return regular
}

// meaningless reports whether an entry cannot be part of an image: a whiteout of
// the root itself, or something else than a directory in its place.
func meaningless(p string, k kind) bool {
	if p == "/" {
		return k != directory
	}
	base := path.Base(p)
	return isMark(base) && base != opaqueMark && unmarked(p) == "/"
}

// named returns the file of the same layer that a hard link is another name of.
func (t *Tree) named(link string) (File, bool) {
	target := path.Clean("/" + link)
	if link == "" || target == "/" {
		return File{}, false
	}
	at, err := t.find(target, false)
	if err != nil || at.place == none || t.nodes[at.place].file == none {
		return File{}, false
	}
	f := t.files.all[t.nodes[at.place].file]
	return f, f.Type != tar.TypeDir && f.Type != tar.TypeLink
}

// put puts a file at a path. What stands there already is replaced when it is of
// the same kind; else nothing is done and false returned.
func (t *Tree) put(p string, k kind, f File) bool {
	n := t.exact(p)
	if n != none && t.nodes[n].kind != k {
		return false
	}
	if n == none {
		link := f.Link
		if k == hardlink {
			link = path.Clean("/" + link) // from the root in any case
		}
		n = t.make(p, k, link)
	}
	if known := t.nodes[n].file; known != none {
		t.files.all[known] = f
		t.files.again(f)
		return true
	}
	t.nodes[n].file = int32(len(t.files.all))
	t.files.all = append(t.files.all, f)
	t.files.add(f)
	return true
}

// make makes a place, and the directories above it that are not there.
func (t *Tree) make(p string, k kind, link string) int32 {
	above := parentOf(p)
	parent := t.exact(above)
	if parent == none {
		parent = t.make(above, directory, "")
	}
	n := int32(len(t.nodes))
	next := t.nodes[parent].child
	t.nodes = append(t.nodes, node{path: p, link: link, kind: k, file: none, parent: parent, child: none, next: next, previous: none})
	if next != none {
		t.nodes[next].previous = n
	}
	t.nodes[parent].child = n
	t.at[p] = n
	if base := strings.TrimPrefix(p[len(above):], "/"); isMark(base) {
		t.marks = append(t.marks, n)
		if base == opaqueMark {
			if t.opaque == nil {
				t.opaque = map[int32]bool{}
			}
			t.opaque[parent] = true
		}
	}
	return n
}

// parentOf is the path of the directory above. p is clean and not the root.
func parentOf(p string) string {
	if i := strings.LastIndexByte(p, '/'); i > 0 {
		return p[:i]
	}
	return "/"
}

// cut takes a place and all below it away.
func (t *Tree) cut(n int32) {
	it := &t.nodes[n]
	switch {
	case it.previous != none:
		t.nodes[it.previous].next = it.next
	case it.parent != none:
		t.nodes[it.parent].child = it.next
	}
	if it.next != none {
		t.nodes[it.next].previous = it.previous
	}
	it.next, it.previous = none, none
	t.forget(n)
}

// forget makes a place that was cut off, and all below it, one that is not there.
func (t *Tree) forget(n int32) {
	// Without recursion: paths may be deep.
	for stack := []int32{n}; len(stack) > 0; {
		n, stack = stack[len(stack)-1], stack[:len(stack)-1]
		delete(t.at, t.nodes[n].path)
		t.nodes[n].gone = true
		for c := t.nodes[n].child; c != none; c = t.nodes[c].next {
			stack = append(stack, c)
		}
	}
}

// cutBelow takes all below a place away.
func (t *Tree) cutBelow(n int32) {
	for c := t.nodes[n].child; c != none; c = t.nodes[c].next {
		t.forget(c)
	}
	t.nodes[n].child = none
}

// remove takes what is at a path away; parents may be links. Nothing happens
// when there is nothing, or no way to it.
func (t *Tree) remove(p string) {
	at, err := t.parents(p, &trail{}, mostLinks)
	if err == nil && at.place > 0 {
		t.cut(at.place)
	}
}

// exact returns what is at a path that is clean, without following links.
func (t *Tree) exact(p string) int32 {
	if n, ok := t.at[p]; ok {
		return n
	}
	return none
}
