package layers

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// largestWindow bounds the memory that a zstd stream may ask for to be unpacked.
// The command line tool takes no more by default.
const largestWindow = 128 << 20

// Decompress returns the tar of a layer's blob: gzip, zstd (those with an index of
// their own, estargz and zstd:chunked, included) or not compressed at all. What
// it is, its first bytes say; media types are often wrong. Fetching and unpacking
// are done ahead of the reader, in goroutines that end with Close or at the end.
// Closing it closes the blob. Errors that the blob gives keep their kind; those of
// the content are of kind Malformed, or TooLarge when unpacking it would take too
// much memory.
func Decompress(blob io.ReadCloser) (io.ReadCloser, error) {
	fetched := ahead(blob, 1, blob)
	buffered := bufio.NewReaderSize(fetched, 64<<10)
	unpack, err := unpacker(buffered)
	if err != nil {
		_ = fetched.Close()
		return nil, err
	}
	if unpack == nil {
		return both{buffered, fetched}, nil
	}
	return ahead(unpack, pieceBytes, fetched), nil
}

// unpacker returns what unpacks a blob by its first bytes, nil when it is not
// packed.
func unpacker(blob *bufio.Reader) (io.Reader, error) {
	first, err := blob.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, unpackError("read layer", err)
	}
	switch {
	case bytes.HasPrefix(first, []byte{0x1f, 0x8b}):
		unpacked, err := gzip.NewReader(blob)
		if err != nil {
			return nil, unpackError("unpack gzip", err)
		}
		return unpacked, nil
	case isZstd(first):
		unpacked, err := zstd.NewReader(blob, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(largestWindow))
		if err != nil {
			return nil, unpackError("unpack zstd", err)
		}
		return zstdReader{unpacked}, nil
	}
	return nil, nil
}

// isZstd reports whether a frame of zstd begins here: one with content, or one
// that is to be skipped.
func isZstd(first []byte) bool {
	return bytes.Equal(first, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(first) == 4 && first[0]&0xf0 == 0x50 && bytes.Equal(first[1:], []byte{0x2a, 0x4d, 0x18})
}

// zstdReader tells limits of memory from damage.
type zstdReader struct{ *zstd.Decoder }

// Read reads on.
func (z zstdReader) Read(p []byte) (int, error) {
	n, err := z.Decoder.Read(p)
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		err = errs.New(errs.TooLarge, "a layer needs more than %d MiB of memory to be unpacked", largestWindow>>20)
	}
	return n, err
}

// both reads from one and closes the other.
type both struct {
	io.Reader
	io.Closer
}
