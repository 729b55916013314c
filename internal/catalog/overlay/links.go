package overlay

import (
	"errors"
	"path"
	"strings"
)

// mostLinks is how many links lead to a file at most, one out of another. On the
// way through directories each of them may be one again: links that lead through
// others several times each make a handful into a way without end. So all steps of
// one way count, too; Linux itself takes no more than 40.
const (
	mostLinks = 100
	mostSteps = 400
)

// errLoop and errTooMany tell links that lead nowhere from those that lead to
// nothing.
var (
	errLoop    = errors.New("overlay: links lead in a circle")
	errTooMany = errors.New("overlay: too many links")
)

// trail is what one look for a path has behind it.
type trail struct {
	open  map[string]int // the paths of links that are being followed
	steps int
}

// access is where a path leads.
type access struct {
	request string
	place   int32 // none when nothing is there
	via     []access
}

// clean is a path as it is looked up: without blanks before it and slashes behind
// it, and with nothing to be worked out.
func clean(p string) string {
	trimmed := strings.TrimLeft(p, " ")
	if trimmed == "" {
		trimmed = p
	}
	if trimmed = strings.TrimRight(trimmed, "/"); trimmed == "" {
		return "/"
	}
	return path.Clean(trimmed)
}

// find returns what a path leads to. Links on the way are followed; one at the
// end if follow says so.
func (t *Tree) find(p string, follow bool) (access, error) {
	// Most paths are clean, and not those of links.
	n := t.exact(p)
	if n == none {
		p = clean(p)
		n = t.exact(p)
	}
	if n != none && (!follow || !t.isLink(n)) {
		return access{request: p, place: n}, nil
	}
	var behind trail
	at, err := t.parents(p, &behind, mostLinks)
	if err != nil || at.place == none {
		return access{request: p, place: none}, err
	}
	if follow {
		if at, err = t.follow(at, &behind, mostLinks); err != nil {
			return access{request: p, place: none}, err
		}
	}
	at.request = p
	return at, nil
}

func (t *Tree) isLink(n int32) bool { return t.nodes[n].kind == symlink || t.nodes[n].kind == hardlink }

// parents returns what is at a path, through links in the directories above it.
func (t *Tree) parents(p string, behind *trail, left int) (at access, err error) {
	at = access{request: clean(p)}
	if at.place = t.exact(at.request); at.place != none {
		return at, nil
	}
	parts := strings.Split(p, "/")
	current := ""
	for i, part := range parts {
		if part == "" {
			continue
		}
		current += "/" + part
		at = access{request: clean(current)}
		if at.place = t.exact(at.request); at.place == none {
			return at, nil
		}
		if i == len(parts)-1 || !t.isLink(at.place) {
			continue
		}
		link := t.nodes[at.place].path
		if at, err = t.follow(at, behind, left); err != nil {
			return at, err
		}
		current = link
		if at.place != none {
			current = t.nodes[at.place].path
		}
	}
	return at, nil
}

// follow returns where a link leads in the end, which may be nowhere.
func (t *Tree) follow(at access, behind *trail, left int) (access, error) {
	if behind.open == nil {
		behind.open = map[string]int{}
	}
	var way []access
	visited := map[int32]bool{}
	for next := ""; ; {
		behind.steps++
		if left--; left < 1 || behind.steps > mostSteps {
			return access{place: none}, errTooMany
		}
		way = append(way, at)
		if at.place == none {
			way[len(way)-1].request = next
			break
		}
		if visited[at.place] {
			return access{place: none}, errLoop
		}
		if !t.isLink(at.place) {
			break
		}
		visited[at.place] = true
		if next = t.destination(at.place); behind.open[next] > 0 {
			return access{place: none}, errLoop
		}
		behind.open[next]++
		var err error
		if at, err = t.parents(next, behind, left); err != nil {
			return access{place: none}, err
		}
		behind.open[next]--
	}
	at.via = append(at.via, way...)
	return at, nil
}

// destination is where a link points to.
func (t *Tree) destination(n int32) string {
	link := t.nodes[n].link
	if strings.HasPrefix(link, "/") {
		return link
	}
	return path.Join(parentOf(t.nodes[n].path), link)
}

// Has reports whether something is at a path, be it a link that leads nowhere.
func (t *Tree) Has(p string) bool {
	at, err := t.find(p, false)
	return err == nil && at.place != none
}

// Find returns the place that a path leads to in the end; ok is false when it
// leads nowhere.
func (t *Tree) Find(p string) (at Place, ok bool) {
	found, err := t.find(p, true)
	if err != nil || found.place == none {
		return none, false
	}
	return Place(found.place), true
}

// At returns the place at a path itself, without following links.
func (t *Tree) At(p string) (at Place, ok bool) {
	n := t.exact(p)
	return Place(n), n != none
}

// Path is the path of a place, without a link in it.
func (t *Tree) Path(at Place) string { return t.nodes[at].path }

// File is what is at a place; ok is false for a directory that is only implied.
func (t *Tree) File(at Place) (f File, ok bool) {
	n := t.nodes[at].file
	if n == none {
		return File{}, false
	}
	return t.files.all[n], true
}

// All calls yield for every place that has a file until that returns false.
func (t *Tree) All(yield func(Place) bool) {
	for n := range t.nodes {
		if !t.nodes[n].gone && t.nodes[n].file != none && !yield(Place(n)) {
			return
		}
	}
}
