// Package layers keeps what was read of image layers: each layer is read once,
// in one pass, and what catalogers may ask of it stays on disk under its digests.
//
// It is responsible for checking that a layer is what its image says, for what
// of it is kept, for the room this takes, and for surviving crashes and other
// processes beside it. It must not know images, catalogers or registries: it is
// handed a stream and hands out entries and contents.
package layers

import (
	"context"
	"io"
	"os"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Key names a layer: by the digest of the blob and that of its uncompressed tar,
// both "sha256:…". Both count: a blob is only known to unpack to what it was
// once seen to unpack to. An empty Blob is never found again.
type Key struct{ Blob, DiffID string }

// Source opens the uncompressed stream of a layer. It may be called more than
// once.
type Source func() (io.ReadCloser, error)

// Layer is a layer that was read. It is safe for concurrent use. Close it after
// use.
type Layer struct {
	Entries []Entry
	// Cached tells whether it was there already.
	Cached bool
	// Skipped counts what no file system could hold and was left out: entries with
	// endless names, contents as large as disks.
	Skipped int64
	// Bytes is what it takes on disk.
	Bytes int64

	contents *os.File
	again    func() (*Layer, error) // reads the layer once more and keeps everything

	mu     sync.Mutex
	whole  *Layer
	failed error
}

// Content is the content of an entry.
type Content interface {
	io.ReadSeekCloser
	io.ReaderAt
}

// Open returns the content of the entry with that index. Content that was not kept is read from the source, with
// everything else of the layer, once: a failure is told again and again.
func (l *Layer) Open(entry int) (Content, error) {
	switch e := l.Entries[entry]; e.at {
	case without, leftOut:
		return section{io.NewSectionReader(l.contents, 0, 0)}, nil
	case notKept:
		whole, err := l.everything()
		if err != nil {
			return nil, err
		}
		return whole.Open(entry)
	default:
		return section{io.NewSectionReader(l.contents, e.at-1, e.length)}, nil
	}
}

// everything returns the layer with all contents.
func (l *Layer) everything() (*Layer, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.whole != nil || l.failed != nil {
		return l.whole, l.failed
	}
	if l.again == nil {
		return nil, errs.New(errs.Internal, "layers: content was not kept")
	}
	whole, err := l.again()
	if err == nil && len(whole.Entries) != len(l.Entries) {
		_ = whole.Close()
		whole, err = nil, errs.New(errs.Malformed, "layers: the layer changed between two readings")
	}
	l.whole, l.failed = whole, err
	return whole, err
}

// Missed reports whether content had to be read again.
func (l *Layer) Missed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.whole != nil
}

// Written returns how many bytes were written to disk for it.
func (l *Layer) Written() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	if !l.Cached {
		n = l.Bytes
	}
	if l.whole != nil {
		n += l.whole.Written()
	}
	return n
}

// Close lets go of the contents. What was opened cannot be read any more.
func (l *Layer) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.whole != nil {
		_ = l.whole.Close()
	}
	return l.contents.Close()
}

// section is content on disk. Closing it does nothing: the layer closes the
// file.
type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// spend tells limits what a layer takes that is not read anew.
func (x index) spend(limits Limits) error {
	if err := limits.Read(x.bytes); err != nil {
		return err
	}
	return limits.Entry(x.weight)
}

// Unlimited are limits that are never exceeded.
type Unlimited struct{}

// Read lets everything pass.
func (Unlimited) Read(int64) error { return nil }

// Entry lets everything pass.
func (Unlimited) Entry(int64) error { return nil }

var _ Limits = Unlimited{}

// waiting is a context's end while something else is done first.
func waiting(ctx context.Context) error { return errs.Op("layers: wait for the layer", ctx.Err()) }
