package layers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

// Settings say where layers are kept and what they may take.
type Settings struct {
	// Dir is made when it does not exist. One directory may serve several stores,
	// of several processes.
	Dir string
	// MaxBytes bounds what is kept there; 0 means no bound.
	MaxBytes int64
	// KeepFree is how much of the disk stays free, whatever is read; 0 means none.
	KeepFree int64
}

// Store keeps layers in a directory. It is safe for concurrent use.
type Store struct {
	dir     string
	flights flights
	shelf   shelf
	owner   *filelock.Private // of a directory that goes with the store; may be nil

	mu      sync.Mutex
	trusted map[string]stamp // contents whose checksum was right
}

// stamp tells whether a file is still the one that was looked at.
type stamp struct {
	size     int64
	modified time.Time
}

const (
	stagePrefix     = "staging-"
	temporaryPrefix = "tidewaiter-layers-"
	selected        = "selected"
	whole           = "whole"
)

// Open opens a store and removes what killed processes left there. The error is
// of kind Unavailable when the directory cannot be used.
func Open(settings Settings) (*Store, error) {
	if err := os.MkdirAll(settings.Dir, 0o700); err != nil {
		return nil, diskError(err)
	}
	filelock.SweepPrivate(settings.Dir, stagePrefix, time.Now())
	sweepTurns(settings.Dir)
	s := &Store{dir: settings.Dir, flights: flights{dir: settings.Dir, busy: map[string]chan struct{}{}}, trusted: map[string]stamp{}}
	s.shelf = shelf{dir: settings.Dir, max: settings.MaxBytes, keepFree: settings.KeepFree, discard: s.discard, free: freeBytes}
	s.shelf.added("", 0, time.Now())
	return s, nil
}

// OpenTemporary opens a store that goes when it is closed, in a directory of its
// own under parent; empty means the system's.
func OpenTemporary(parent string, keepFree int64) (*Store, error) {
	owner, err := filelock.NewPrivate(parent, temporaryPrefix)
	if err != nil {
		return nil, diskError(err)
	}
	s, err := Open(Settings{Dir: owner.Path(), KeepFree: keepFree})
	if err != nil {
		owner.Remove()
		return nil, err
	}
	s.owner = owner
	return s, nil
}

// SweepTemporary removes what killed processes left of temporary stores under
// parent; empty means the system's.
func SweepTemporary(parent string) {
	filelock.SweepPrivate(parent, temporaryPrefix, time.Now())
}

// Close lets go of the store. A temporary one is deleted.
func (s *Store) Close() {
	if s.owner != nil {
		s.owner.Remove()
	}
}

// Size returns how many bytes the kept layers take, as last counted.
func (s *Store) Size() int64 { return s.shelf.size() }

// Layer returns a layer: the one that is kept, or else what is read from source
// now. Who asks for a layer that is being read waits for it. Limits count for
// both. Errors are those of the source and of limits, Malformed when the layer
// is not what key says, Unavailable when this machine's disk fails or is full.
func (s *Store) Layer(ctx context.Context, key Key, source Source, limits Limits) (*Layer, error) {
	l, err := s.layer(ctx, key, source, limits, false)
	if err != nil {
		return nil, err
	}
	l.again = func() (*Layer, error) { return s.layer(ctx, key, source, Unlimited{}, true) }
	return l, nil
}

func (s *Store) layer(ctx context.Context, key Key, source Source, limits Limits, everything bool) (*Layer, error) {
	if key.Blob == "" {
		return s.read(ctx, key, "", source, limits, everything)
	}
	name := key.name(everything)
	if l, err := s.open(name, limits); err != nil || l != nil {
		return l, err
	}
	leave, err := s.flights.enter(ctx, name)
	if err != nil {
		return nil, err
	}
	defer leave()
	// Somebody may have read it meanwhile.
	if l, err := s.open(name, limits); err != nil || l != nil {
		return l, err
	}
	return s.read(ctx, key, name, source, limits, everything)
}

// name is the directory of a layer.
func (k Key) name(everything bool) string {
	variant := selected
	if everything {
		variant = whole
	}
	sum := sha256.Sum256([]byte(k.Blob + "\n" + k.DiffID))
	return hex.EncodeToString(sum[:]) + "-" + variant
}

// open opens a layer that is kept; nil when there is none. One that is damaged is
// thrown away and counts as not there.
func (s *Store) open(name string, limits Limits) (*Layer, error) {
	dir := filepath.Join(s.dir, name)
	l, x, err := load(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err == nil && !s.trust(name, l.contents, x) {
		_ = l.Close()
		err = errs.New(errs.Malformed, "layers: the contents are damaged")
	}
	if err != nil {
		s.discard(name)
		return nil, nil //nolint:nilerr // it is read again
	}
	if err := x.spend(limits); err != nil {
		_ = l.Close()
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // only says what was used last
	l.Cached = true
	return l, nil
}

// load opens what read left in dir. It checks the index, and of the contents
// only the size.
func load(dir string) (*Layer, index, error) {
	encoded, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		return nil, index{}, err
	}
	x, err := decode(encoded)
	if err != nil {
		return nil, index{}, err
	}
	contents, err := os.Open(filepath.Join(dir, contentsName))
	if err != nil {
		return nil, index{}, err
	}
	if info, err := contents.Stat(); err != nil || info.Size() != x.size {
		_ = contents.Close()
		return nil, index{}, errs.New(errs.Malformed, "layers: the contents are not as long as they should be")
	}
	return &Layer{Entries: x.entries, Skipped: x.skipped, Bytes: x.size + int64(len(encoded)), contents: contents}, x, nil
}

// trust checks contents against the checksum in the index, once while the file
// stays as it is.
func (s *Store) trust(name string, contents *os.File, x index) bool {
	found, err := stampOf(contents)
	if err != nil {
		return false
	}
	s.mu.Lock()
	known := s.trusted[name]
	s.mu.Unlock()
	if known == found {
		return true
	}
	sum := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(sum, onlyReader{contents}, make([]byte, bufferBytes)); err != nil || sum.Sum32() != x.sum {
		return false
	}
	s.remember(name, found)
	return true
}

func stampOf(f *os.File) (stamp, error) {
	info, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	return stamp{size: info.Size(), modified: info.ModTime()}, nil
}

func (s *Store) remember(name string, found stamp) {
	const most = 100_000
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.trusted) >= most {
		clear(s.trusted)
	}
	s.trusted[name] = found
}

// read reads a layer into a private directory and puts that into its place when
// everything is right. Without a name the layer lives as long as it is open.
func (s *Store) read(ctx context.Context, key Key, name string, source Source, limits Limits, everything bool) (*Layer, error) {
	stage, err := s.fill(ctx, s.dir, func(ctx context.Context, dir string) error {
		stream, err := source()
		if err != nil {
			return err
		}
		err = read(ctx, stream, key.DiffID, limits, s.shelf.room, everything, dir)
		if closeErr := stream.Close(); err == nil && closeErr != nil {
			err = unpackError("unpack layers", closeErr)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	defer stage.Remove()
	l, _, err := load(stage.Path())
	if err != nil {
		return nil, diskError(err)
	}
	if name == "" {
		return l, nil
	}
	if err := s.keep(stage, name, l.contents, l.Bytes); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// fill has a pass write into a directory of its own below parent. Who gets the
// directory removes it.
func (s *Store) fill(ctx context.Context, parent string, pass Pass) (*filelock.Private, error) {
	if err := s.shelf.room(); err != nil {
		return nil, err
	}
	stage, err := filelock.NewPrivate(parent, stagePrefix)
	if err != nil {
		return nil, diskError(err)
	}
	if err := pass(ctx, stage.Path()); err != nil {
		stage.Remove()
		return nil, err
	}
	return stage, nil
}

// keep puts a layer that was read into its place.
func (s *Store) keep(stage *filelock.Private, name string, contents *os.File, bytes int64) error {
	// What stands there was found to be no good.
	s.discard(name)
	if err := stage.Publish(filepath.Join(s.dir, name)); err != nil {
		return diskError(err)
	}
	if found, err := stampOf(contents); err == nil {
		s.remember(name, found)
	}
	s.shelf.added(name, bytes, time.Now())
	return nil
}

// discard throws a kept layer away. Who has it open goes on reading.
func (s *Store) discard(name string) {
	s.mu.Lock()
	delete(s.trusted, name)
	s.mu.Unlock()
	path := filepath.Join(s.dir, name)
	if _, err := os.Lstat(path); os.IsNotExist(err) {
		return
	}
	// In one step, so that nobody opens a half of it; a directory that is renamed
	// like this and then left is swept as one that was never finished.
	gone, err := os.MkdirTemp(s.dir, stagePrefix)
	if err == nil {
		err = os.Rename(path, filepath.Join(gone, name))
		defer func() { _ = os.RemoveAll(gone) }()
	}
	if err != nil && !os.IsNotExist(err) {
		_ = os.RemoveAll(path)
	}
}
