package overlay

import (
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// mostTries is how many parts of paths are looked for in one tree because links may
// lead through them. A few directories full of links to each other make more ways
// than can be counted; images that somebody made for use have some ten thousands.
const mostTries = 5_000_000

// errWays is told, again and again, once there are more: what is reached by none
// but such ways would be missing silently.
var errWays = errs.New(errs.TooLarge, "links lead to the image's files in more ways than can be looked for")

// try counts a way and reports whether it may still be looked for.
func (t *Tree) try(p string) bool { return t.tries.Add(1+int64(strings.Count(p, "/"))) <= mostTries }

// Hit is a place that was found, and the path it was found by, which may lead
// through links.
type Hit struct {
	Request string
	Place   Place
}

// findLinks notes for every place which links point to it.
func (t *Tree) findLinks() {
	t.pointed = map[int32][]int32{}
	for n := range t.nodes {
		it := &t.nodes[n]
		if it.gone || it.file == none || it.kind != symlink && it.kind != hardlink {
			continue
		}
		if at, err := t.find(t.destination(int32(n)), false); err == nil && at.place != none {
			t.pointed[at.place] = append(t.pointed[at.place], int32(n))
		}
	}
	for _, links := range t.pointed {
		slices.SortFunc(links, func(a, b int32) int { return strings.Compare(t.nodes[a].path, t.nodes[b].path) })
	}
}

// ByPattern returns the places that a pattern matches, through links as well, in
// the order of what they were found by; paths without a link come first. A place
// may be in it more than once. The error is of kind Invalid when the pattern
// cannot be read, TooLarge when the links of the image lead to too much.
func (t *Tree) ByPattern(pattern string) ([]Hit, error) {
	pattern = tidy(pattern)
	if !doublestar.ValidatePattern(pattern) {
		return nil, errs.New(errs.Invalid, "overlay: %.100q is not a pattern", pattern)
	}
	var hits []Hit
	for _, r := range plan(pattern) {
		each := func(p string) {
			if hit, ok := t.match(pattern, p); ok {
				hits = append(hits, hit)
			}
		}
		switch r.by {
		case byPath:
			if at, err := t.find(r.what, true); err == nil && at.place != none {
				hits = append(hits, Hit{at.request, Place(at.place)})
			}
		case byExt:
			t.files.eachExt(r.what, each)
		case byBase:
			t.files.eachBase(r.what, each)
		case byBaseLike:
			t.files.eachBaseLike(r.what, each)
		case byParent:
			t.files.eachBase(r.what, func(p string) { t.eachIn(p, each) })
		case byWalk:
			found, err := t.walk(pattern)
			if err != nil {
				return nil, err
			}
			hits = append(hits, found...)
		}
		if t.tries.Load() > mostTries {
			return nil, errWays
		}
	}
	return t.sorted(hits), nil
}

// ByMIME returns the places of some media types, like ByPattern.
func (t *Tree) ByMIME(types ...string) []Hit {
	var hits []Hit
	for _, mime := range types {
		t.files.eachMIME(mime, func(p string) {
			if at, err := t.find(p, true); err == nil && at.place != none {
				hits = append(hits, Hit{at.request, Place(at.place)})
			}
		})
	}
	return t.sorted(hits)
}

// sorted leaves out what is no file and sorts the rest.
func (t *Tree) sorted(hits []Hit) []Hit {
	hits = slices.DeleteFunc(hits, func(h Hit) bool { return t.nodes[h.Place].file == none })
	itself := func(h Hit) bool { return t.nodes[h.Place].path == h.Request }
	slices.SortFunc(hits, func(a, b Hit) int {
		if x, y := itself(a), itself(b); x != y {
			if x {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Request, b.Request)
	})
	return hits
}

// eachIn tells the paths in a directory.
func (t *Tree) eachIn(directoryPath string, yield func(p string)) {
	at, err := t.find(directoryPath, true)
	if err != nil || at.place == none || t.nodes[at.place].kind != directory {
		return
	}
	for c := t.nodes[at.place].child; c != none; c = t.nodes[c].next {
		name := t.nodes[c].path[strings.LastIndexByte(t.nodes[c].path, '/'):]
		yield(strings.TrimSuffix(directoryPath, "/") + name)
	}
}

// match returns what a path leads to, by a path that the pattern matches: itself,
// or one through the links that point to a directory above it.
func (t *Tree) match(pattern, p string) (Hit, bool) {
	if n := t.exact(p); n != none && !t.isLink(n) {
		if ok, _ := doublestar.Match(pattern, p); ok {
			return Hit{p, Place(n)}, true
		}
		if !t.isPointedAbove(n) {
			return Hit{}, false
		}
	}
	return t.alias(map[string]bool{}, pattern, p, "")
}

// isPointedAbove reports whether a link points to a place or above it.
func (t *Tree) isPointedAbove(n int32) bool {
	for ; n != none; n = t.nodes[n].parent {
		if len(t.pointed[n]) > 0 {
			return true
		}
	}
	return false
}

// alias looks for a path that the pattern matches among start+rest and the paths
// that links make of it.
func (t *Tree) alias(seen map[string]bool, pattern, start, rest string) (Hit, bool) {
	full := start + rest
	if !t.try(full) || seen[full] {
		return Hit{}, false
	}
	seen[full] = true
	at, err := t.find(full, true)
	if err != nil {
		return Hit{}, false
	}
	if at.place != none && at.matches(pattern) {
		return Hit{at.request, Place(at.place)}, true
	}
	for end := 1; end < len(start); {
		if i := strings.IndexByte(start[end:], '/'); i >= 0 {
			end += i
		} else {
			end = len(start)
		}
		if hit, ok := t.aliasOf(seen, pattern, start[:end], full[end:]); ok {
			return hit, true
		}
		end++
	}
	return Hit{}, false
}

// aliasOf tries the links that point to a directory.
func (t *Tree) aliasOf(seen map[string]bool, pattern, directoryPath, rest string) (Hit, bool) {
	if seen[directoryPath] {
		return Hit{}, false
	}
	seen[directoryPath] = true
	at, err := t.find(directoryPath, false)
	if err != nil || at.place == none {
		return Hit{}, false
	}
	for _, link := range t.pointed[at.place] {
		if hit, ok := t.alias(seen, pattern, t.nodes[link].path, rest); ok {
			return hit, true
		}
	}
	return Hit{}, false
}

// matches reports whether the path that was asked for, or that of a link on the
// way, is one of the pattern's.
func (a access) matches(pattern string) bool {
	if ok, _ := doublestar.Match(pattern, a.request); ok {
		return true
	}
	for i, hop := range a.via {
		if i == len(a.via)-1 && hop.place != none {
			return false // what it leads to, not a link
		}
		if ok, _ := doublestar.Match(pattern, hop.request); ok {
			return true
		}
	}
	return false
}
