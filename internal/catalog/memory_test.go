package catalog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/anchore/syft/syft/pkg"

	"github.com/tidewaiter/tidewaiter/internal/catalog/overlay"
)

func lessonOf(cataloger string, bytes int, answers ...uint64) *lesson {
	l := &lesson{cataloger: cataloger, packages: []pkg.Package{{Name: strings.Repeat("x", bytes)}}}
	for i, a := range answers {
		l.questions = append(l.questions, question{aboutPresence, fmt.Sprint("/", i), a})
	}
	return l
}

func TestMemoryIsBounded(t *testing.T) {
	m := newMemory(100_000)
	for i := range 100 {
		m.keep([]*lesson{lessonOf("a", 5_000, uint64(i))})
	}
	if m.weight > m.max || m.used.Len() < 10 || m.used.Len() != len(m.shelf) {
		t.Errorf("%d lessons of %d bytes in %d places", m.used.Len(), m.weight, len(m.shelf))
	}
	m.keep([]*lesson{lessonOf("b", 50_000, 1), lessonOf("c", 10)})
	if len(m.in(place{"b", 1})) != 0 {
		t.Error("a lesson that takes half of the room was kept")
	}
	for i := range 20 {
		m.keep([]*lesson{lessonOf("d", 1, 7, uint64(i))})
	}
	if n := len(m.in(place{"d", 7})); n != mostInPlace {
		t.Errorf("%d lessons begin in the same way", n)
	}
}

func TestMemoryHoldsWhatIsOfUse(t *testing.T) {
	tree, _ := overlay.New(nil)
	m := newMemory(100_000)
	r := &resolver{tree: tree, memory: m}
	there, gone := m.answer(r, aboutPresence, "/"), m.answer(r, aboutPresence, "/x")
	if there == gone {
		t.Fatal("answers have the same mark")
	}
	good := &lesson{cataloger: "a", questions: []question{{aboutPresence, "/", there}, {aboutPresence, "/x", gone}}}
	other := &lesson{cataloger: "a", questions: []question{{aboutPresence, "/", there}, {aboutPresence, "/x", there}}}
	late := &lesson{cataloger: "a", questions: []question{{aboutPresence, "/x", gone}, {aboutPresence, "/", there}}}
	m.keep([]*lesson{good, other, late})
	if got := m.recall("a", r); got != late && got != good {
		t.Errorf("recalled %v", got)
	}
	if got := m.recall("b", r); got != nil {
		t.Errorf("another cataloger recalled %v", got)
	}
	for i := range 100 {
		m.recall("a", r)
		m.keep([]*lesson{lessonOf("z", 5_000, uint64(i))})
	}
	if m.recall("a", r) == nil {
		t.Error("what is used was thrown away")
	}
}

func TestWeightOfLessons(t *testing.T) {
	small := lessonOf("a", 10, 1)
	large := lessonOf("a", 10_000, 1)
	large.packages[0].Metadata = pkg.DpkgDBEntry{Files: make([]pkg.DpkgFileRecord, 1000)}
	if a, b := small.weigh(), large.weigh(); a <= 0 || b-a < 10_000+1000*32 {
		t.Errorf("they weigh %d and %d", a, b)
	}
	shared := lessonOf("a", 10_000, 1)
	shared.packages = append(shared.packages, shared.packages[0])
	if shared.weigh() < 10_000 {
		t.Errorf("weighs %d", shared.weigh())
	}
}
