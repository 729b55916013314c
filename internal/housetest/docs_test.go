package housetest

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	for _, p := range sorted(sources(t)) {
		if len(strings.Fields(p.doc)) < 10 {
			t.Errorf("%s has no package comment that says what it is responsible for and what it must not do", p.path)
		}
	}
}

// pages returns the text of every page for people, by path from the root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := texts(t, ".md")
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "docs/design.md"} {
		if found[name] == "" {
			t.Fatalf("%s is missing", name)
		}
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

var (
	// namedPath is a path of the repository in backquotes.
	namedPath = regexp.MustCompile("`((?:internal|cmd|docs|deploy|migrations|\\.ci)/[A-Za-z0-9_./-]*|Makefile|Dockerfile|docker-compose\\.yml)`")
	// namedWord is such a file followed by a word that stands in it:
	// `internal/queue/worker.go` (`decide`).
	namedWord = regexp.MustCompile("`([a-z./_]+\\.[a-z]+)` \\(`([A-Za-z_.]+)`\\)")
	makeWord  = regexp.MustCompile("`make ([a-z-]+)`")
)

func TestPagesNameThingsThatExist(t *testing.T) {
	makefile := read(t, "Makefile")
	for page, text := range pages(t) {
		for _, m := range namedPath.FindAllStringSubmatch(text, -1) {
			if !exists(m[1]) {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
		for _, m := range makeWord.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(makefile, "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which the Makefile does not have", page, m[1])
			}
		}
	}
}

// A page that names a test says that something is held by it.
func TestPagesNameTestsThatExist(t *testing.T) {
	var code strings.Builder
	for file, text := range texts(t, ".go") {
		if strings.HasSuffix(file, "_test.go") {
			code.WriteString(text)
		}
	}
	for page, text := range pages(t) {
		for _, m := range regexp.MustCompile("`(Test[A-Z]\\w+)`").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(code.String(), "func "+m[1]+"(t *testing.T)") {
				t.Errorf("%s names the test %s, which does not exist", page, m[1])
			}
		}
	}
}

// The newcomer's map says in which file to look for what.
func TestMapNamesWordsThatExist(t *testing.T) {
	found := namedWord.FindAllStringSubmatch(read(t, "CONTRIBUTING.md"), -1)
	if len(found) < 5 {
		t.Fatalf("found only %d places in the map", len(found))
	}
	for _, m := range found {
		file, word := m[1], m[2]
		if !exists(file) {
			continue // told by the test above
		}
		// Of Type.Method the method is what a file declares.
		_, method, dotted := strings.Cut(word, ".")
		if dotted {
			word = method
		}
		if !regexp.MustCompile(`\b` + regexp.QuoteMeta(word) + `\b`).MatchString(read(t, file)) {
			t.Errorf("CONTRIBUTING.md says %s is in %s: it is not", word, file)
		}
	}
}

func TestDesignNamesEveryTable(t *testing.T) {
	design := read(t, "docs/design.md")
	var schema strings.Builder
	err := fs.WalkDir(os.DirFS(filepath.Join(root, "migrations")), ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(name, ".sql") {
			schema.WriteString(read(t, "migrations/"+name))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	tables := regexp.MustCompile(`CREATE TABLE (\w+) \(`).FindAllStringSubmatch(schema.String(), -1)
	if len(tables) < 10 {
		t.Fatalf("found only %d tables", len(tables))
	}
	for _, m := range tables {
		if !strings.Contains(design, "`"+m[1]+"`") {
			t.Errorf("docs/design.md does not name table %s", m[1])
		}
	}
}

func TestDesignShowsTheHouse(t *testing.T) {
	design := read(t, "docs/design.md")
	_, house, ok := strings.Cut(design, "## The house")
	if !ok {
		t.Fatal("docs/design.md has no section on the house")
	}
	house, _, _ = strings.Cut(house, "\n## ")
	for name := range levels {
		if short := strings.TrimPrefix(name, "internal/"); name != "migrations" && !strings.Contains(house, "`"+short+"`") {
			t.Errorf("docs/design.md does not show %s in the house", short)
		}
	}
}

func TestEveryDecisionIsListed(t *testing.T) {
	index := read(t, "docs/adr/README.md")
	var numbers []string
	for page := range pages(t) {
		if name, ok := strings.CutPrefix(page, "docs/adr/"); ok && name != "README.md" {
			if !strings.Contains(index, "]("+name+")") {
				t.Errorf("docs/adr/README.md does not list %s", name)
			}
			numbers = append(numbers, name[:4])
		}
	}
	slices.Sort(numbers)
	if len(slices.Compact(slices.Clone(numbers))) != len(numbers) {
		t.Errorf("two decisions share a number: %v", numbers)
	}
}
