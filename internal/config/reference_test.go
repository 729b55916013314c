package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

//go:generate go test . -run ^TestReference$ -update

var update = flag.Bool("update", false, "write docs/configuration.md again")

const (
	referencePath = "../../docs/configuration.md"
	beginMark     = "<!-- keys: made from internal/config by go generate -->\n"
	endMark       = "<!-- keys end -->\n"
)

// TestReference holds docs/configuration.md to the types: every key with its
// type, default, environment variable and the comment of its field.
func TestReference(t *testing.T) {
	document, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(document), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		t.Fatalf("%s lost the marks around its tables", referencePath)
	}
	want := before + beginMark + "\n" + referenceTables(t) + endMark + after
	if *update {
		if err := os.WriteFile(referencePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(document)); diff != "" {
		t.Errorf("%s is stale; run go generate ./internal/config (-want +got):\n%s", referencePath, diff)
	}
}

func TestReferenceSectionsExist(t *testing.T) {
	for _, k := range Keys() {
		if strings.ToLower(k.Path) != k.Path || k.Type == "" {
			t.Errorf("key %+v is not as keys are written", k)
		}
	}
}

const tableHead = "| Key | Type | Default | Environment, flag | Meaning |\n|---|---|---|---|---|\n"

// referenceTables renders one table for the keys at the top and one for each
// section.
func referenceTables(t *testing.T) string {
	t.Helper()
	docs := fieldComments(t)
	root := reflect.TypeFor[Config]()
	top := "### At the top\n\n" + tableHead
	sections := ""
	for i := range root.NumField() {
		field := root.Field(i)
		path := field.Tag.Get("yaml")
		elem := field.Type
		if elem.Kind() == reflect.Slice {
			elem, path = elem.Elem(), path+"[]"
		}
		if isScalar(elem) {
			top += row(t, docs, root, field, field.Tag.Get("yaml"))
			continue
		}
		sections += fmt.Sprintf("### %s\n\n%s\n\n%s%s\n", field.Tag.Get("yaml"), docs["Config."+field.Name], tableHead, rows(t, docs, elem, path))
	}
	return top + "\n" + sections
}

func rows(t *testing.T, docs map[string]string, owner reflect.Type, path string) string {
	out := ""
	for i := range owner.NumField() {
		field := owner.Field(i)
		at := join(path, field.Tag.Get("yaml"))
		elem := field.Type
		if elem.Kind() == reflect.Slice {
			elem = elem.Elem()
		}
		if !isScalar(elem) {
			if elem != field.Type {
				at += "[]"
			}
			out += fmt.Sprintf("| `%s` | | | | %s |\n", at, docs[owner.Name()+"."+field.Name]) + rows(t, docs, elem, at)
			continue
		}
		out += row(t, docs, owner, field, at)
	}
	return out
}

func row(t *testing.T, docs map[string]string, owner reflect.Type, field reflect.StructField, path string) string {
	var sources []string
	if env := field.Tag.Get("env"); env != "" {
		sources = append(sources, "`"+env+"`")
	}
	if flag := field.Tag.Get("flag"); flag != "" {
		if field.Type.Kind() == reflect.Bool {
			flag = "[no-]" + flag
		}
		sources = append(sources, "`--"+flag+"`")
	}
	fallback := field.Tag.Get("default")
	if fallback != "" {
		fallback = "`" + fallback + "`"
	}
	if docs[owner.Name()+"."+field.Name] == "" {
		t.Errorf("%s.%s has no comment", owner.Name(), field.Name)
	}
	return fmt.Sprintf("| `%s` | %s | %s | %s | %s |\n", path, typeName(field.Type), fallback, strings.Join(sources, ", "), docs[owner.Name()+"."+field.Name])
}

// fieldComments reads the comments of all fields of the package's types, by
// "Type.Field".
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range fields.Fields.List {
					if len(f.Names) == 1 {
						docs[spec.Name.Name+"."+f.Names[0].Name] = strings.Join(strings.Fields(f.Doc.Text()), " ")
					}
				}
			}
			return true
		})
	}
	return docs
}
