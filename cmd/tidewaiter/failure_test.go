package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

type coded struct {
	text string
	code int
}

func (c coded) Error() string { return c.text }
func (c coded) ExitCode() int { return c.code }

func TestFail(t *testing.T) {
	two := config.Problems{{Line: 1, Path: "a", Text: "x"}, {Line: 2, Path: "b", Text: "y"}}
	tests := []struct {
		name string
		err  error
		code int
		want string
	}{
		{"nothing", nil, 0, ""},
		{"plain", errors.New("no"), 1, "tidewaiter: no\n"},
		{"the same line twice", errors.New("connect:\n\ta: refused\n\ta: refused\n\tb: refused"), 1, "tidewaiter: connect:\n  a: refused\n  b: refused\n"},
		{"hint behind a join", errors.Join(fmt.Errorf("run: %w", errs.New(errs.Invalid, "no").WithHint("do this"))), 1, "tidewaiter: run: no\n  hint: do this\n"},
		{"its own code", coded{"findings", 2}, 2, "tidewaiter: findings\n"},
		{"its own code, silent", fmt.Errorf("%w", coded{"", 2}), 2, ""},
		{"usage", &usageError{errors.New("unknown flag"), "tidewaiter scan"}, 64, "tidewaiter: unknown flag\n  hint: tidewaiter scan --help\n"},
		{"one problem", errs.Wrap(errs.Invalid, "config: f", two[:1]), 1, "tidewaiter: config: f: line 1: a: x\n"},
		{"two problems", errs.Wrap(errs.Invalid, "config: f", two), 1, "tidewaiter: config: f: 2 problems\n  line 1: a: x\n  line 2: b: y\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			if code := fail(people{&out}, tt.err); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
