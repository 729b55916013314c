package catalog

import (
	"archive/tar"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"iter"
	"strings"
)

// tarCounter counts the entries of a tar stream as it goes by, without keeping
// any of it. The archive/tar package that reads the layer afterwards does the
// counting: where an entry ends depends on its type, its size field and the
// records before it, and whoever reads them differently can be made to pass
// over entries. The zero value is ready; stop it when the stream ends.
type tarCounter struct {
	piece   []byte // what the walk has not read yet
	entries int64
	resume  func() (struct{}, bool) // runs the walk until it wants another piece
	cancel  func()
}

// count takes the next piece of the stream and returns how many entries it
// completes the headers of. What follows the end of the archive, or a header
// that is none, holds no entries. It counts nothing after stop.
func (c *tarCounter) count(p []byte) (entries int64) {
	if c.resume == nil {
		c.resume, c.cancel = iter.Pull(c.walk)
	}
	before := c.entries
	c.piece = p
	c.resume()
	c.piece = nil // it is the caller's
	return c.entries - before
}

// stop releases what a started count holds.
func (c *tarCounter) stop() {
	if c.cancel != nil {
		c.cancel()
	}
}

// walk reads the archive, yielding whenever it has used up a piece.
func (c *tarCounter) walk(yield func(struct{}) bool) {
	r := tar.NewReader(&pieces{counter: c, yield: yield})
	for {
		header, err := r.Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return
		}
		c.entries += 1 + depth(header.Name) + depth(header.Linkname)
	}
}

// depth is what a path counts beyond its own entry. The index of a layer keeps
// every parent of a path, each with its whole name: a path of a megabyte, packed
// to a kilobyte, would take hundreds of gigabytes. It counts one for about as
// many bytes of parents as an entry takes itself; ordinary paths count nothing.
func depth(path string) int64 {
	const entryBytes = 4096
	return int64(len(path)) * int64(strings.Count(path, "/")) / 2 / entryBytes
}

// pieces is the stream as the walk reads it.
type pieces struct {
	counter *tarCounter
	yield   func(struct{}) bool
}

// Read waits for the next piece when there is none, and ends after stop.
func (s *pieces) Read(p []byte) (int, error) {
	for len(s.counter.piece) == 0 {
		if !s.yield(struct{}{}) {
			return 0, io.EOF
		}
	}
	n := copy(p, s.counter.piece)
	s.counter.piece = s.counter.piece[n:]
	return n, nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
