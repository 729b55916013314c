package hostileimage

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is how the tar of a layer is packed.
type Compression string

// The compressions. Chunked are zstd frames with a table of contents in frames
// that readers skip, as in zstd:chunked; Stargz are gzip members of one chunk each
// with a footer of their own, as in estargz.
const (
	None    Compression = ""
	Gzip    Compression = "gzip"
	Zstd    Compression = "zstd"
	Chunked Compression = "zstd:chunked"
	Stargz  Compression = "estargz"
)

// mediaType is OCI's for a layer so packed.
func (c Compression) mediaType() string {
	switch c {
	case Gzip, Stargz:
		return ociTar + "+gzip"
	case Zstd, Chunked:
		return ociTar + "+zstd"
	}
	return ociTar
}

// Tar writes the tar of a layer.
type Tar func(io.Writer) error

// Entries is a tar of headers and contents.
func Entries(write func(*tar.Writer) error) Tar {
	return func(out io.Writer) error {
		w := tar.NewWriter(out)
		if err := write(w); err != nil {
			return err
		}
		return w.Close()
	}
}

// Files is a tar of regular files: name, content, name, content and so on.
func Files(pairs ...string) Tar {
	return Entries(func(w *tar.Writer) error {
		for i := 0; i+1 < len(pairs); i += 2 {
			if err := file(w, pairs[i], pairs[i+1]); err != nil {
				return err
			}
		}
		return nil
	})
}

// file adds a regular file.
func file(w *tar.Writer, name, content string) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err := io.WriteString(w, content)
	return err
}

// Layer is the blob of a tar. The content is made once to learn its digests and
// again whenever it is read.
func Layer(t Tar, c Compression) Blob {
	packed := opener(func(w io.Writer) error { return pack(t, c, w) })
	unpacked := sha256.New()
	sum, size := measure(opener(func(w io.Writer) error { return pack(teed(t, unpacked), c, w) })())
	return Blob{MediaType: c.mediaType(), Digest: sum, Size: size, DiffID: "sha256:" + hex.EncodeToString(unpacked.Sum(nil)), open: packed}
}

// teed writes the tar to a hash besides.
func teed(t Tar, sum hash.Hash) Tar {
	return func(w io.Writer) error { return t(io.MultiWriter(w, sum)) }
}

func measure(content io.ReadCloser) (digest string, size int64) {
	defer func() { _ = content.Close() }()
	sum := sha256.New()
	size, err := io.Copy(sum, content)
	if err != nil {
		panic(fmt.Sprintf("hostileimage: %v", err)) // it is written by us
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil)), size
}

func pack(t Tar, c Compression, out io.Writer) error {
	var w io.WriteCloser
	var err error
	switch c {
	case Gzip:
		w, err = gzip.NewWriterLevel(out, gzip.BestSpeed)
	case Stargz:
		w = &members{out: out}
	case Zstd, Chunked:
		w, err = zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	default:
		return t(out)
	}
	if err != nil {
		return err
	}
	if c == Chunked {
		if err := skipped(out, "manifest"); err != nil {
			return err
		}
	}
	if err := t(w); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	if c == Chunked {
		return skipped(out, "footer")
	}
	return nil
}

// skipped writes a frame that readers of zstd skip (RFC 8878, 3.1.2).
func skipped(out io.Writer, content string) error {
	_, err := out.Write(append([]byte{0x50, 0x2a, 0x4d, 0x18, byte(len(content)), 0, 0, 0}, content...))
	return err
}

// members packs every write into a gzip member of its own, and ends with an empty
// one that has an extra field.
type members struct{ out io.Writer }

// Write packs p.
func (m *members) Write(p []byte) (int, error) { return len(p), m.member(p, nil) }

// Close writes the footer.
func (m *members) Close() error { return m.member(nil, []byte("SG\x16\x000000000000000000STARGZ")) }

func (m *members) member(content, extra []byte) error {
	w := gzip.NewWriter(m.out)
	w.Extra = extra
	if _, err := w.Write(content); err != nil {
		return err
	}
	return w.Close()
}
