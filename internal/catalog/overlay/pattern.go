package overlay

import "strings"

// request is one way to look for the files that a pattern matches. All of them
// have to match the whole pattern then.
type request struct {
	by   basis
	what string
}

// basis is what the last part of a pattern says of the files it matches.
type basis uint8

const (
	byWalk     basis = iota // nothing: every path has to be looked at
	byPath                  // all: it is no pattern
	byExt                   // *.ext
	byBase                  // a name
	byBaseLike              // a name with * and ?
	byParent                // the name of the directory: dir/*
)

// tidy writes a pattern the way paths are written: from the root, without doubled
// slashes and without asterisks that say nothing.
func tidy(pattern string) string {
	pattern = strings.TrimSpace(pattern)
	var parts []string
	for _, part := range strings.Split(pattern, "/") {
		if part == "" {
			continue
		}
		if strings.Trim(part, "*") == "" && len(part) > 1 {
			if n := len(parts); n > 0 && parts[n-1] == "**" {
				continue
			}
			parts = append(parts, "**")
			continue
		}
		for strings.Contains(part, "**") {
			part = strings.ReplaceAll(part, "**", "*")
		}
		parts = append(parts, part)
	}
	tidied := strings.Join(parts, "/")
	if !strings.HasPrefix(tidied, "**") {
		tidied = "/" + tidied
	}
	return tidied
}

const special = "*?[]{}"

// plan says how to look for what a tidy pattern matches.
func plan(pattern string) []request {
	if !strings.ContainsAny(pattern, special) {
		return []request{{byPath, pattern}}
	}
	above, base := "", pattern
	if i := strings.LastIndexByte(pattern, '/'); i >= 0 {
		above, base = pattern[:i], pattern[i+1:]
	}
	if base == "*" {
		if parent := above[strings.LastIndexByte(above, '/')+1:]; !strings.ContainsAny(parent, special) {
			return []request{{byParent, parent}}
		}
	}
	return planBase(base)
}

func planBase(base string) []request {
	if strings.ContainsAny(base, "[]{}") {
		return planChoice(base)
	}
	if ext, ok := strings.CutPrefix(base, "*."); ok && !strings.ContainsAny(ext, "*?") {
		return []request{{byExt, "." + ext}}
	}
	switch {
	case !strings.ContainsAny(base, "*?"):
		return []request{{byBase, base}}
	case strings.Trim(base, "*?") == "":
		return []request{{by: byWalk}}
	}
	return []request{{byBaseLike, base}}
}

// planChoice is for names with braces and brackets. Of these only a plain list is
// looked for part by part; in others they stand for themselves, as stereoscope
// has it.
func planChoice(base string) []request {
	if strings.Count(base, "{") != strings.Count(base, "}") || strings.Count(base, "[") != strings.Count(base, "]") {
		return []request{{by: byWalk}}
	}
	inner, begins := strings.CutPrefix(base, "{")
	inner, ends := strings.CutSuffix(inner, "}")
	choices := strings.Split(inner, ",")
	if strings.Contains(base, "[") || strings.Count(base, "{") != 1 || !begins || !ends || len(choices) < 2 {
		return []request{{byBaseLike, base}}
	}
	var out []request
	for _, choice := range choices {
		by := byBase
		if strings.ContainsAny(choice, "*?") {
			by = byBaseLike
		}
		out = append(out, request{by, choice})
	}
	return out
}
