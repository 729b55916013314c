package layers

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"io"
	"os"
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
)

// read goes over an uncompressed layer once and writes its index and contents
// into dir. everything keeps all contents. The error is of kind Malformed when
// the tar cannot be read or its hash is not diffID (sha256:…); errors of tar and
// limits are passed on.
func read(ctx context.Context, uncompressed io.Reader, diffID string, limits Limits, everything bool, dir string) (index, error) {
	contents, err := os.Create(filepath.Join(dir, contentsName))
	if err != nil {
		return index{}, diskError(err)
	}
	defer func() { _ = contents.Close() }()
	p := &pass{
		ctx: ctx, limits: limits, everything: everything, sum: sha256.New(), check: crc32.New(castagnoli),
		out: bufio.NewWriterSize(contents, 256<<10), head: make([]byte, headBytes),
	}
	if err := p.walk(uncompressed); err != nil {
		return index{}, err
	}
	if got := "sha256:" + hex.EncodeToString(p.sum.Sum(nil)); got != diffID {
		return index{}, errs.New(errs.Malformed, "content of layer is %s and should be %s", got, diffID)
	}
	p.index.sum = p.check.Sum32()
	if err := errors.Join(p.out.Flush(), os.WriteFile(filepath.Join(dir, indexName), p.index.encode(), 0o600), contents.Close()); err != nil {
		return index{}, diskError(err)
	}
	return p.index, nil
}

func diskError(err error) error {
	// The path is of this machine and says nothing to whoever reads the reason.
	var path *os.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return errs.New(errs.Unavailable, "write layers: %v", err).WithHint("check room and permissions of the cache directory")
}

// pass is one pass over a layer.
type pass struct {
	ctx        context.Context
	limits     Limits
	everything bool
	sum        hash.Hash   // of the layer
	check      hash.Hash32 // of the contents
	out        *bufio.Writer
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
	if _, err := io.Copy(io.Discard, counted); err != nil {
		return counted.explain(err)
	}
	return nil
}

// entry writes one entry down, and its content if that may be asked for.
func (p *pass) entry(h *tar.Header, content io.Reader) error {
	if err := p.weigh(h); err != nil {
		return err
	}
	e := Entry{
		Name: h.Name, Link: h.Linkname, Type: h.Typeflag, Mode: h.Mode, UID: h.Uid, GID: h.Gid, Size: h.Size, ModTime: h.ModTime,
	}
	n, err := io.ReadFull(content, p.head[:min(headBytes, max(h.Size, 0))])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if n > 0 {
		e.MIME = strings.Clone(file.MIMEType(bytes.NewReader(p.head[:n])))
	}
	if n > 0 && (p.everything || keep(e)) {
		if err := p.keep(&e, io.MultiReader(bytes.NewReader(p.head[:n]), content)); err != nil {
			return err
		}
	}
	p.index.entries = append(p.index.entries, e)
	return nil
}

func (p *pass) weigh(h *tar.Header) error {
	weight := 1 + depth(h.Name) + depth(h.Linkname)
	p.index.weight += weight
	return p.limits.Entry(weight)
}

// keep writes content down. A sparse file is longer than what the tar holds of
// it, so what is written counts as read.
func (p *pass) keep(e *Entry, content io.Reader) error {
	at := p.index.size
	w := io.MultiWriter(p.out, p.check)
	for {
		n, err := io.CopyN(w, content, 1<<20)
		p.index.size += n
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if p.index.size > p.index.bytes {
			if err := p.limits.Read(n); err != nil {
				return err
			}
		}
	}
	e.at, e.Size = at+1, p.index.size-at
	return nil
}

// depth is what a path counts beyond its own entry. The tree of an image keeps
// every parent of a path, each with its whole name: a path of a megabyte, packed
// to a kilobyte, would take hundreds of gigabytes. It counts one for about as
// many bytes of parents as an entry takes itself; ordinary paths count nothing.
func depth(path string) int64 {
	const entryBytes = 4096
	return int64(len(path)) * int64(strings.Count(path, "/")) / 2 / entryBytes
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
	c.pass.index.bytes += int64(n)
	if limit := c.pass.limits.Read(int64(n)); limit != nil {
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
	var known *errs.Error
	switch {
	case c.err != nil && (errors.As(c.err, &known) || errors.Is(c.err, context.Canceled) || errors.Is(c.err, context.DeadlineExceeded)):
		return c.err
	case errors.As(err, &known):
		return err
	case isDisk(err):
		return diskError(err)
	}
	return errs.Wrap(errs.Malformed, "unpack layers", err)
}

// isDisk reports whether an error is the contents file's.
func isDisk(err error) bool {
	var path *os.PathError
	return errors.As(err, &path)
}
