package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
)

// TestMain lets scripts run the command line as a program of its own.
func TestMain(m *testing.M) {
	// A service in a test starts this program to read images in.
	if len(os.Args) > 1 && os.Args[1] == app.CatalogWorker {
		main()
	}
	programs := map[string]func(){"tidewaiter": main}
	if _, err := exec.LookPath("curl"); err != nil || isCurl() {
		programs["curl"] = curl // the commands of pages ask with it
	}
	testscript.Main(m, programs)
}

// TestScripts runs testdata/script: what is typed and what comes back.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("COLUMNS", "100")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "database": database(t)},
	})
}

// database makes an empty Postgres database and names it to the commands that
// follow, in the environment and in url.txt.
func database(t *testing.T) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, _ []string) {
		url := pgtest.Empty(t)
		ts.Setenv("TIDEWAITER_DATABASE_URL", url)
		ts.Check(os.WriteFile(ts.MkAbs("url.txt"), []byte(url+"\n"), 0o600))
	}
}

// exits runs the command line and checks the exit code: exits CODE ARG...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = strconv.Itoa(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s\n%s%s", got, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}
