package catalog

import (
	"archive/tar"
	"context"
	"io"
	"strings"
	"sync"

	"github.com/anchore/syft/syft/file"
)

// question is what a cataloger asked of an image, and the mark of the answer.
type question struct {
	about  subject
	of     string // its arguments
	answer uint64
}

type subject byte

const (
	aboutPaths subject = iota
	aboutGlobs
	aboutTypes
	aboutPresence
	aboutContent
	aboutFile
	aboutEverything
)

const argumentEnd = "\x00"

// answer is the mark of the answer to a question: another one for each answer,
// and the same for the same one, as long as the memory lives. Names are what a
// place is told apart by; contents are never read.
func (m *memory) answer(r *resolver, about subject, of string) uint64 {
	h := m.hash()
	write := func(all ...string) {
		for _, s := range all {
			_, _ = h.WriteString(s)
			_ = h.WriteByte(0)
		}
	}
	writeAll := func(found []file.Location, err error) {
		for _, l := range found {
			write(l.RealPath, l.FileSystemID, l.AccessPath)
		}
		if err != nil {
			write("failed")
		}
	}
	switch about {
	case aboutPaths:
		writeAll(r.FilesByPath(strings.Split(of, argumentEnd)...))
	case aboutGlobs:
		writeAll(r.FilesByGlob(strings.Split(of, argumentEnd)...))
	case aboutTypes:
		writeAll(r.FilesByMIMEType(strings.Split(of, argumentEnd)...))
	case aboutPresence:
		if r.HasPath(of) {
			write("there")
		}
	case aboutContent, aboutFile:
		write(r.identity(of, about == aboutContent)...)
	case aboutEverything:
		// In any order.
		var sum uint64
		for at := range r.tree.All {
			if p := r.tree.Path(at); strings.Contains(p, of) {
				f, _ := r.tree.File(at)
				one := m.hash()
				_, _ = one.WriteString(p)
				_ = one.WriteByte(0)
				_, _ = one.WriteString(r.names[f.Layer])
				sum += one.Sum64()
			}
		}
		return sum
	}
	return h.Sum64()
}

// identity names what is at a location, or with follow the file that its content
// is that of.
func (r *resolver) identity(of string, follow bool) []string {
	actual, system, _ := strings.Cut(of, argumentEnd)
	at, f, err := r.at(file.NewLocationFromCoordinates(file.NewCoordinates(actual, system)))
	if err != nil {
		return nil
	}
	if follow && (f.Type == tar.TypeSymlink || f.Type == tar.TypeLink) {
		var ok bool
		if at, ok = r.tree.Find(actual); !ok {
			return nil
		}
		f, _ = r.tree.File(at)
	}
	return []string{r.tree.Path(at), r.names[f.Layer]}
}

// watched answers for a resolver and writes down what was asked.
type watched struct {
	resolver *resolver
	memory   *memory
	only     string // what AllLocations tells of has this in its path

	mu        sync.Mutex
	questions []question
	asked     map[asked]bool
	told      map[file.Coordinates]bool // files in answers: their content is theirs
}

type asked struct {
	about subject
	of    string
}

var _ file.Resolver = (*watched)(nil)

// nixStore is what the nix cataloger looks for when it goes through everything.
const nixStore = "/nix/store/"

func newWatched(r *resolver, cataloger string) *watched {
	w := &watched{resolver: r, memory: r.memory, asked: map[asked]bool{}, told: map[file.Coordinates]bool{}}
	if cataloger == "nix-cataloger" {
		w.only = nixStore
	}
	return w
}

func (w *watched) note(about subject, of string, told []file.Location) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range told {
		w.told[l.Coordinates] = true
	}
	if q := (asked{about, of}); !w.asked[q] {
		w.asked[q] = true
		w.questions = append(w.questions, question{about, of, w.memory.answer(w.resolver, about, of)})
	}
}

// noteFile notes a question about one file, unless its answer follows from
// another one's.
func (w *watched) noteFile(about subject, l file.Location) {
	w.mu.Lock()
	told := w.told[l.Coordinates]
	w.mu.Unlock()
	if told {
		if _, f, err := w.resolver.at(l); err == nil && f.Type != tar.TypeSymlink && f.Type != tar.TypeLink {
			return
		}
	}
	w.note(about, l.RealPath+argumentEnd+l.FileSystemID, nil)
}

// HasPath asks.
func (w *watched) HasPath(p string) bool {
	w.note(aboutPresence, p, nil)
	return w.resolver.HasPath(p)
}

// FilesByPath asks.
func (w *watched) FilesByPath(paths ...string) ([]file.Location, error) {
	found, err := w.resolver.FilesByPath(paths...)
	w.note(aboutPaths, strings.Join(paths, argumentEnd), found)
	return found, err
}

// FilesByGlob asks.
func (w *watched) FilesByGlob(patterns ...string) ([]file.Location, error) {
	found, err := w.resolver.FilesByGlob(patterns...)
	w.note(aboutGlobs, strings.Join(patterns, argumentEnd), found)
	return found, err
}

// FilesByMIMEType asks.
func (w *watched) FilesByMIMEType(types ...string) ([]file.Location, error) {
	found, err := w.resolver.FilesByMIMEType(types...)
	w.note(aboutTypes, strings.Join(types, argumentEnd), found)
	return found, err
}

// RelativeFileByPath asks.
func (w *watched) RelativeFileByPath(_ file.Location, p string) *file.Location {
	found, _ := w.FilesByPath(p)
	if len(found) == 0 {
		return nil
	}
	return &found[0]
}

// AllLocations asks.
func (w *watched) AllLocations(ctx context.Context) <-chan file.Location {
	w.note(aboutEverything, w.only, nil)
	return w.resolver.locations(ctx, w.only)
}

// FileContentsByLocation asks.
func (w *watched) FileContentsByLocation(l file.Location) (io.ReadCloser, error) {
	w.noteFile(aboutContent, l)
	return w.resolver.FileContentsByLocation(l)
}

// FileMetadataByLocation asks.
func (w *watched) FileMetadataByLocation(l file.Location) (file.Metadata, error) {
	w.noteFile(aboutFile, l)
	return w.resolver.FileMetadataByLocation(l)
}
