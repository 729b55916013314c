package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
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
// afterwards.
func build(ctx context.Context, root, target string, report func(string)) error {
	tell := func(detail string) {
		report(detail + "; the first build takes minutes (syft and grype), later ones seconds")
	}
	tell("compiling")
	err := console.Build(ctx, root, target, "./cmd/tidewaiter", tell, func(cmd *exec.Cmd) { cmd.SysProcAttr = attributes() })
	if err == nil || ctx.Err() != nil {
		return errs.Op("tidewaiter", err)
	}
	return errs.New(errs.Internal, "%v", err).
		WithHint("the first build downloads modules; without a network, fill the module cache where there is one: go mod download")
}
