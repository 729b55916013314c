package layers

import (
	"bufio"
	"bytes"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// maxWindow bounds the memory that a zstd stream may ask for to be unpacked.
const maxWindow = 128 << 20

// Decompress returns the tar of a layer's blob: gzip, zstd (those with an index of
// their own, estargz and zstd:chunked, included) or not compressed at all. What
// it is, its first bytes say; media types are often wrong. The work is done ahead
// of the reader, in a goroutine that ends with Close or at the end. Closing it
// closes the blob.
func Decompress(blob io.ReadCloser) (io.ReadCloser, error) {
	buffered := bufio.NewReaderSize(blob, 256<<10)
	first, err := buffered.Peek(4)
	if err != nil && len(first) == 0 {
		if err == io.EOF { //nolint:errorlint // Peek returns what Read does
			return blob, nil
		}
		_ = blob.Close()
		return nil, err
	}
	switch {
	case bytes.HasPrefix(first, []byte{0x1f, 0x8b}):
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			_ = blob.Close()
			return nil, errs.Wrap(errs.Malformed, "unpack gzip", err)
		}
		return ahead(unpacked, blob), nil
	case bytes.Equal(first, []byte{0x28, 0xb5, 0x2f, 0xfd}), len(first) == 4 && first[0]&0xf0 == 0x50 && bytes.Equal(first[1:], []byte{0x2a, 0x4d, 0x18}):
		unpacked, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			_ = blob.Close()
			return nil, errs.Wrap(errs.Malformed, "unpack zstd", err)
		}
		return ahead(unpacked.IOReadCloser(), blob), nil
	}
	return both{buffered, blob}, nil
}

// both reads from one and closes the other.
type both struct {
	io.Reader
	io.Closer
}

// readAhead unpacks in a goroutine of its own, a few pieces ahead, so that
// unpacking and what is done with the content use two cores.
type readAhead struct {
	pieces chan piece
	free   chan []byte
	stop   chan struct{}
	done   chan struct{}
	blob   io.Closer
	rest   []byte
	buffer []byte
	err    error
}

type piece struct {
	content []byte
	err     error
}

const (
	pieceBytes  = 256 << 10
	piecesAhead = 4
)

func ahead(unpacked io.ReadCloser, blob io.Closer) *readAhead {
	a := &readAhead{
		pieces: make(chan piece, piecesAhead), free: make(chan []byte, piecesAhead+2),
		stop: make(chan struct{}), done: make(chan struct{}), blob: blob,
	}
	for range piecesAhead + 2 {
		a.free <- nil // made when first used
	}
	go a.run(unpacked)
	return a
}

func (a *readAhead) run(unpacked io.ReadCloser) {
	defer close(a.done)
	defer func() { _ = unpacked.Close() }()
	for {
		var buffer []byte
		select {
		case <-a.stop:
			return
		case buffer = <-a.free:
		}
		if buffer == nil {
			buffer = make([]byte, pieceBytes)
		}
		n, err := fill(unpacked, buffer)
		select {
		case <-a.stop:
			return
		case a.pieces <- piece{buffer[:n], err}:
		}
		if err != nil {
			return
		}
	}
}

// fill reads until the buffer is full or there is an error. A panic of a
// decoder becomes one: nothing would catch it in a goroutine.
func fill(r io.Reader, buffer []byte) (n int, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errs.New(errs.Malformed, "unpack layers: panic: %v", p)
		}
	}()
	for n < len(buffer) && err == nil {
		var more int
		more, err = r.Read(buffer[n:])
		n += more
	}
	return n, err
}

// Read reads on.
func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		if a.buffer != nil {
			a.free <- a.buffer[:cap(a.buffer)]
			a.buffer = nil
		}
		next := <-a.pieces
		a.rest, a.buffer, a.err = next.content, next.content, next.err
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close stops the unpacking and closes the blob.
func (a *readAhead) Close() error {
	close(a.stop)
	err := a.blob.Close() // ends a read under way
	<-a.done
	return err
}
