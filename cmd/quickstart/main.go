// Command quickstart shows Tidewaiter at work on one machine, with nothing to
// set up first.
//
// It is responsible for the first words only: within seconds it says what is
// going to happen, then it compiles the stage, which does the work, and becomes
// it. It must import nothing but a small part of the standard library; that is
// what makes it fast on a machine where nothing was compiled before.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
)

// defaultData is where the stage keeps everything unless told otherwise.
const defaultData = "quickstart-data"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "\nquickstart: %v\n", err)
		os.Exit(1)
	}
}

// run compiles the stage into the data directory and replaces this process by
// it, arguments and all.
func run(ctx context.Context, args []string) error {
	out := console.New(os.Stdout)
	out.Say("Tidewaiter quickstart: starts Postgres, a registry and Tidewaiter, pushes a vulnerable image, shows its findings.")
	root, err := source(ctx)
	if err != nil {
		return err
	}
	stage, err := filepath.Abs(filepath.Join(dataDir(args), "bin", "quickstart"))
	if err != nil {
		return err
	}
	err = out.Step("quickstart", func(report func(string)) (string, error) {
		report("compiling it takes a minute the first time")
		return "compiled", console.Build(ctx, root, stage, "./cmd/quickstart/stage", report, func(*exec.Cmd) {})
	})
	if err != nil {
		return err
	}
	return syscall.Exec(stage, append([]string{"quickstart"}, args...), os.Environ())
}

// source returns the root of the module that we stand in.
func source(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find the source with the go command: %w", err)
	}
	module, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if module != "github.com/tidewaiter/tidewaiter" {
		return "", fmt.Errorf("run this inside a clone of tidewaiter; this is %s", module)
	}
	return dir, nil
}

// dataDir is the value of --data, which the stage reads properly.
func dataDir(args []string) string {
	for i, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--data="); ok {
			return value
		}
		if arg == "--data" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return defaultData
}
