package layers

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/filelock"
)

// Store keeps layers in a directory. Several stores, of several processes, may
// share one. It is safe for concurrent use.
type Store struct {
	dir string
	max int64

	mu      sync.Mutex
	reading map[string]chan struct{} // layers that this process reads now
	trusted map[string]stamp         // contents whose checksum was right
}

// stamp tells whether a file is still the one that was looked at.
type stamp struct {
	size     int64
	modified time.Time
}

const (
	stagePrefix = "staging-"
	lockSuffix  = ".lock"
	// settling is how old a staging directory must be to count as left behind: no
	// layer is read for longer.
	settling = 6 * time.Hour
)

// NewStore opens a store in a directory, which it makes, and removes what killed
// processes left there. max bounds what layers take there together, in bytes; 0
// means no bound. The error is of kind Unavailable when the directory cannot be
// used.
func NewStore(dir string, max int64) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, diskError(err)
	}
	s := &Store{dir: dir, max: max, reading: map[string]chan struct{}{}, trusted: map[string]stamp{}}
	s.sweep(time.Now())
	return s, nil
}

// Layer returns a layer: the one that is kept, or else what is read from source
// now. Who asks for a layer that is being read waits for it. Limits count for
// both. Errors are those of the source and of limits, Malformed when the layer
// is not what key says, Unavailable when this machine's disk fails.
func (s *Store) Layer(ctx context.Context, key Key, source Source, limits Limits) (*Layer, error) {
	l, err := s.layer(ctx, key, source, limits, false)
	if err != nil {
		return nil, err
	}
	l.again = func() (*Layer, error) { return s.layer(ctx, key, source, Unlimited{}, true) }
	return l, nil
}

func (s *Store) layer(ctx context.Context, key Key, source Source, limits Limits, everything bool) (*Layer, error) {
	name := key.name(everything)
	if key.Blob != "" {
		if l, err := s.open(name, limits); err != nil || l != nil {
			return l, err
		}
	}
	release, err := s.enter(ctx, name)
	if err != nil {
		return nil, err
	}
	defer release()
	if key.Blob != "" { // somebody may have read it meanwhile
		if l, err := s.open(name, limits); err != nil || l != nil {
			return l, err
		}
	}
	return s.read(ctx, key, name, source, limits, everything)
}

// name is the directory of a layer.
func (k Key) name(everything bool) string {
	variant := "selected"
	if everything {
		variant = "whole"
	}
	sum := sha256.Sum256([]byte(k.Blob + "\n" + k.DiffID))
	return hex.EncodeToString(sum[:]) + "-" + variant
}

// enter lets one at a time read a layer, over all processes of this machine.
func (s *Store) enter(ctx context.Context, name string) (release func(), err error) {
	for {
		s.mu.Lock()
		done, busy := s.reading[name]
		if !busy {
			mine := make(chan struct{})
			s.reading[name] = mine
			s.mu.Unlock()
			unlock, err := filelock.Take(ctx, filepath.Join(s.dir, name+lockSuffix))
			leave := func() {
				s.mu.Lock()
				delete(s.reading, name)
				s.mu.Unlock()
				close(mine)
			}
			if err != nil {
				leave()
				return nil, err
			}
			return func() { unlock(); leave() }, nil
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, waiting(ctx)
		case <-done:
		}
	}
}

// open opens a layer that is kept; nil when there is none. One that is damaged is
// thrown away and counts as not there.
func (s *Store) open(name string, limits Limits) (*Layer, error) {
	dir := filepath.Join(s.dir, name)
	encoded, err := os.ReadFile(filepath.Join(dir, indexName))
	if err != nil {
		return nil, nil
	}
	x, err := decode(encoded)
	if err != nil {
		s.discard(name)
		return nil, nil
	}
	contents, err := os.Open(filepath.Join(dir, contentsName))
	if err != nil {
		s.discard(name)
		return nil, nil
	}
	if !s.trust(name, contents, x) {
		_ = contents.Close()
		s.discard(name)
		return nil, nil
	}
	if err := x.spend(limits); err != nil {
		_ = contents.Close()
		return nil, err
	}
	now := time.Now()
	_ = os.Chtimes(dir, now, now) // only says what was used last
	return &Layer{Entries: x.entries, Cached: true, contents: contents}, nil
}

// trust checks contents against the checksum in the index, once while the file
// stays as it is.
func (s *Store) trust(name string, contents *os.File, x index) bool {
	info, err := contents.Stat()
	if err != nil || info.Size() != x.size {
		return false
	}
	found := stamp{size: info.Size(), modified: info.ModTime()}
	s.mu.Lock()
	known := s.trusted[name]
	s.mu.Unlock()
	if known == found {
		return true
	}
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, contents); err != nil || sum.Sum32() != x.sum {
		return false
	}
	s.remember(name, found)
	return true
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
// everything is right.
func (s *Store) read(ctx context.Context, key Key, name string, source Source, limits Limits, everything bool) (*Layer, error) {
	stage, err := os.MkdirTemp(s.dir, stagePrefix)
	if err != nil {
		return nil, diskError(err)
	}
	defer func() { _ = os.RemoveAll(stage) }()
	stream, err := source()
	if err != nil {
		return nil, err
	}
	x, err := read(ctx, stream, key.DiffID, limits, everything, stage)
	if closeErr := stream.Close(); err == nil && closeErr != nil {
		err = errs.Wrap(errs.Malformed, "unpack layers", closeErr)
	}
	if err != nil {
		return nil, err
	}
	contents, err := os.Open(filepath.Join(stage, contentsName))
	if err != nil {
		return nil, diskError(err)
	}
	l := &Layer{Entries: x.entries, contents: contents}
	if key.Blob == "" {
		return l, nil // the open file lives on
	}
	if info, err := contents.Stat(); err == nil {
		s.remember(name, stamp{size: info.Size(), modified: info.ModTime()})
	}
	if err := os.Rename(stage, filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
		_ = l.Close()
		return nil, diskError(err)
	}
	s.makeRoom(name)
	return l, nil
}

// discard throws a kept layer away. Who has it open goes on reading.
func (s *Store) discard(name string) {
	s.mu.Lock()
	delete(s.trusted, name)
	s.mu.Unlock()
	_ = os.RemoveAll(filepath.Join(s.dir, name))
}

// kept is a layer on disk.
type kept struct {
	name string
	used time.Time
	size int64
}

// makeRoom throws away the layers that were used longest ago until the rest is
// within the bound, but not the newest one.
func (s *Store) makeRoom(newest string) {
	if s.max <= 0 {
		return
	}
	all, total := s.list()
	slices.SortFunc(all, func(a, b kept) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name)) })
	for _, k := range all {
		if total <= s.max {
			return
		}
		if k.name != newest {
			s.discard(k.name)
			_ = os.Remove(filepath.Join(s.dir, k.name+lockSuffix))
			total -= k.size
		}
	}
}

// list returns what is kept and how much that is.
func (s *Store) list() (all []kept, total int64) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, 0
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || strings.HasPrefix(e.Name(), stagePrefix) {
			continue
		}
		k := kept{name: e.Name(), used: info.ModTime()}
		for _, file := range []string{indexName, contentsName} {
			if info, err := os.Stat(filepath.Join(s.dir, e.Name(), file)); err == nil {
				k.size += info.Size()
			}
		}
		all, total = append(all, k), total+k.size
	}
	return all, total
}

// Size returns how many bytes the kept layers take.
func (s *Store) Size() int64 {
	_, total := s.list()
	return total
}

// sweep removes staging directories that nobody works on any more.
func (s *Store) sweep(now time.Time) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && strings.HasPrefix(e.Name(), stagePrefix) && now.Sub(info.ModTime()) > settling {
			_ = os.RemoveAll(filepath.Join(s.dir, e.Name()))
		}
	}
}
