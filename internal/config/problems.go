package config

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	// Line is where in the file; 0 when it is not the file's.
	Line int
	// Path names the key, as "registries[1].webhook.auth.secrets".
	Path string
	// Source is the flag or environment variable that the value came from; empty
	// when it did not.
	Source string
	// Text says what is wrong.
	Text string
}

// String returns "line 14: registries[1].host: text", without the parts that
// are not known, or "TIDEWAITER_LISTEN (for listen): text".
func (p Problem) String() string {
	s := p.Text
	switch {
	case p.Source != "":
		s = p.Source + " (for " + p.Path + "): " + s
	case p.Path != "":
		s = p.Path + ": " + s
	}
	if p.Line > 0 {
		s = fmt.Sprintf("line %d: %s", p.Line, s)
	}
	return s
}

// Problems is everything wrong with a configuration. It is an error when it is
// not empty; find it with errors.As.
type Problems []Problem

// Error returns one line per problem.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

func (ps *Problems) add(path, format string, args ...any) {
	*ps = append(*ps, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

// place gives problems without a line that of their key or of the nearest key
// above it, or the source of their value where that is not the file, and orders
// them by line.
func (ps Problems) place(lines map[string]int, sources map[string]string) {
	for i := range ps {
		if ps[i].Line > 0 {
			continue
		}
		if ps[i].Source = sources[ps[i].Path]; ps[i].Source != "" {
			continue
		}
		for path := ps[i].Path; ps[i].Line == 0 && path != ""; path = parentPath(path) {
			ps[i].Line = lines[path]
		}
	}
	sort.SliceStable(ps, func(i, j int) bool { return ps[i].Line < ps[j].Line })
}

// without drops the problems of what could not be read: they would tell the same
// mistake a second time.
func (ps Problems) without(unread map[string]bool) Problems {
	var kept Problems
	for _, p := range ps {
		related := unread[""]
		for path := range unread {
			related = related || within(p.Path, path) || within(path, p.Path)
		}
		if !related {
			kept = append(kept, p)
		}
	}
	return kept
}

// forgive drops the problems of keys that nobody uses; nil drops none.
func (ps Problems) forgive(unused func(path string) bool) Problems {
	if unused == nil {
		return ps
	}
	return slices.DeleteFunc(slices.Clone(ps), func(p Problem) bool { return unused(p.Path) })
}

// within reports whether a key is outer or below it. Nothing is below the empty
// path, which problems of no key have.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && outer != "" && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// elsewhere reports whether no problem is the file's.
func (ps Problems) elsewhere() bool {
	for _, p := range ps {
		if p.Source == "" {
			return false
		}
	}
	return true
}

func parentPath(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}
