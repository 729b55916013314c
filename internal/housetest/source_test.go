package housetest

import (
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// module is the import path of the repository's root.
const module = "github.com/tidewaiter/tidewaiter/"

// root is the repository's root, seen from this package.
const root = "../.."

// source is a package as its files say, tests left out. Paths of our own are
// shortened to what follows the module.
type source struct {
	path    string
	doc     string
	imports []string
}

// sources parses every package of the repository. The files are opened by the
// test itself so that a cached result is dropped when one changes.
func sources(t *testing.T) map[string]*source {
	t.Helper()
	packages := map[string]*source{}
	err := filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if file != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
				return fs.SkipDir
			}
			return nil
		}
		if strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			return add(packages, file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("found only %d packages below %s", len(packages), root)
	}
	return packages
}

func add(packages map[string]*source, file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ImportsOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	if ignored(parsed) {
		return nil
	}
	dir, err := filepath.Rel(root, filepath.Dir(file))
	if err != nil {
		return err
	}
	p := packages[filepath.ToSlash(dir)]
	if p == nil {
		p = &source{path: filepath.ToSlash(dir)}
		packages[p.path] = p
	}
	p.doc += parsed.Doc.Text()
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		p.imports = append(p.imports, strings.TrimPrefix(imported, module))
	}
	return nil
}

// ignored reports whether the file is a program for `go run` and no part of
// its package.
func ignored(file *ast.File) bool {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			expr, err := constraint.Parse(comment.Text)
			if err == nil && !expr.Eval(func(tag string) bool { return tag != "ignore" }) {
				return true
			}
		}
	}
	return false
}

// sorted returns the packages in the order of their paths.
func sorted(packages map[string]*source) []*source {
	var out []*source
	for _, p := range slices.Sorted(maps.Keys(packages)) {
		out = append(out, packages[p])
	}
	return out
}

// reaches returns the chain of our own packages by which from comes to import
// something that matches, or nil.
func reaches(packages map[string]*source, from string, matches func(string) bool) []string {
	seen := map[string]bool{}
	var walk func(at string) []string
	walk = func(at string) []string {
		if seen[at] || packages[at] == nil {
			return nil
		}
		seen[at] = true
		for _, imported := range packages[at].imports {
			if matches(imported) {
				return []string{at, imported}
			}
			if rest := walk(imported); rest != nil {
				return append([]string{at}, rest...)
			}
		}
		return nil
	}
	return walk(from)
}

// within reports whether an import path is dir or below it.
func within(imported, dir string) bool {
	return imported == dir || strings.HasPrefix(imported, dir+"/")
}

// ours reports whether a shortened path is one of the repository's packages.
func ours(imported string) bool {
	switch first, _, _ := strings.Cut(imported, "/"); first {
	case "internal", "cmd", "migrations":
		return path.Clean(imported) == imported
	}
	return false
}
