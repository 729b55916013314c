package layers

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// shelf is the room that kept layers take.
type shelf struct {
	dir      string
	max      int64 // 0 for no bound
	keepFree int64 // of the disk; 0 for none
	discard  func(name string)
	free     func(dir string) (bytes int64, known bool)

	mu      sync.Mutex
	taken   int64 // as last counted, and what was added since
	counted time.Time
}

// recount is how long a count of the directory is good for: other processes add
// to it.
const recount = time.Minute

// kept is a layer on disk.
type kept struct {
	name string
	used time.Time
	size int64
}

// list returns what is kept, that used longest ago first, and how much it is.
func (s *shelf) list() (all []kept, total int64) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, 0
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !e.IsDir() || !isLayer(e.Name()) {
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
	slices.SortFunc(all, func(a, b kept) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.name, b.name)) })
	return all, total
}

// isLayer tells layers from what else is in the directory.
func isLayer(name string) bool {
	return strings.HasSuffix(name, "-"+selected) || strings.HasSuffix(name, "-"+whole)
}

// size returns how many bytes the kept layers take, as last counted.
func (s *shelf) size() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// added notes a new layer and makes room when there is too much: the layers that
// were used longest ago go, but not the new one. A tenth more than needed goes,
// so that this is not the work of every layer.
func (s *shelf) added(newest string, bytes int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken += bytes
	if (s.max <= 0 || s.taken <= s.max) && now.Sub(s.counted) <= recount {
		return
	}
	all, total := s.list()
	if s.max > 0 && total > s.max {
		total = s.evict(all, total, newest, func(left int64) bool { return left > s.max-s.max/10 })
	}
	s.taken, s.counted = total, now
}

// evict throws layers away while more says so, and returns what is left.
func (s *shelf) evict(all []kept, total int64, spared string, more func(left int64) bool) int64 {
	for _, k := range all {
		if !more(total) {
			break
		}
		if k.name != spared {
			s.discard(k.name)
			total -= k.size
		}
	}
	return total
}

// room makes sure that the disk is not filled up: it gives kept layers up for
// what is read now, and refuses with an error of kind Unavailable when that is
// not enough.
func (s *shelf) room() error {
	if s.keepFree <= 0 {
		return nil
	}
	free, known := s.free(s.dir)
	if !known || free >= s.keepFree {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Nothing is thrown away in vain.
	if all, total := s.list(); total >= s.keepFree-free {
		s.taken = s.evict(all, total, "", func(int64) bool {
			free, _ = s.free(s.dir)
			return free < s.keepFree
		})
		if free, _ = s.free(s.dir); free >= s.keepFree {
			return nil
		}
	}
	return errs.New(errs.Unavailable, "layers: the disk has %d MiB left, and %d MiB are to stay free", free>>20, s.keepFree>>20).
		WithHint("free room where temporary files and the cache are, or lower cache.max_bytes or cache.keep_free")
}
