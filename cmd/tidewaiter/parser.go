package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

const description = `Tidewaiter sits beside an OCI registry: a push tells it of an image, it writes down what is inside and says which of it is vulnerable, today and as the vulnerability database changes.

Start with "tidewaiter scan IMAGE" for one image, or "tidewaiter config example" for the service.

Commands that ask a running service take --server and --token, before the command or behind it, or TIDEWAITER_SERVER and TIDEWAITER_TOKEN.`

// output is where commands write; kong hands it to their Run methods.
type output struct {
	Stdout io.Writer
	Stderr people
	Stdin  io.Reader // where somebody may type; nil for nobody
}

// newParser returns the parser of the whole command line. Run methods can ask
// for a context.Context and an *output.
func newParser(ctx context.Context, stdout, stderr io.Writer) (*kong.Kong, error) {
	return kong.New(&cli{},
		kong.Name("tidewaiter"),
		kong.Description(description),
		kong.Writers(stdout, people{stderr}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&output{Stdout: stdout, Stderr: people{stderr}, Stdin: os.Stdin}),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.ValueFormatter(describe),
	)
}

// describe adds the default, where the flag itself does not show it, and the
// environment variable to the help of a flag.
func describe(value *kong.Value) string {
	var notes []string
	if key, ok := settingOf(value); ok {
		if key.Default != "" {
			notes = append(notes, "default "+key.Default)
		}
		notes = append(notes, "$"+key.Env)
	}
	if value.Default != "" && value.Tag.PlaceHolder != "" {
		notes = append(notes, "default "+value.Default)
	}
	for _, env := range value.Tag.Envs {
		notes = append(notes, "$"+env)
	}
	if len(notes) == 0 {
		return value.Help
	}
	return fmt.Sprintf("%s (%s).", strings.TrimSuffix(value.Help, "."), strings.Join(notes, ", "))
}

// settingOf finds the key of the configuration that a flag overrides. Such flags
// are marked with the tag setting:"yes".
func settingOf(value *kong.Value) (config.Key, bool) {
	if value.Flag == nil || !value.Tag.Has("setting") {
		return config.Key{}, false
	}
	for _, key := range config.Keys() {
		if key.Flag == value.Flag.Name {
			return key, true
		}
	}
	return config.Key{}, false
}
