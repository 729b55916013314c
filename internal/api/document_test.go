package api_test

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
	diffs "github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/api"
)

//go:generate go test . -run ^TestDocumentForPeople$ -update

var update = flag.Bool("update", false, "write docs/api-reference.md again")

const (
	guidePath    = "../../docs/api.md"
	documentPath = "../../docs/api-reference.md"
)

// TestDocumentForPeople holds docs/api-reference.md to openapi.yaml.
func TestDocumentForPeople(t *testing.T) {
	doc, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(guidePath)
	if err != nil {
		t.Fatal(err)
	}
	b := &booklet{doc: doc, examples: examplesOf(string(guide)), used: map[string]bool{}}
	if err := yaml.Unmarshal(api.Document(), &b.raw); err != nil {
		t.Fatal(err)
	}
	want := b.write()
	if *update {
		if err := os.WriteFile(documentPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	if diff := diffs.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is stale; run go generate ./internal/api (-want +got):\n%s", documentPath, diff)
	}
}

// examplesOf are the lines of the guide that ask the API.
func examplesOf(guide string) []string {
	return regexp.MustCompile(`(?m)^tw .*$`).FindAllString(guide, -1)
}

// booklet writes the document as a page.
type booklet struct {
	doc      *openapi3.T
	examples []string
	used     map[string]bool // schemas that routes speak of
	page     strings.Builder
	raw      struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Description string `yaml:"description"`
				} `yaml:"properties"`
			} `yaml:"schemas"`
		} `yaml:"components"`
	}
}

func (b *booklet) line(format string, args ...any) { fmt.Fprintf(&b.page, format+"\n", args...) }

// chapters are the tags of the document, in its order, as headings.
var chapters = map[string]string{
	"images": "Images", "findings": "Findings", "search": "Searching", "work": "Work", "service": "The service",
}

func (b *booklet) write() string {
	b.line("# API reference\n")
	b.line("<!-- made from internal/api/openapi.yaml by go generate ./internal/api -->\n")
	b.line("Every route of the API, with what it takes and answers. [The API](api.md) is the way in: tokens, names, what an answer says, pages and")
	b.line("errors. In the examples `tw` is the alias of that page. Any route may answer with a [problem](api.md#errors).\n")
	for _, tag := range b.doc.Tags {
		b.line("- [%s](#%s)", chapter(tag.Name), strings.ReplaceAll(strings.ToLower(chapter(tag.Name)), " ", "-"))
	}
	b.line("- [Types](#types)\n")
	for _, tag := range b.doc.Tags {
		b.line("## %s\n", chapter(tag.Name))
		for _, right := range b.routesOf(tag.Name) {
			b.route(right)
		}
	}
	b.types()
	return strings.TrimRight(b.page.String(), "\n") + "\n"
}

func chapter(tag string) string { return cmp.Or(chapters[tag], tag) }

func (b *booklet) operation(route string) *openapi3.Operation {
	method, path, _ := strings.Cut(route, " ")
	return b.doc.Paths.Value(path).GetOperation(method)
}

// routesOf are the routes of a tag, by path.
func (b *booklet) routesOf(tag string) (found []right) {
	for _, r := range rights {
		if slices.Contains(b.operation(r.route).Tags, tag) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b right) int {
		methodA, pathA, _ := strings.Cut(a.route, " ")
		methodB, pathB, _ := strings.Cut(b.route, " ")
		return cmp.Or(cmp.Compare(pathA, pathB), cmp.Compare(methodA, methodB))
	})
	return found
}

func (b *booklet) route(r right) {
	method, path, _ := strings.Cut(r.route, " ")
	operation := b.operation(r.route)
	b.line("### %s %s%s\n", method, api.Prefix, path)
	b.line("%s.%s\n", strings.TrimSuffix(operation.Summary, "."), b.scope(r))
	if operation.Description != "" {
		b.line("%s\n", strings.TrimSpace(operation.Description))
	}
	b.parameters(operation)
	b.body(operation)
	b.answers(operation)
	if lines := b.examplesFor(method, path); len(lines) > 0 {
		b.line("%s\n", "    "+strings.Join(lines, "\n    "))
	}
}

func (b *booklet) scope(r right) string {
	if r.need == "" {
		return " Needs no token."
	}
	if r.inside == 403 {
		return fmt.Sprintf(" Needs a token of scope `%s` that sees everything.", r.need)
	}
	return fmt.Sprintf(" Needs scope `%s`.", r.need)
}

func (b *booklet) parameters(operation *openapi3.Operation) {
	if len(operation.Parameters) == 0 {
		return
	}
	b.line("| parameter | type | meaning |\n|---|---|---|")
	for _, ref := range operation.Parameters {
		p := ref.Value
		meaning := oneLine(p.Description)
		if p.Required {
			meaning = strings.TrimSpace("**required** " + meaning)
		}
		b.line("| `%s` | %s | %s |", p.Name, b.typeOf(p.Schema), meaning)
	}
	b.line("")
}

func (b *booklet) body(operation *openapi3.Operation) {
	if operation.RequestBody == nil {
		return
	}
	body := operation.RequestBody.Value
	b.line("Body: %s.%s\n", b.contents(body.Content), sentence(body.Description))
}

func (b *booklet) answers(operation *openapi3.Operation) {
	for _, status := range slices.Sorted(maps.Keys(operation.Responses.Map())) {
		if status == "default" {
			continue
		}
		answer := operation.Responses.Value(status).Value
		description := ""
		if answer.Description != nil {
			description = oneLine(*answer.Description)
		}
		if content := b.contents(answer.Content); content != "" {
			description = strings.TrimSuffix(description, ".") + ": " + content
		}
		b.line("Answer %s: %s.\n", status, strings.TrimSuffix(description, "."))
	}
}

// contents names media types with what they hold.
func (b *booklet) contents(content openapi3.Content) string {
	var all []string
	for _, media := range slices.Sorted(maps.Keys(content)) {
		held := "`" + media + "`"
		if schema := content[media].Schema; schema != nil {
			if what := b.typeOf(schema); media == "application/json" && what != "" {
				held = what
			}
		}
		all = append(all, held)
	}
	return strings.Join(all, ", ")
}

// examplesFor are the lines of the guide that ask this route.
func (b *booklet) examplesFor(method, path string) (lines []string) {
	address := regexp.MustCompile(regexp.QuoteMeta(api.Prefix) + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `[^/?" ]+`) + `["? ]`)
	for _, line := range b.examples {
		asks := "GET"
		if m := regexp.MustCompile(`-X (\w+)`).FindStringSubmatch(line); m != nil {
			asks = m[1]
		}
		if asks == method && address.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return lines
}

// types explains every schema that a route speaks of, and those these speak of.
func (b *booklet) types() {
	b.line("## Types\n")
	b.line("Fields in *italics* may be missing.\n")
	written := map[string]bool{}
	for more := true; more; {
		more = false
		for _, name := range slices.Sorted(maps.Keys(b.used)) {
			if !written[name] {
				written[name], more = true, true
				// What it speaks of is added to used while it is described.
				b.describe(&strings.Builder{}, name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		b.describe(&b.page, name)
	}
}

func (b *booklet) describe(out *strings.Builder, name string) {
	schema := b.doc.Components.Schemas[name].Value
	fmt.Fprintf(out, "### %s\n\n", name)
	if schema.Description != "" {
		fmt.Fprintf(out, "%s\n\n", strings.TrimSpace(schema.Description))
	}
	properties, required := b.fields(schema)
	if len(properties) == 0 {
		fmt.Fprintf(out, "%s\n\n", b.shape(schema))
		return
	}
	fmt.Fprint(out, "| field | type | meaning |\n|---|---|---|\n")
	for _, field := range slices.Sorted(maps.Keys(properties)) {
		label := "`" + field + "`"
		if !required[field] {
			label = "*" + label + "*"
		}
		fmt.Fprintf(out, "| %s | %s | %s |\n", label, b.typeOf(properties[field]), b.meaningOf(name, field, properties[field]))
	}
	fmt.Fprintln(out)
}

// fields puts together what a schema has and takes from others.
func (b *booklet) fields(schema *openapi3.Schema) (openapi3.Schemas, map[string]bool) {
	properties, required := openapi3.Schemas{}, map[string]bool{}
	for _, part := range schema.AllOf {
		p, r := b.fields(part.Value)
		maps.Copy(properties, p)
		maps.Copy(required, r)
	}
	maps.Copy(properties, schema.Properties)
	for _, name := range schema.Required {
		required[name] = true
	}
	return properties, required
}

// meaningOf describes a field. What stands beside a reference to another schema
// is in the text of the document only: the parser leaves it out.
func (b *booklet) meaningOf(name, field string, ref *openapi3.SchemaRef) string {
	if ref.Ref == "" {
		return oneLine(ref.Value.Description)
	}
	return oneLine(b.raw.Components.Schemas[name].Properties[field].Description)
}

// typeOf names a type: by its schema, which is then explained, or by its shape.
func (b *booklet) typeOf(ref *openapi3.SchemaRef) string {
	if ref == nil || ref.Value == nil {
		return ""
	}
	if name, ok := strings.CutPrefix(ref.Ref, "#/components/schemas/"); ok {
		b.used[name] = true
		return fmt.Sprintf("[%s](#%s)", name, strings.ToLower(name))
	}
	return b.shape(ref.Value)
}

func (b *booklet) shape(s *openapi3.Schema) string {
	switch {
	case len(s.AnyOf) > 0:
		return b.oneOf(s.AnyOf)
	case len(s.OneOf) > 0:
		return b.oneOf(s.OneOf)
	case len(s.AllOf) == 1 && len(s.Properties) == 0:
		return b.typeOf(s.AllOf[0])
	case len(s.Enum) > 0:
		var words []string
		for _, word := range s.Enum {
			words = append(words, fmt.Sprintf("`%v`", word))
		}
		return strings.Join(words, ", ")
	case s.Items != nil:
		return "list of " + b.typeOf(s.Items)
	case s.Type == nil:
		return "anything"
	}
	text := strings.Join(s.Type.Slice(), " or ")
	if s.Format != "" && s.Format != "int64" && s.Format != "int32" {
		text += " (" + s.Format + ")"
	}
	if s.Default != nil {
		text += fmt.Sprintf(", default `%v`", s.Default)
	}
	return text
}

func (b *booklet) oneOf(refs openapi3.SchemaRefs) string {
	var all []string
	for _, ref := range refs {
		all = append(all, b.typeOf(ref))
	}
	return strings.Join(all, " or ")
}

// oneLine makes a text fit for a cell of a table.
func oneLine(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return " " + strings.TrimSuffix(oneLine(text), ".") + "."
}
