package housetest

import (
	"io/fs"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// texts reads the files below the root whose names end so, by path.
func texts(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			name := filepath.Base(file)
			if file != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "node_modules", "quickstart-data", "testdata"}, name)) {
				return fs.SkipDir
			}
			return err
		}
		name, err := filepath.Rel(root, file)
		if err == nil && slices.Contains(endings, filepath.Ext(name)) {
			found[filepath.ToSlash(name)] = read(t, name)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("found %d files, %v", len(found), err)
	}
	return found
}

var (
	fenced  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.*?) *#*$`)
	anyLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	named   = regexp.MustCompile(`<a (?:id|name)="([^"]+)"`)
)

// anchorsOf lists the anchors of a page as GitHub makes them of its headings.
func anchorsOf(text string) (anchors []string) {
	text = fenced.ReplaceAllString(text, "")
	seen := map[string]int{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		slug := slugOf(m[1])
		if n := seen[slug]; n > 0 {
			anchors = append(anchors, slug+"-"+strconv.Itoa(n))
		} else {
			anchors = append(anchors, slug)
		}
		seen[slug]++
	}
	for _, m := range named.FindAllStringSubmatch(text, -1) {
		anchors = append(anchors, m[1])
	}
	return anchors
}

func slugOf(heading string) string {
	heading = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`).ReplaceAllString(heading, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

func TestSlugs(t *testing.T) {
	for heading, want := range map[string]string{
		"When it does not work": "when-it-does-not-work", "`vulndb` and more": "vulndb-and-more", "What changed, and what was": "what-changed-and-what-was",
		"I pushed. Where is it?": "i-pushed-where-is-it", "Azure's registry (ACR)": "azures-registry-acr", "GET /api/v1/tags": "get-apiv1tags", "[ADR 9](x.md) says": "adr-9-says",
	} {
		if got := slugOf(heading); got != want {
			t.Errorf("%q: %q, want %q", heading, got, want)
		}
	}
}

// TestLinksLeadSomewhere follows every link of every page inside the repository,
// down to its anchor.
func TestLinksLeadSomewhere(t *testing.T) {
	pages := texts(t, ".md")
	links := 0
	for page, text := range pages {
		for _, m := range anyLink.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if file != "" {
				target = path.Join(path.Dir(page), file)
			}
			if !exists(target) {
				t.Errorf("%s links to %s, which does not exist", page, m[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchorsOf(pages[target]), anchor) {
				t.Errorf("%s links to %s, which has no such anchor", page, m[1])
			}
		}
	}
	if links < 200 {
		t.Errorf("only %d links were found", links)
	}
}

// TestPagesThatOthersNameExist looks at what names a page with an anchor from
// outside of the pages: alerts, dashboards, charts, hints of the program.
func TestPagesThatOthersNameExist(t *testing.T) {
	pages := texts(t, ".md")
	address := regexp.MustCompile(`\b(docs/[a-z/-]+\.md)(?:#([a-z0-9_-]+))?`)
	for file, text := range texts(t, ".go", ".yaml", ".yml", ".json", ".tpl", ".sh", ".sql") {
		for _, m := range address.FindAllStringSubmatch(text, -1) {
			switch page, ok := pages[m[1]]; {
			case !ok:
				t.Errorf("%s names %s, which does not exist", file, m[1])
			case m[2] != "" && !slices.Contains(anchorsOf(page), m[2]):
				t.Errorf("%s names %s#%s, which has no such anchor", file, m[1], m[2])
			}
		}
	}
}
