package catalog

import (
	"container/list"
	"hash/maphash"
	"sync"

	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/pkg"
)

// lesson is what a cataloger found in an image, and all it asked for that.
type lesson struct {
	cataloger string
	questions []question
	packages  []pkg.Package
	edges     []artifact.Relationship
	err       error
	weight    int64
}

// memory holds what catalogers found, as much as fits; what was of no use for
// longest goes. It is safe for concurrent use.
type memory struct {
	seed maphash.Seed
	max  int64

	mu     sync.Mutex
	first  map[string]question // what a cataloger asks first
	shelf  map[place]*list.List
	used   *list.List // of *held, that used last in front
	weight int64
}

// place is where lessons are: those of a cataloger whose first question had the
// same answer.
type place struct {
	cataloger string
	answer    uint64
}

// held is a lesson where it is.
type held struct {
	*lesson
	at      place
	inPlace *list.Element
	inOrder *list.Element
}

// mostInPlace bounds how many lessons are tried.
const mostInPlace = 8

func newMemory(most int64) *memory {
	return &memory{seed: maphash.MakeSeed(), max: most, first: map[string]question{}, shelf: map[place]*list.List{}, used: list.New()}
}

func (m *memory) hash() *maphash.Hash {
	var h maphash.Hash
	h.SetSeed(m.seed)
	return &h
}

// recall returns what a cataloger would find, if it found that before; else nil.
func (m *memory) recall(cataloger string, r *resolver) *lesson {
	m.mu.Lock()
	first, ok := m.first[cataloger]
	m.mu.Unlock()
	if !ok {
		return nil
	}
	at := place{cataloger, m.answer(r, first.about, first.of)}
	for _, h := range m.in(at) {
		if m.holds(h.lesson, r) {
			m.touch(h)
			return h.lesson
		}
	}
	return nil
}

// in returns the lessons of a place, that used last first.
func (m *memory) in(at place) (out []*held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := m.shelf[at]; all != nil {
		for e := all.Front(); e != nil; e = e.Next() {
			out = append(out, e.Value.(*held))
		}
	}
	return out
}

// holds reports whether every question of a lesson has the answer it had.
func (m *memory) holds(l *lesson, r *resolver) bool {
	for _, q := range l.questions {
		if m.answer(r, q.about, q.of) != q.answer {
			return false
		}
	}
	return true
}

func (m *memory) touch(h *held) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := m.shelf[h.at]; all != nil && h.inOrder != nil {
		all.MoveToFront(h.inPlace)
		m.used.MoveToFront(h.inOrder)
	}
}

// keep takes lessons in.
func (m *memory) keep(lessons []*lesson) {
	for _, l := range lessons {
		if len(l.questions) == 0 {
			continue
		}
		l.weight = l.weigh()
		if l.weight <= m.max/4 {
			m.keepOne(l)
		}
	}
}

func (m *memory) keepOne(l *lesson) {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, ok := m.first[l.cataloger]
	if !ok {
		first = l.questions[0]
		m.first[l.cataloger] = first
	}
	h := &held{lesson: l, at: place{cataloger: l.cataloger}}
	asked := false
	for _, q := range l.questions {
		if q.about == first.about && q.of == first.of {
			h.at.answer, asked = q.answer, true
			break
		}
	}
	if !asked {
		return // it asks in another order each time; it could not be found
	}
	if m.shelf[h.at] == nil {
		m.shelf[h.at] = list.New()
	}
	h.inPlace, h.inOrder = m.shelf[h.at].PushFront(h), m.used.PushFront(h)
	m.weight += l.weight
	if all := m.shelf[h.at]; all.Len() > mostInPlace {
		m.drop(all.Back().Value.(*held))
	}
	for m.weight > m.max {
		m.drop(m.used.Back().Value.(*held))
	}
}

func (m *memory) drop(h *held) {
	all := m.shelf[h.at]
	all.Remove(h.inPlace)
	if all.Len() == 0 {
		delete(m.shelf, h.at)
	}
	m.used.Remove(h.inOrder)
	h.inPlace, h.inOrder = nil, nil
	m.weight -= h.weight
}
