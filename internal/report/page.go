package report

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Bounds of Page.Limit.
const (
	DefaultLimit = 50
	MaxLimit     = 500
)

// Page is one page of a listing: how many items, and after which one. The zero
// value is the first page of the default length.
type Page struct {
	Limit  int
	Cursor string // the NextCursor of the page before; empty for the first
}

// Size returns the limit within its bounds.
func (p Page) Size() int {
	if p.Limit <= 0 {
		return DefaultLimit
	}
	return min(p.Limit, MaxLimit)
}

// List is one page of a listing.
type List[T any] struct {
	Items []T `json:"items"`
	// NextCursor asks for what follows; empty on the last page.
	NextCursor string `json:"next_cursor,omitempty"`
}

// Judged is a page of a listing that depends on a database build.
type Judged[T any] struct {
	List[T]
	// Build is the database all items were judged with; nil before the first.
	Build *Build `json:"build"`
}

// maxCursor bounds what is decoded of a cursor, in bytes.
const maxCursor = 16 << 10

// EncodeCursor makes the cursor of a listing from the sort key of its last
// item. Cursors are opaque to callers and good for one listing in one order,
// which name tells apart from others.
func EncodeCursor(name string, key ...any) string {
	b, err := json.Marshal(append([]any{name}, key...))
	if err != nil {
		// Keys are strings and numbers; a failure is a programming error.
		panic(errs.Wrap(errs.Internal, "report: encode cursor", err))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeCursor reads a cursor into the parts of a sort key, which are pointers.
// It returns false for the empty cursor and leaves the parts alone. A cursor of
// another listing, or one that somebody made up, is an error of kind Invalid.
func DecodeCursor(name, cursor string, key ...any) (bool, error) {
	if cursor == "" {
		return false, nil
	}
	var parts []json.RawMessage
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || len(raw) > maxCursor || json.Unmarshal(raw, &parts) != nil || len(parts) != len(key)+1 {
		return false, badCursor()
	}
	var listing string
	for i, into := range append([]any{&listing}, key...) {
		// Postgres text cannot hold NUL; no sort key of ours has one.
		if strings.Contains(string(parts[i]), `\u0000`) || string(parts[i]) == "null" || json.Unmarshal(parts[i], into) != nil {
			return false, badCursor()
		}
	}
	if listing != name {
		return false, badCursor()
	}
	return true, nil
}

func badCursor() error {
	return errs.New(errs.Invalid, "the cursor is not one of this listing").
		WithField("cursor").WithHint("pass next_cursor of the page before with the same filters, or leave it out to start over")
}
