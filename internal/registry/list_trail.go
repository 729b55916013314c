package registry

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/bits"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	// maxPages ends a list that a registry never ends.
	maxPages = 10_000
	// maxEmptyPages is how many pages with nothing on them may follow each other:
	// a registry may filter, but not forever.
	maxEmptyPages = 200
	// maxPlace bounds what a registry can make us keep as a cursor.
	maxPlace = 8 << 10
)

// trail is a cursor: the lister's place, and what it takes to notice, without
// keeping the pages, that a registry leads in circles. mark is the fingerprint of
// a page that was seen; it moves to the page just seen whenever the number of
// pages is a power of two, so that a circle of any length meets its mark (Brent's
// algorithm).
type trail struct {
	list  string // name of the lister
	pages int
	empty int // pages with nothing on them just now
	mark  uint64
	place string
}

func (t trail) String() string {
	return fmt.Sprintf("%s %d %d %x %s", t.list, t.pages, t.empty, t.mark, t.place)
}

func parseTrail(list, cursor string) (trail, error) {
	if cursor == "" {
		return trail{list: list}, nil
	}
	parts := strings.SplitN(cursor, " ", 5)
	if len(parts) != 5 || parts[0] != list {
		return trail{}, stale()
	}
	t := trail{list: list, place: parts[4]}
	var wrong [3]error
	t.pages, wrong[0] = strconv.Atoi(parts[1])
	t.empty, wrong[1] = strconv.Atoi(parts[2])
	t.mark, wrong[2] = strconv.ParseUint(parts[3], 16, 64)
	if wrong != [3]error{} || t.pages < 1 || t.empty < 0 || t.place == "" {
		return trail{}, stale()
	}
	return t, nil
}

// staleCursor is an error: the place is not one of this list, as the
// configuration is now.
type staleCursor struct{}

func stale() error { return errs.Wrap(errs.Invalid, "go on with a list", staleCursor{}) }

// Error says so.
func (staleCursor) Error() string { return "the cursor is not one of this list" }

// follow reads the page at a cursor, or the first one when the configuration has
// changed since the cursor was given, and returns it with the next cursor in place
// of the lister's own.
func follow(ctx context.Context, list string, l lister, cursor string) (page, error) {
	p, err := at(ctx, list, l, cursor)
	if errors.Is(err, staleCursor{}) {
		return at(ctx, list, l, "")
	}
	return p, err
}

func at(ctx context.Context, list string, l lister, cursor string) (page, error) {
	t, err := parseTrail(list, cursor)
	if err != nil {
		return page{}, err
	}
	p, err := l.page(ctx, t.place)
	if err != nil || p.next == "" {
		return p, err
	}
	t, err = t.step(p)
	p.next = t.String()
	return p, err
}

// step goes on to the page behind p.
func (t trail) step(p page) (trail, error) {
	seen := fingerprint(p)
	switch {
	case len(p.next) > maxPlace:
		return t, errs.New(errs.Malformed, "the list names a next page with %d bytes", len(p.next))
	case t.pages > 0 && seen == t.mark:
		return t, errs.New(errs.Malformed, "the list leads in circles: after %d pages one comes again", t.pages)
	case t.pages >= maxPages:
		return t, errs.New(errs.TooLarge, "the list has more than %d pages", maxPages)
	case t.empty >= maxEmptyPages:
		return t, errs.New(errs.Malformed, "%d pages of the list in a row are empty", t.empty)
	}
	t.pages++
	if t.empty++; len(p.names)+len(p.marks) > 0 {
		t.empty = 0
	}
	if bits.OnesCount(uint(t.pages)) == 1 {
		t.mark = seen
	}
	t.place = p.next
	return t, nil
}

// fingerprint tells pages apart. Names do so better than places: a registry that
// ignores which page is asked for sends the same names every time. Pages with
// nothing on them differ by what they lead to.
func fingerprint(p page) uint64 {
	content := p.names
	if len(p.marks) > 0 {
		content = p.marks
	}
	h := fnv.New64a()
	for _, s := range content {
		_, _ = h.Write([]byte(s + "\n"))
	}
	if len(content) == 0 {
		_, _ = h.Write([]byte("\n" + p.next))
	}
	return h.Sum64()
}
