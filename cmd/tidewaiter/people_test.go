package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// hostile turns red, retitles the window, rings, overwrites the line, turns the
// direction of writing, and does the first again with the one-rune form of CSI.
const (
	hostile = "v\x1b[31m\x1b]0;owned\a\rclean\u202eabc\u2066\u009b31m\x7f\tz"
	shown   = `v\x1b[31m\x1b]0;owned\a\rclean\u202eabc\u2066\u009b31m\x7f\tz`
)

func TestPeopleSeeNoControlCharacters(t *testing.T) {
	tests := []struct {
		name string
		tell func(people)
		want string
	}{
		{"error", func(w people) { fail(w, errors.New(hostile)) }, "tidewaiter: " + shown + "\n"},
		{"hint", func(w people) { fail(w, errs.New(errs.Invalid, "no").WithHint("%s", hostile)) }, "tidewaiter: no\n  hint: " + shown + "\n"},
		{"verdict", func(w people) { fail(w, &exitError{exitUnknown, hostile}) }, "tidewaiter: " + shown + "\n"},
		{"note", func(w people) { note(w, []string{hostile}) }, "note: " + shown + "\n"},
		{"note of two lines", func(w people) { note(w, []string{"a\ntidewaiter: all is well"}) }, `note: a\ntidewaiter: all is well` + "\n"},
		{"bytes that are no text", func(w people) { note(w, []string{"a\x9b31m"}) }, "note: a\ufffd31m\n"},
		{"letters of any language", func(w people) { note(w, []string{"größe 版本"}) }, "note: größe 版本\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			tt.tell(people{&out})
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestProgressMovesOnlyTheCursorItself(t *testing.T) {
	var out bytes.Buffer
	steps := &progress{w: &out}
	steps.start(hostile)
	steps.update(hostile + "\n")
	steps.done()
	text := strings.ReplaceAll(out.String(), "\r\x1b[K", "")
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("%q lets through what follows %q", text, text[:i])
	}
	if n := strings.Count(text, shown); n != 4 || strings.Count(text, "\n") != 1 {
		t.Errorf("%q shows the step %d times, want 4 on one line", text, n)
	}
}

// What a command line, an archive and a file of advisories hold reaches standard
// error through run.
func TestRunEscapes(t *testing.T) {
	advisories := t.TempDir()
	if err := os.WriteFile(filepath.Join(advisories, "a\x1b]0;owned\a\u202e.json"), []byte(`{"id": "\u001b[31m"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
	}{
		{"unknown flag", []string{"scan", "--" + hostile}},
		{"reference", []string{"scan", "registry.example/" + hostile}},
		{"layout", []string{"scan", "oci-dir:" + filepath.Join(t.TempDir(), "missing") + ":" + hostile}},
		{"advisories", []string{"vulndb", "build", "--from", advisories, "--out", filepath.Join(t.TempDir(), "x.tar.gz")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var messages bytes.Buffer
			run(context.Background(), tt.args, io.Discard, &messages)
			text := messages.String()
			if !strings.Contains(text, "tidewaiter: ") {
				t.Errorf("nothing was told: %q", text)
			}
			if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
				t.Errorf("%q lets through what follows %q", text, text[:i])
			}
		})
	}
}
