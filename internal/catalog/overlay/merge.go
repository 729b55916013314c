package overlay

import (
	"path"
	"slices"
	"strings"
)

const (
	markPrefix = ".wh."
	opaqueMark = ".wh..wh..opq"
)

// isMark reports whether a name is that of a whiteout.
func isMark(base string) bool { return strings.HasPrefix(base, markPrefix) && base != markPrefix }

// unmarked is the path that a whiteout, which is not that of a whole directory,
// takes away.
func unmarked(p string) string {
	above := parentOf(p)
	return path.Join(above, strings.TrimPrefix(path.Base(p), markPrefix))
}

// dropMarks takes the whiteouts of the lowest layer away: there is nothing below.
func (t *Tree) dropMarks() {
	for _, n := range t.marks {
		if !t.nodes[n].gone {
			t.cut(n)
		}
	}
	t.marks, t.opaque = nil, nil
}

// merge puts a layer over the tree.
func (t *Tree) merge(upper *Tree) {
	if len(upper.marks) == 0 {
		// Parents stand before their children; any such order will do.
		for n := range upper.nodes {
			if !upper.nodes[n].gone {
				t.cover(upper, int32(n))
			}
		}
		return
	}
	// A whiteout also takes away what its own layer has, if that comes before it in
	// the order of names.
	for stack := []int32{0}; len(stack) > 0; {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		base := path.Base(upper.nodes[n].path)
		if base == opaqueMark {
			continue
		}
		if isMark(base) {
			if upper.isOpaque(n) {
				t.cutBelowPath(upper.nodes[n].path)
			}
			t.remove(unmarked(upper.nodes[n].path))
			continue
		}
		t.cover(upper, n)
		from := len(stack)
		for c := upper.nodes[n].child; c != none; c = upper.nodes[c].next {
			stack = append(stack, c)
		}
		slices.SortFunc(stack[from:], func(a, b int32) int { return strings.Compare(upper.nodes[b].path, upper.nodes[a].path) })
	}
}

// isOpaque reports whether nothing of the layers below is seen in a directory.
func (t *Tree) isOpaque(n int32) bool {
	if len(t.opaque) == 0 {
		return false
	}
	if t.opaque[n] {
		return true
	}
	// A link to such a directory counts, and what is written below a link.
	for above := n; above != none; above = t.nodes[above].parent {
		if t.isLink(above) {
			return t.Has(path.Join(t.nodes[n].path, opaqueMark))
		}
	}
	return false
}

func (t *Tree) cutBelowPath(p string) {
	if n := t.exact(p); n != none {
		t.cutBelow(n)
	}
}

// cover puts one place of an upper layer over what is there.
func (t *Tree) cover(upper *Tree, n int32) {
	if upper.isOpaque(n) {
		// The directory itself, not where a link in its place points: a mount would
		// hide that, too.
		t.cutBelowPath(upper.nodes[n].path)
	}
	over := &upper.nodes[n]
	below := t.exact(over.path)
	if below == none {
		below = t.make(over.path, over.kind, over.link)
		t.nodes[below].file = over.file
		return
	}
	it := &t.nodes[below]
	if over.kind != directory && it.kind == directory {
		t.cutBelow(below)
	}
	// A directory that is only implied stays the one that was made below.
	if over.file != none || over.kind != it.kind {
		it.file = over.file
	}
	it.kind, it.link = over.kind, over.link
}
