package vulndb

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Grype's archives hold one file, sometimes a second; anything with many
// entries is something else.
const maxEntries = 64

// maxWindow bounds the memory a zstd stream may ask for. Grype's archives are
// packed with a window of 128 MB.
const maxWindow = 256 << 20

var sqliteMagic = []byte("SQLite format 3\x00")

// unpacker copies the database out of an archive, or out of the bare file.
type unpacker struct {
	ctx   context.Context
	limit int64
}

// unpack writes the database found in r to dest and returns its checksum. What
// r holds is told from its first bytes, never from a name.
func (u unpacker) unpack(r io.Reader, dest string) (checksum string, err error) {
	plain, done, err := u.decompress(bufio.NewReader(contextReader{u.ctx, r}))
	if err != nil {
		return "", err
	}
	defer done()
	limited := bufio.NewReader(&limitReader{r: plain, left: u.limit + 1<<20, limit: u.limit})
	head, err := limited.Peek(512)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", unpackError(err)
	}
	switch {
	case bytes.HasPrefix(head, sqliteMagic):
		checksum, err = u.write(limited, dest)
	case len(head) == 512 && bytes.HasPrefix(head[257:], []byte("ustar")):
		checksum, err = u.untar(tar.NewReader(limited), dest)
	default:
		return "", errs.New(errs.Malformed, "vulndb: neither a vulnerability database nor an archive of one").
			WithHint("expected a .tar.zst, .tar.gz or .tar.xz that holds vulnerability.db, or a vulnerability.db itself")
	}
	if err == nil {
		// Reading to the end checks the trailing checksum of the compression.
		_, err = io.Copy(io.Discard, limited)
	}
	return checksum, unpackError(err)
}

// decompress recognises the compression of r.
func (u unpacker) decompress(r *bufio.Reader) (plain io.Reader, done func(), err error) {
	done = func() {}
	head, err := r.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, done, unpackError(err)
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(r)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var z *zstd.Decoder
		z, err = zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2))
		if err == nil {
			plain, done = z, z.Close
		}
	case bytes.HasPrefix(head, []byte{0xfd, '7', 'z', 'X', 'Z', 0}):
		plain, err = xz.NewReader(r) // its dictionary is bounded by what was unpacked so far
	default:
		plain, err = r, nil
	}
	return plain, done, unpackError(err)
}

// untar takes vulnerability.db out of a tar stream and refuses an archive that
// holds anything no database archive needs.
func (u unpacker) untar(t *tar.Reader, dest string) (checksum string, err error) {
	for n := 0; ; n++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		if err := checkEntry(h, n); err != nil {
			return "", err
		}
		if h.Typeflag != tar.TypeReg || path.Base(h.Name) != v6.VulnerabilityDBFileName {
			continue
		}
		if checksum != "" {
			return "", errs.New(errs.Malformed, "vulndb: the archive holds more than one %s", v6.VulnerabilityDBFileName)
		}
		if checksum, err = u.write(t, dest); err != nil {
			return "", err
		}
	}
	if checksum == "" {
		return "", errs.New(errs.Malformed, "vulndb: the archive holds no %s", v6.VulnerabilityDBFileName)
	}
	return checksum, nil
}

func checkEntry(h *tar.Header, n int) error {
	switch {
	case n >= maxEntries:
		return errs.New(errs.Malformed, "vulndb: the archive holds more than %d entries", maxEntries)
	case !filepath.IsLocal(h.Name) || strings.ContainsRune(h.Name, '\\'):
		return errs.New(errs.Malformed, "vulndb: archive entry %q leaves its directory", h.Name)
	case h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir:
		return errs.New(errs.Malformed, "vulndb: archive entry %q is neither a file nor a directory", h.Name)
	}
	return nil
}

// write copies a database to dest and returns its checksum. The limit is
// applied here too: a sparse entry gives more bytes than its archive holds.
func (u unpacker) write(r io.Reader, dest string) (checksum string, err error) {
	f, err := os.OpenFile(dest, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", diskError("vulndb: unpack", err)
	}
	defer f.Close()
	sum := sha256.New()
	w := &diskWriter{f}
	if _, err := io.Copy(io.MultiWriter(w, sum), &limitReader{r: r, left: u.limit, limit: u.limit}); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", diskError("vulndb: unpack", err)
	}
	return algorithm + hex.EncodeToString(sum.Sum(nil)), nil
}

// diskWriter tells failures of the disk from failures of the archive.
type diskWriter struct{ f *os.File }

func (w *diskWriter) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, diskError("vulndb: write", err)
}

// unpackError gives the errors of decompressors a kind.
func unpackError(err error) error {
	var known *errs.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errs.Op("vulndb: unpack", err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errs.Wrap(errs.Malformed, "vulndb: the archive ends early", err)
	}
	return errs.Wrap(errs.Malformed, "vulndb: unpack", err)
}

// limitReader fails, rather than ends, after so many bytes.
type limitReader struct {
	r           io.Reader
	left, limit int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.r.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		return 0, errs.New(errs.TooLarge, "vulndb: larger than the %d bytes allowed", l.limit)
	}
	return n, err
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// countReader reports how much was read.
type countReader struct {
	r           io.Reader
	done, total int64
	stage       string
	progress    Progress
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.done += int64(n)
	c.progress.report(c.stage, c.done, c.total)
	return n, err
}
