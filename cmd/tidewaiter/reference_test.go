package main

import (
	"bytes"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

//go:generate go test . -run ^TestReference$ -update

var update = flag.Bool("update", false, "write docs/cli.md again")

const (
	referencePath = "../../docs/cli.md"
	beginMark     = "<!-- help: printed by cmd/tidewaiter, written by go generate -->\n"
	endMark       = "<!-- help end -->\n"
)

// TestReference holds docs/cli.md to what --help prints.
func TestReference(t *testing.T) {
	document, err := os.ReadFile(referencePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(document), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		t.Fatalf("%s lost the marks around the help texts", referencePath)
	}
	want := before + beginMark + "\n" + allHelp(t) + endMark + after
	if *update {
		if err := os.WriteFile(referencePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(document)); diff != "" {
		t.Errorf("%s is stale; run go generate ./cmd/tidewaiter (-want +got):\n%s", referencePath, diff)
	}
}

// allHelp is the help of every command that does something.
func allHelp(t *testing.T) string {
	t.Helper()
	t.Setenv("COLUMNS", "100")
	parser, err := newParser(t.Context(), &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	out := ""
	for _, command := range parser.Model.Leaves(true) {
		out += "## " + command.FullPath() + "\n\n```text\n" + help(t, commandWords(command)) + "```\n\n"
	}
	return out
}

// commandWords is how a command is typed, without its arguments.
func commandWords(command *kong.Node) []string {
	var words []string
	for ; command != nil && command.Type == kong.CommandNode; command = command.Parent {
		words = append([]string{command.Name}, words...)
	}
	return words
}

func help(t *testing.T, words []string) string {
	t.Helper()
	var out bytes.Buffer
	parser, err := newParser(t.Context(), &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	parser.Exit = func(int) {}
	// Parsing goes on after the help was printed and misses arguments.
	_, _ = parser.Parse(append(words, "--help"))
	if !strings.HasPrefix(out.String(), "Usage: ") {
		t.Fatalf("%v --help printed %q", words, out.String())
	}
	var lines []string
	for line := range strings.Lines(out.String()) {
		lines = append(lines, strings.TrimRight(line, " \n")+"\n")
	}
	return strings.Join(lines, "")
}

// TestEveryCommandTeaches wants a sentence for every command and flag.
func TestEveryCommandTeaches(t *testing.T) {
	parser, err := newParser(t.Context(), &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range parser.Model.Leaves(false) {
		if !strings.HasSuffix(command.Help, ".") {
			t.Errorf("%s: no sentence says what it does: %q", command.FullPath(), command.Help)
		}
		for _, f := range command.Flags {
			if !strings.HasSuffix(f.Help, ".") {
				t.Errorf("%s --%s: no sentence says what it does: %q", command.FullPath(), f.Name, f.Help)
			}
		}
	}
}

// TestServeFlagsAreSettings holds the flags of serve to the configuration: each
// key that names a flag has it, with the variable that overrides the key, and
// giving the flag changes the key.
func TestServeFlagsAreSettings(t *testing.T) {
	flags := serveFlags(t)
	for _, key := range config.Keys() {
		if key.Flag == "" {
			continue
		}
		if key.Env == "" {
			t.Errorf("%s has a flag and no environment variable", key.Path)
		}
		if !flags[key.Flag] {
			t.Errorf("%s names the flag --%s, which serve does not have", key.Path, key.Flag)
		}
		delete(flags, key.Flag)
		value, arg := "example", "--"+key.Flag+"=example"
		switch key.Type {
		case "number":
			value, arg = "7", "--"+key.Flag+"=7"
		case "true/false":
			value, arg = "false", "--no-"+key.Flag
		}
		if got := overridesOf(t, arg)[key.Env]; got != value {
			t.Errorf("%s sets %s to %q, want %q", arg, key.Env, got, value)
		}
	}
	for name := range flags {
		t.Errorf("--%s is marked as a setting and no key names it", name)
	}
}

func serveFlags(t *testing.T) map[string]bool {
	t.Helper()
	parser, err := newParser(t.Context(), &bytes.Buffer{}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]bool{}
	for _, command := range parser.Model.Leaves(false) {
		for _, f := range command.Flags {
			if command.Name == "serve" && f.Tag.Has("setting") {
				flags[f.Name] = true
			}
		}
	}
	return flags
}

func overridesOf(t *testing.T, arg string) map[string]string {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, kong.Exit(func(code int) { t.Fatal("exit " + strconv.Itoa(code)) }))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse([]string{"serve", arg}); err != nil {
		t.Fatal(err)
	}
	return c.Serve.overrides()
}
