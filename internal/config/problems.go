package config

import (
	"fmt"
	"sort"
	"strings"
)

// Problem is one thing wrong with a configuration.
type Problem struct {
	// Line is where in the file; 0 when it is not the file's.
	Line int
	// Path names the key, as "registries[1].webhook.auth.secrets".
	Path string
	// Text says what is wrong.
	Text string
}

// String returns "line 14: registries[1].host: text", without the parts that
// are not known.
func (p Problem) String() string {
	s := p.Text
	if p.Path != "" {
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

// notInFile marks the line of a key whose value came from the environment.
const notInFile = -1

// place gives problems without a line that of their key or of the nearest key
// above it, and orders them by line.
func (ps Problems) place(lines map[string]int) {
	for i := range ps {
		for path := ps[i].Path; ps[i].Line == 0 && path != ""; path = parentPath(path) {
			ps[i].Line = lines[path]
		}
		ps[i].Line = max(ps[i].Line, 0)
	}
	sort.SliceStable(ps, func(i, j int) bool { return ps[i].Line < ps[j].Line })
}

func parentPath(path string) string {
	if i := strings.LastIndexAny(path, ".["); i >= 0 {
		return path[:i]
	}
	return ""
}
