package layers

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/anchore/stereoscope/pkg/file"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Limits are told what a layer takes as it is read. A limit that is exceeded
// ends the reading with its error.
type Limits interface {
	// Read is told of n more uncompressed bytes of a layer.
	Read(n int64) error
	// Entry is told of an entry and what it counts.
	Entry(weight int64) error
}

const (
	indexName    = "index"
	contentsName = "contents"
	// headBytes is how much of a file shows its media type; the library looks at
	// no more.
	headBytes = 3072
	// longestPath is the longest path that Linux takes. An entry, or a link, with a
	// longer one is in no container's file system.
	longestPath = 4096
	// largestSparse is how much of a sparse file is kept. A header of a few bytes
	// can claim exabytes.
	largestSparse = 256 << 20
)

// read goes over an uncompressed layer once and writes its index and contents
// into dir. everything keeps all contents; room is asked before more is written.
// It needs nothing but the stream and dir. The error is of kind Malformed when
// the tar cannot be read or its hash is not diffID (sha256:…); errors of the
// stream, of limits and of room are passed on.
func read(ctx context.Context, uncompressed io.Reader, diffID string, limits Limits, room func() error, everything bool, dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, contentsName), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return diskError(err)
	}
	defer func() { _ = f.Close() }()
	p := &pass{
		ctx: ctx, limits: limits, everything: everything, sum: sha256.New(),
		out: newContents(f, room), head: make([]byte, headBytes),
	}
	if err := p.walk(uncompressed); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(p.sum.Sum(nil)); got != diffID {
		return errs.New(errs.Malformed, "content of layer is %s and should be %s", got, diffID)
	}
	if err := p.out.flush(); err != nil {
		return err
	}
	p.index.size, p.index.sum = p.out.size, p.out.sum
	if err := errors.Join(os.WriteFile(filepath.Join(dir, indexName), p.index.encode(), 0o600), f.Close()); err != nil {
		return diskError(err)
	}
	return nil
}

func diskError(err error) error {
	// The path is of this machine and says nothing to whoever reads the reason.
	var path *os.PathError
	var link *os.LinkError
	if errors.As(err, &path) {
		err = path.Err
	} else if errors.As(err, &link) {
		err = link.Err
	}
	return errs.New(errs.Unavailable, "write layers: %v", err).WithHint("check room and permissions of the directories for temporary files and for the cache")
}

// pass is one pass over a layer.
type pass struct {
	ctx        context.Context
	limits     Limits
	everything bool
	sum        hash.Hash // of the layer
	out        *contents
	head       []byte
	index      index
}

// walk reads the tar to its end, and what stands behind it: the hash is over all
// of it.
func (p *pass) walk(uncompressed io.Reader) error {
	counted := &counter{pass: p, in: uncompressed}
	t := tar.NewReader(counted)
	for {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil || errors.Is(err, tar.ErrInsecurePath) {
			err = p.entry(header, t)
		}
		if err != nil {
			return counted.explain(err)
		}
	}
	if _, err := io.CopyBuffer(io.Discard, onlyReader{counted}, make([]byte, 64<<10)); err != nil {
		return counted.explain(err)
	}
	return nil
}

// onlyReader hides everything but Read.
type onlyReader struct{ io.Reader }

// entry writes one entry down, and its content if that may be asked for.
func (p *pass) entry(h *tar.Header, content io.Reader) error {
	clean := path.Clean("/" + h.Name)
	if len(clean) > longestPath || len(h.Linkname) > longestPath {
		p.index.skipped++
		return p.weigh(1)
	}
	if err := p.weigh(weightOf(clean, h.Linkname)); err != nil {
		return err
	}
	e := Entry{Path: clean, Link: h.Linkname, Type: h.Typeflag, Mode: h.Mode, UID: h.Uid, GID: h.Gid, Size: h.Size}
	n, err := io.ReadFull(content, p.head[:min(headBytes, max(h.Size, 0))])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if n > 0 {
		e.MIME = strings.Clone(file.MIMEType(bytes.NewReader(p.head[:n])))
		if err := p.content(&e, h, n, content); err != nil {
			return err
		}
	}
	p.index.entries = append(p.index.entries, e)
	return nil
}

// content keeps the content of an entry, or says why not. The first n bytes of
// it are in head.
func (p *pass) content(e *Entry, h *tar.Header, n int, rest io.Reader) error {
	switch {
	case isSparse(h) && h.Size > largestSparse:
		e.at = leftOut
		p.index.skipped++
		return nil
	case !p.everything && !keep(*e):
		e.at = notKept
		if isSparse(h) {
			// It would be as large if it were asked for after all.
			return p.charge(h.Size)
		}
		return nil
	}
	e.at = p.out.size + 1
	before := p.index.bytes
	if err := p.out.add(p.head[:n]); err != nil {
		return err
	}
	for {
		more, err := p.out.from(rest)
		// What a sparse file has beyond the tar counts as read.
		e.length = p.out.size - (e.at - 1)
		if holes := e.length - int64(n) - (p.index.bytes - before); holes > 0 {
			if err := p.charge(holes); err != nil {
				return err
			}
		}
		if err != nil || !more {
			return err
		}
	}
}

func isSparse(h *tar.Header) bool {
	if h.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// weightOf is what an entry counts: one, and more for long and deep paths, which
// take more memory than others. Ordinary paths count nothing.
func weightOf(path, link string) int64 {
	const textBytes, depth = 512, 48
	return 1 + int64(len(path)+len(link))/textBytes + max(0, int64(strings.Count(path, "/"))-depth)
}

func (p *pass) weigh(weight int64) error {
	p.index.weight += weight
	return p.limits.Entry(weight)
}

func (p *pass) charge(n int64) error {
	p.index.bytes += n
	return p.limits.Read(n)
}

// counter hashes and counts a stream as it is read, and ends it with ctx.
type counter struct {
	pass *pass
	in   io.Reader
	err  error
}

// Read reads on.
func (c *counter) Read(b []byte) (int, error) {
	if c.err == nil {
		c.err = c.pass.ctx.Err()
	}
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.in.Read(b)
	c.pass.sum.Write(b[:n])
	if limit := c.pass.charge(int64(n)); limit != nil {
		err = limit
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// explain prefers what went wrong while reading to what the tar reader made of
// it.
func (c *counter) explain(err error) error {
	if c.err != nil {
		err = c.err
	}
	return unpackError("unpack layers", err)
}

// unpackError keeps the kind of an error that has one; anything else is the
// content's fault.
func unpackError(op string, err error) error {
	var known *errs.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errs.Wrap(errs.Malformed, op, err)
}
