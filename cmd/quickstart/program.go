package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// program returns the path of a tidewaiter to run: the given one, one built
// from the checkout we stand in, or the one in PATH.
func program(ctx context.Context, given, data string, report func(string)) (path, outcome string, err error) {
	if given != "" {
		return given, given, nil
	}
	if root, ok := checkout(ctx); ok {
		path = filepath.Join(data, "bin", "tidewaiter")
		return path, "built from " + root, build(ctx, root, path, report)
	}
	if path, err = exec.LookPath("tidewaiter"); err == nil {
		return path, path, nil
	}
	return "", "", errs.New(errs.NotFound, "neither the source of tidewaiter here nor the program in PATH").
		WithHint("run this inside a clone of the repository, or name the program with --tidewaiter")
}

// checkout returns the root of Tidewaiter's source when we are inside it and
// can build it.
func checkout(ctx context.Context) (root string, ok bool) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", false
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	return dir, path == "github.com/tidewaiter/tidewaiter"
}

// build compiles the program, which takes minutes the first time and seconds
// afterwards. Version stamping is off: it fails where the clone belongs to
// another user.
func build(ctx context.Context, root, target string, report func(string)) error {
	report("the first build compiles syft and grype: about six minutes on two cores, seconds from then on")
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-buildvcs=false", "-o", target, "./cmd/tidewaiter")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.SysProcAttr = attributes()
	progress := &compiled{report: report}
	cmd.Stderr = progress
	if err := runOnOneThread(cmd); err != nil {
		if ctx.Err() != nil {
			return errs.Op("build tidewaiter", ctx.Err())
		}
		return errs.New(errs.Internal, "build tidewaiter: %v\n%s", err, progress.errors()).
			WithHint("the first build downloads modules: without a network, fill the module cache with `go mod download` where there is one")
	}
	return nil
}

// compiled counts the packages that `go build -v` names.
type compiled struct {
	report func(string)
	text   bytes.Buffer
	count  int
}

func (c *compiled) Write(p []byte) (int, error) {
	c.text.Write(p)
	c.count += bytes.Count(p, []byte("\n"))
	c.report(fmt.Sprintf("%d packages compiled; a first build has about 1,700 and takes minutes", c.count))
	return len(p), nil
}

// errors returns what was printed besides the names of packages: everything
// after the first comment line, the compiler's way to begin a complaint.
func (c *compiled) errors() string {
	text := c.text.String()
	if i := strings.Index(text, "# "); i >= 0 {
		text = text[i:]
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
