package webhook

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

var documentation = filepath.Join("..", "..", "docs", "webhooks.md")

// TestFormatsAreComplete fails when a format lacks one of its parts.
func TestFormatsAreComplete(t *testing.T) {
	fuzzers := functionsOf(t, "fuzz_test.go")
	sections := sectionsOf(t)
	for _, f := range formats() {
		t.Run(f.name, func(t *testing.T) {
			for what, function := range map[string]any{"verify": f.verify, "parse": f.parse} {
				if got := fileOf(function); got != strings.ReplaceAll(f.name, "-", "_")+".go" {
					t.Errorf("%s of %s is in %s, want a file named after the format", what, f.name, got)
				}
			}
			if len(f.kinds) == 0 {
				t.Errorf("%s has no way of authentication", f.name)
			}
			checkSamples(t, f.name)
			if !slices.Contains(sections, f.name) {
				t.Errorf("docs/webhooks.md has no section %q", "## "+f.name)
			}
			if pages, _ := filepath.Glob(filepath.Join("..", "..", "deploy", "registries", f.name+".*")); len(pages) == 0 {
				t.Errorf("deploy/registries has no page for %s", f.name)
			}
			if want := "Fuzz" + camel(f.name); !slices.Contains(fuzzers, want) {
				t.Errorf("fuzz_test.go has no %s", want)
			}
		})
	}
}

func checkSamples(t *testing.T, format string) {
	t.Helper()
	if e := sampleEndpoint(t, format); e.Validate() != nil || e.Format != format || e.Auth.Kind == AuthNone {
		t.Errorf("endpoint.json of %s: %v, format %q, kind %q", format, e.Validate(), e.Format, e.Auth.Kind)
	}
	cases := sampleCases(t, format)
	if len(cases) == 0 {
		t.Errorf("%s has no samples", format)
	}
	files, _ := filepath.Glob(filepath.Join("testdata", format, "*.json"))
	for _, file := range files {
		name := strings.TrimSuffix(strings.TrimSuffix(filepath.Base(file), ".json"), ".want")
		if name != "endpoint" && !slices.Contains(cases, name) {
			t.Errorf("%s belongs to no sample with .headers", file)
		}
	}
}

// TestNothingIsLeftOver fails on samples of a format that is not in the table.
func TestNothingIsLeftOver(t *testing.T) {
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "fuzz" && !isFormatName(e.Name()) {
			t.Errorf("testdata/%s belongs to no format", e.Name())
		}
	}
}

// TestEverythingIsDocumented fails when a reason, a metric or a kind is missing
// from docs/webhooks.md.
func TestEverythingIsDocumented(t *testing.T) {
	page := string(readFile(t, documentation))
	words := append(Reasons(), authKinds()...)
	words = append(words, metricNames(t)...)
	for _, word := range words {
		if !strings.Contains(page, "`"+word+"`") {
			t.Errorf("docs/webhooks.md does not mention `%s`", word)
		}
	}
	for _, status := range []string{"202", "400", "401", "404", "405", "413", "422", "503"} {
		if !strings.Contains(page, "| "+status+" |") {
			t.Errorf("docs/webhooks.md does not list answer %s", status)
		}
	}
}

// TestDocumentedConfigurationIsValid reads every YAML block of the page and of
// deploy/registries as endpoints.
func TestDocumentedConfigurationIsValid(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "deploy", "registries", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	formats := map[string]bool{}
	for _, page := range append(pages, documentation) {
		blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(readFile(t, page)), -1)
		for _, block := range blocks {
			for _, e := range endpointsOf(t, page, block[1]) {
				formats[e.Format] = true
				if err := e.Validate(); err != nil {
					t.Errorf("%s: %v", page, err)
				}
			}
		}
	}
	for _, name := range names() {
		if !formats[name] {
			t.Errorf("no configuration of format %s is shown", name)
		}
	}
}

// names lists the first name of each format.
func names() []string {
	var all []string
	for _, f := range formats() {
		all = append(all, f.name)
	}
	return all
}

func endpointsOf(t *testing.T, page, text string) []Endpoint {
	t.Helper()
	var config struct {
		Registries []struct {
			Name, Host string
			Aliases    []string
			Webhook    struct {
				Format string
				Source string
				Prefix string `yaml:"repository_prefix"`
				Auth   struct {
					Kind, Header, Parameter string
					Secrets, Topics         []string
					Issuer, Audience, Email string
					AppID                   string `yaml:"app_id"`
					JWKSURL                 string `yaml:"jwks_url"`
				}
			}
		}
	}
	if err := yaml.UnmarshalWithOptions([]byte(text), &config, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	var endpoints []Endpoint
	for _, r := range config.Registries {
		endpoints = append(endpoints, Endpoint{
			Registry: r.Name, Host: r.Host, Aliases: r.Aliases, Format: r.Webhook.Format,
			Source: r.Webhook.Source, RepositoryPrefix: r.Webhook.Prefix,
			Auth: Auth{
				Kind: r.Webhook.Auth.Kind, Header: r.Webhook.Auth.Header, Parameter: r.Webhook.Auth.Parameter,
				Secrets: r.Webhook.Auth.Secrets, Topics: r.Webhook.Auth.Topics,
				Issuer: r.Webhook.Auth.Issuer, Audience: r.Webhook.Auth.Audience, Email: r.Webhook.Auth.Email,
				AppID: r.Webhook.Auth.AppID, JWKSURL: r.Webhook.Auth.JWKSURL,
			},
		})
	}
	if len(endpoints) == 0 {
		t.Errorf("%s: a YAML block without registries", page)
	}
	return endpoints
}

// isFormatName reports whether a name is the first name of a format.
func isFormatName(name string) bool {
	return slices.Contains(names(), name)
}

func fileOf(function any) string {
	pc := reflect.ValueOf(function).Pointer()
	file, _ := runtime.FuncForPC(pc).FileLine(pc)
	return filepath.Base(file)
}

// camel writes a name as part of a Go identifier: "ecr-sns" as "EcrSns".
func camel(name string) string {
	out := ""
	for _, part := range strings.Split(name, "-") {
		out += strings.ToUpper(part[:1]) + part[1:]
	}
	return out
}

func functionsOf(t *testing.T, file string) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range parsed.Decls {
		if f, ok := d.(*ast.FuncDecl); ok {
			names = append(names, f.Name.Name)
		}
	}
	return names
}

func sectionsOf(t *testing.T) []string {
	t.Helper()
	var names []string
	for line := range strings.Lines(string(readFile(t, documentation))) {
		if name, ok := strings.CutPrefix(line, "## "); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	return names
}
