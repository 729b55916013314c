package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// child is a program that runs beside us, with its output in a file.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // how it ended; valid once done is closed
}

// startChild starts a program. It is ended with stop; should we be killed, the
// kernel ends it where it can.
func startChild(cmd *exec.Cmd, logFile string) (*child, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, errs.Op("start "+cmd.Path, err)
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = environment()
	cmd.SysProcAttr = attributes()
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go c.watch(started)
	return c, errs.Op("start "+cmd.Path, <-started)
}

// watch starts the program and waits for it on one thread, because the signal
// for a dead parent belongs to the thread that started the program.
func (c *child) watch(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(c.done)
	err := c.cmd.Start()
	started <- err
	if err == nil {
		c.err = c.cmd.Wait()
	}
}

// stop asks the program to end, waits, and kills it when it does not.
func (c *child) stop(patience time.Duration) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended: the better
	select {
	case <-c.done:
		return nil
	case <-time.After(patience):
		_ = c.cmd.Process.Kill()
		<-c.done
		return errs.New(errs.Timeout, "%s did not stop within %s and was killed", c.cmd.Path, patience)
	}
}

// tool runs a program to its end and returns what it printed. report is told
// the last line of its diagnostics while it runs.
func tool(ctx context.Context, report func(string), program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = environment()
	cmd.SysProcAttr = attributes()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	lines := &tail{report: report}
	cmd.Stdout, cmd.Stderr = &out, lines
	err := runOnOneThread(cmd)
	switch {
	case err == nil:
		return out.String(), nil
	case ctx.Err() != nil:
		return "", errs.Op(cmd.Path, ctx.Err())
	}
	return "", errs.Wrap(errs.Internal, lines.last(3), err)
}

func runOnOneThread(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return cmd.Run()
}

// environment is ours without the variables that override Tidewaiter's
// configuration: the one in force is the one we wrote.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TIDEWAITER_") })
}

// tail keeps the last lines written to it and reports each as it comes.
type tail struct {
	report func(string)
	lines  []string
	rest   []byte
}

// Write takes lines ended by \n or, for programs that draw their progress, \r.
func (t *tail) Write(p []byte) (int, error) {
	t.rest = append(t.rest, p...)
	for {
		i := bytes.IndexAny(t.rest, "\r\n")
		if i < 0 {
			return len(p), nil
		}
		line := strings.TrimSpace(string(t.rest[:i]))
		t.rest = t.rest[i+1:]
		if line == "" {
			continue
		}
		t.lines = append(t.lines[max(0, len(t.lines)-9):], line)
		t.report(line)
	}
}

// last returns up to n lines, for an error.
func (t *tail) last(n int) string {
	return strings.Join(t.lines[max(0, len(t.lines)-n):], "\n")
}

// logEnd returns the last lines of a file, for an error.
func logEnd(file string) string {
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return ""
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}
