package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Exit codes of every command. scan has more.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 64 // EX_USAGE of sysexits.h; 2 means findings
)

// usageError is a command line that cannot be understood.
type usageError struct {
	err     error
	command string // whose help to read
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage turns what the parser says into a usageError.
func usage(err error) error {
	command := "tidewaiter"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		command = parse.Context.Selected().FullPath()
	}
	return &usageError{err: err, command: command}
}

// fail tells a person what went wrong and what to do next, and returns the exit
// code. Errors with an ExitCode method choose their own; one without a message
// is not told.
func fail(w people, err error) int {
	if err == nil {
		return exitOK
	}
	if text := message(err); text != "" {
		_, _ = fmt.Fprintf(w, "tidewaiter: %s\n", text)
		if hint := hintOf(err); hint != "" {
			_, _ = fmt.Fprintf(w, "  hint: %s\n", hint)
		}
	}
	return exitCode(err)
}

// message puts the problems of a configuration on lines of their own.
func message(err error) string {
	var problems config.Problems
	if !errors.As(err, &problems) || len(problems) == 1 {
		return once(err.Error())
	}
	operation := strings.TrimSuffix(err.Error(), problems.Error())
	lines := strings.ReplaceAll(problems.Error(), "\n", "\n  ")
	return fmt.Sprintf("%s%d problems\n  %s", operation, len(problems), lines)
}

// once leaves out lines that stand there already: pgx tells each attempt to
// connect, with TLS and without, in the same words. The tab it indents them with
// becomes spaces, which print.
func once(text string) string {
	var kept []string
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "\t"); ok {
			line = "  " + rest
		}
		if !slices.Contains(kept, line) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

func hintOf(err error) string {
	var wrong *usageError
	if errors.As(err, &wrong) {
		return wrong.command + " --help"
	}
	// The parser joins errors, and a chain ends for errs.Hint where one is joined.
	var known *errs.Error
	if errors.As(err, &known) {
		return errs.Hint(known)
	}
	return ""
}

func exitCode(err error) int {
	var wrong *usageError
	var coder interface{ ExitCode() int }
	switch {
	case errors.As(err, &wrong):
		return exitUsage
	case errors.As(err, &coder):
		return coder.ExitCode()
	}
	return exitFailed
}
