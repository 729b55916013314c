package main

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/config"
)

// page is one for people, by its path from the root of the repository.
type page struct {
	path, text string
	blocks     []block
}

// block is what stands between fences.
type block struct {
	page     string
	line     int
	language string
	text     string
}

// where names the block in what a test says.
func (b block) where() string { return b.page + ", block of line " + strconv.Itoa(b.line) }

// prose is the page without its blocks.
func (p page) prose() string {
	text := p.text
	for _, b := range p.blocks {
		text = strings.Replace(text, b.text, "", 1)
	}
	return text
}

var fence = regexp.MustCompile("(?ms)^( *)```([a-z]*)\n(.*?)^ *```")

// pagesForPeople reads every page of the repository.
func pagesForPeople(t *testing.T) []page {
	t.Helper()
	var all []page
	const root = "../.."
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		if err != nil || entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || slices.Contains([]string{"bin", "node_modules", "quickstart-data", "testdata"}, name)) {
				return fs.SkipDir
			}
			return err
		}
		if filepath.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		short, err := filepath.Rel(root, path)
		all = append(all, page{path: filepath.ToSlash(short), text: string(text), blocks: blocksOf(filepath.ToSlash(short), string(text))})
		return err
	})
	if err != nil || len(all) < 30 {
		t.Fatalf("found %d pages, %v", len(all), err)
	}
	return all
}

func blocksOf(path, text string) []block {
	var all []block
	for _, m := range fence.FindAllStringSubmatchIndex(text, -1) {
		body := text[m[6]:m[7]]
		if indent := text[m[2]:m[3]]; indent != "" {
			body = strings.ReplaceAll("\n"+body, "\n"+indent, "\n")[1:]
		}
		all = append(all, block{path, 1 + strings.Count(text[:m[0]], "\n"), text[m[4]:m[5]], body})
	}
	return all
}

// TestPagesTypeCommandsThatExist parses every command line of tidewaiter that a
// page shows: in shell blocks, in the help of docs/cli.md, and in the text.
func TestPagesTypeCommandsThatExist(t *testing.T) {
	seen := 0
	for _, p := range pagesForPeople(t) {
		for _, b := range p.blocks {
			for _, words := range b.commands() {
				if words[0] == "tidewaiter" {
					seen++
					if err := parses(t, words[1:]); err != nil {
						t.Errorf("%s: %q: %v", b.where(), strings.Join(words, " "), err)
					}
				}
			}
		}
		for _, m := range regexp.MustCompile("`(tidewaiter [^`]+)`").FindAllStringSubmatch(p.prose(), -1) {
			words := commandsOf(strings.ReplaceAll(m[1], "\n", " "))[0]
			// In the text a command may stand for itself, without what it needs.
			if err := parses(t, words[1:]); err != nil && !strings.HasPrefix(err.Error(), "expected ") && !strings.HasPrefix(err.Error(), "missing flags") {
				t.Errorf("%s: `%s`: %v", p.path, m[1], err)
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d command lines were found", seen)
	}
}

// commands lists what a block makes a shell do. In blocks of other languages these
// are the indented examples of a help text.
func (b block) commands() [][]string {
	switch b.language {
	case "sh":
		return commandsOf(b.text)
	case "text":
		var lines []string
		for line := range strings.Lines(b.text) {
			if strings.HasPrefix(line, "    ") && strings.Contains(line, "tidewaiter ") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return commandsOf(strings.Join(lines, "\n"))
	}
	return nil
}

func parses(t *testing.T, args []string) error {
	t.Helper()
	parser, err := newParser(t.Context(), &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	parser.Exit = func(int) {}
	_, err = parser.Parse(behindCommand(args))
	return err
}

// TestPagesAskForRoutesThatExist holds the addresses of the API in pages to its
// document: the path, and each parameter.
func TestPagesAskForRoutesThatExist(t *testing.T) {
	document, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		t.Fatal(err)
	}
	address := regexp.MustCompile(api.Prefix + `(/[A-Za-z0-9_{}./:-]*[A-Za-z0-9_}])(\?[^\s"'` + "`" + `)\]<>]*)?`)
	seen := 0
	for _, p := range pagesForPeople(t) {
		if strings.HasPrefix(p.path, "deploy/registries/") {
			continue // APIs of others begin so as well
		}
		for _, m := range address.FindAllStringSubmatch(p.text, -1) {
			seen++
			path := document.Paths.Find(m[1])
			if path == nil {
				path = routeOf(document, m[1])
			}
			if path == nil {
				t.Errorf("%s: the API has no route %s%s", p.path, api.Prefix, m[1])
				continue
			}
			for _, name := range parameters(m[2]) {
				if !takes(path, name) {
					t.Errorf("%s: %s%s takes no parameter %q", p.path, api.Prefix, m[1], name)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("only %d addresses were found", seen)
	}
}

// routeOf finds the route whose template a path fits.
func routeOf(document *openapi3.T, path string) *openapi3.PathItem {
	given := strings.Split(path, "/")
	for template, item := range document.Paths.Map() {
		parts := strings.Split(template, "/")
		fits := len(parts) == len(given)
		for i := 0; fits && i < len(parts); i++ {
			fits = parts[i] == given[i] || strings.HasPrefix(parts[i], "{")
		}
		if fits {
			return item
		}
	}
	return nil
}

// parameters are the names in a query, however its values are written.
func parameters(query string) (names []string) {
	for part := range strings.SplitSeq(strings.TrimPrefix(query, "?"), "&") {
		if name, _, ok := strings.Cut(part, "="); ok {
			names = append(names, name)
		}
	}
	return names
}

func takes(path *openapi3.PathItem, name string) bool {
	for _, operation := range path.Operations() {
		if operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) != nil {
			return true
		}
	}
	return path.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) != nil
}

// TestPagesShowConfigurationsThatLoad loads every YAML block that is ours: as a
// whole configuration, or as a part of a registry or a channel.
func TestPagesShowConfigurationsThatLoad(t *testing.T) {
	seen := 0
	for _, p := range pagesForPeople(t) {
		for _, b := range p.blocks {
			if b.language != "yaml" || foreign(b) {
				continue
			}
			seen++
			var problems []string
			loaded := slices.ContainsFunc(wholes(b.text), func(whole string) bool {
				err := loads(t, whole)
				if err != nil {
					problems = append(problems, err.Error())
				}
				return err == nil
			})
			if !loaded {
				t.Errorf("%s is no configuration:\n%s", b.where(), strings.Join(problems, "\n"))
			}
		}
	}
	if seen < 30 {
		t.Errorf("only %d configurations were found", seen)
	}
}

// foreign reports whether a document is for another program: Kubernetes, Helm,
// Compose, Prometheus.
func foreign(b block) bool {
	if strings.HasPrefix(b.page, "deploy/") && !strings.HasPrefix(b.page, "deploy/registries/") {
		return true
	}
	var keys map[string]any
	if err := yaml.Unmarshal([]byte(b.text), &keys); err != nil {
		return false
	}
	for _, key := range []string{"apiVersion", "services", "groups", "scrape_configs", "receivers", "exporters"} {
		if _, ok := keys[key]; ok {
			return true
		}
	}
	return false
}

// wholes are the configurations that a block may be a part of.
func wholes(text string) []string {
	inside := func(indent string) string {
		return indent + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+indent)
	}
	return []string{
		text,
		"registries:\n  - name: prod\n    host: registry.example\n" + inside("    "),
		"notify:\n  channels:\n" + inside("    "),
	}
}

// loads reads a configuration. Every variable has a value, every secret file is
// there.
func loads(t *testing.T, text string) error {
	t.Helper()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("secret=of-some-length"), 0o600); err != nil {
		t.Fatal(err)
	}
	text = regexp.MustCompile(`file:/[^\s"]+`).ReplaceAllString(text, "file:"+secret)
	if !regexp.MustCompile(`(?m)^database:`).MatchString(text) {
		text += "\ndatabase: {url: postgres://db/tidewaiter}\n"
	}
	file := filepath.Join(dir, "tidewaiter.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := config.Load(file, func(name string) (string, bool) {
		if !strings.Contains(text, "${"+name+"}") {
			return "", false
		}
		return valueOf(name), true
	})
	return err
}

// valueOf is a value for a variable that a configuration in a page refers to.
func valueOf(name string) string {
	switch {
	case strings.HasSuffix(name, "DATABASE_URL"):
		return "postgres://db/tidewaiter"
	case strings.HasPrefix(name, "NOTIFY_SECRET"):
		return "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))
	case strings.HasSuffix(name, "_WEBHOOK"):
		return "https://hooks.example/T1/B2"
	}
	return "secret-of-some-length-" + name
}
