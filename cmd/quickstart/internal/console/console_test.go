package console_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
)

func TestStepShowsOutcomeAndFailure(t *testing.T) {
	var out bytes.Buffer
	c := console.Plain(&out)
	if err := c.Step("postgres", func(func(string)) (string, error) { return "up", nil }); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("no network")
	if err := c.Step("download", func(func(string)) (string, error) { return "", cause }); !errors.Is(err, cause) {
		t.Errorf("got %v, want the cause", err)
	}
	for _, want := range []string{"ok     postgres", "up", "failed download"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, out.String())
		}
	}
}

func TestBuildTellsWhyItFailed(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module example.com/broken\n\ngo 1.26\n")
	write(t, filepath.Join(dir, "main.go"), "package main\n\nfunc main() { undefined() }\n")
	err := console.Build(t.Context(), dir, filepath.Join(dir, "out"), ".", func(string) {}, func(*exec.Cmd) {})
	if err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("got %v, want the compiler's words", err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
