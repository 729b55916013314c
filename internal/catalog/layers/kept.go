package layers

import (
	"bufio"
	"context"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

// Pass goes over a layer once and leaves in dir what is to be kept of it, as Read
// does. It may be done by another process, whose work is checked.
type Pass func(ctx context.Context, dir string) error

// Kept is a layer that is on disk and not in memory.
type Kept struct {
	// Dir is where Load finds it, as long as no other layer needs its room.
	Dir string
	// Cached tells whether it was there already.
	Cached bool
	// Skipped and Bytes are those of Layer.
	Skipped, Bytes int64
}

// Keep is Layer without its content: it makes sure that a layer is on disk, has
// pass read it when it is not, and returns where it is. The directory that pass
// writes to is made in stage, which has to be on the disk of the store; empty is
// the store's own place. With everything it is the variant that leaves no content
// out. Layers without a Blob cannot be kept.
//
// What pass left is checked before it is kept: that it is an index and contents
// and nothing else, that the index is whole and the contents are as long as it
// says. The content itself is believed.
func (s *Store) Keep(ctx context.Context, key Key, everything bool, limits Limits, stage string, pass Pass) (*Kept, error) {
	if key.Blob == "" {
		return nil, errs.New(errs.Internal, "layers: a layer without a blob cannot be kept")
	}
	name := key.name(everything)
	if k, err := s.find(name, limits); err != nil || k != nil {
		return k, err
	}
	leave, err := s.flights.enter(ctx, name)
	if err != nil {
		return nil, err
	}
	defer leave()
	// Somebody may have read it meanwhile.
	if k, err := s.find(name, limits); err != nil || k != nil {
		return k, err
	}
	if stage == "" {
		stage = s.dir
	}
	filled, err := s.fill(ctx, stage, pass)
	if err != nil {
		return nil, err
	}
	defer filled.Remove()
	return s.adopt(filled.Path(), name, limits)
}

// Room makes sure that the disk is not filled up, at the cost of kept layers. The
// error is of kind Unavailable.
func (s *Store) Room() error { return s.shelf.room() }

// CheckRoom reports, with an error of kind Unavailable, when less than keepFree is
// left on the disk of dir; an empty one is the system's for temporary files.
func CheckRoom(dir string, keepFree int64) error {
	if dir == "" {
		dir = os.TempDir()
	}
	s := shelf{dir: dir, keepFree: keepFree, free: freeBytes, discard: func(string) {}}
	return s.room()
}

// Read is the pass over a layer: see read.
func Read(ctx context.Context, uncompressed io.Reader, diffID string, limits Limits, everything bool, dir string) error {
	return read(ctx, uncompressed, diffID, limits, func() error { return nil }, everything, dir)
}

// Load opens a layer that is on disk. again returns the variant with everything
// when content is wanted that was not kept. The error is of kind NotFound when
// nothing is there (any more).
func Load(dir string, again func() (*Layer, error)) (*Layer, error) {
	l, _, err := load(dir)
	switch {
	case os.IsNotExist(err):
		return nil, errs.New(errs.NotFound, "layers: the layer is not kept any more")
	case err != nil:
		return nil, errs.Op("layers: load", err)
	}
	l.again = again
	return l, nil
}

// find looks for a layer that is kept; nil when there is none. One that is
// damaged is thrown away and counts as not there.
func (s *Store) find(name string, limits Limits) (*Kept, error) {
	dir := filepath.Join(s.dir, name)
	p, err := peek(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err == nil {
		defer p.close()
		if !s.trust(name, p.contents, p.index) {
			err = errs.New(errs.Malformed, "layers: the contents are damaged")
		}
	}
	if err != nil {
		s.discard(name)
		return nil, nil
	}
	if err := p.index.spend(limits); err != nil {
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // only says what was used last
	return &Kept{Dir: dir, Cached: true, Skipped: p.index.skipped, Bytes: p.bytes}, nil
}

// adopt takes over what somebody else wrote: the two files, and nothing else that
// may be there. They are looked at where only we can change them.
func (s *Store) adopt(dir, name string, limits Limits) (*Kept, error) {
	own, err := filelock.NewPrivate(s.dir, stagePrefix)
	if err != nil {
		return nil, diskError(err)
	}
	defer own.Remove()
	for _, file := range []string{indexName, contentsName} {
		if err := os.Rename(filepath.Join(dir, file), filepath.Join(own.Path(), file)); err != nil {
			return nil, notRight(err)
		}
	}
	p, err := peek(own.Path())
	if err != nil {
		return nil, notRight(err)
	}
	defer p.close()
	if err := p.index.spend(limits); err != nil {
		return nil, err
	}
	if err := s.keep(own, name, p.contents, p.bytes); err != nil {
		return nil, err
	}
	return &Kept{Dir: filepath.Join(s.dir, name), Skipped: p.index.skipped, Bytes: p.bytes}, nil
}

func notRight(err error) error {
	return errs.Wrap(errs.Malformed, "layers: what was read of the layer is not right", err)
}

// peeked is what an index says of its layer without its entries, and the
// contents.
type peeked struct {
	index    index
	contents *os.File
	bytes    int64 // that both take
}

func (p *peeked) close() { _ = p.contents.Close() }

// peek checks an index as a whole and of the contents the size. It takes no
// memory for the entries.
func peek(dir string) (p *peeked, err error) {
	f, size, err := openPlain(filepath.Join(dir, indexName))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	p = &peeked{}
	if p.index, err = readHeader(f, size); err != nil {
		return nil, err
	}
	contents, length, err := openPlain(filepath.Join(dir, contentsName))
	if err != nil {
		return nil, err
	}
	if length != p.index.size {
		_ = contents.Close()
		return nil, errs.New(errs.Malformed, "layers: the contents are not as long as they should be")
	}
	p.contents, p.bytes = contents, size+length
	return p, nil
}

// readHeader reads what stands before the entries, and checks the sum over all.
func readHeader(f io.Reader, size int64) (index, error) {
	const headerNumbers = 6
	buffered := bufio.NewReaderSize(f, bufferBytes)
	head, err := buffered.Peek(int(min(size, int64(len(magic)+headerNumbers*binary.MaxVarintLen64))))
	if err != nil || size < int64(len(magic)+sumBytes) || string(head[:len(magic)]) != magic {
		return index{}, errs.New(errs.Malformed, "layers: not an index of this version")
	}
	r := reader{rest: string(head[len(magic):])}
	x := index{bytes: r.number(), weight: r.number(), skipped: r.number(), size: r.number(), sum: uint32(r.number())}
	if r.number(); r.bad || x.bytes < 0 || x.weight < 0 || x.size < 0 {
		return index{}, errs.New(errs.Malformed, "layers: the index is damaged")
	}
	sum := crc32.New(castagnoli)
	if _, err := io.CopyN(sum, buffered, size-sumBytes); err != nil {
		return index{}, err
	}
	var want [sumBytes]byte
	if _, err := io.ReadFull(buffered, want[:]); err != nil {
		return index{}, err
	}
	if binary.LittleEndian.Uint32(want[:]) != sum.Sum32() {
		return index{}, errs.New(errs.Malformed, "layers: the index is damaged")
	}
	return x, nil
}
