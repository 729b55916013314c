package localpostgres_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
)

// start brings a server up on dir and takes it down with the test.
func start(t *testing.T, dir string) *localpostgres.Server {
	t.Helper()
	s, err := localpostgres.Start(t.Context(), localpostgres.Config{DataDir: dir, Progress: func(step string) { t.Log(step) }})
	if err != nil {
		t.Fatalf("start: %v (%s)", err, errs.Hint(err))
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return s
}

func query(t *testing.T, s *localpostgres.Server, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	defer conn.Close(t.Context())
	var answer string
	if err := conn.QueryRow(t.Context(), sql).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return answer
}

// closedDir is below a directory that only we may enter, as a checkout in
// root's home is.
func closedDir(t *testing.T) string {
	t.Helper()
	outer := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(outer, 0o700); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(outer, "data")
}

func TestStartKeepsDataAcrossStops(t *testing.T) {
	dir := closedDir(t)
	s := start(t, dir)
	query(t, s, "WITH made AS (SELECT 1) SELECT 'ok' FROM made")
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "CREATE TABLE kept AS SELECT 'still here' AS word"); err != nil {
		t.Fatal(err)
	}
	// The open connection must not hold up a stop.
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop: %v", err)
	}
	again := start(t, dir)
	if got := query(t, again, "SELECT word FROM kept"); got != "still here" {
		t.Errorf("kept row: got %q", got)
	}
}

func TestStartAfterCrash(t *testing.T) {
	dir := closedDir(t)
	s := start(t, dir)
	// An open connection is a child that outlives the server for a moment.
	conn, err := pgx.Connect(t.Context(), s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	process, err := os.FindProcess(s.PID())
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatalf("stop of a dead server: %v", err)
	}
	if got := query(t, start(t, dir), "SELECT 'up'"); got != "up" {
		t.Errorf("got %q", got)
	}
}

// A pid file may name a process that is alive and is no database.
func TestStartWithForeignPidFile(t *testing.T) {
	dir := closedDir(t)
	if err := start(t, dir).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	pidFile := filepath.Join(dir, "pgdata", "postmaster.pid")
	if err := os.WriteFile(pidFile, fmt.Appendf(nil, "%d\n/nowhere\n", os.Getpid()), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := query(t, start(t, dir), "SELECT 'up'"); got != "up" {
		t.Errorf("got %q", got)
	}
}

func TestStartAfterInterruptedCreation(t *testing.T) {
	dir := closedDir(t)
	if err := os.MkdirAll(filepath.Join(dir, "pgdata", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := query(t, start(t, dir), "SELECT 'up'"); got != "up" {
		t.Errorf("got %q", got)
	}
}

func TestStartRefusesDirectoryInUse(t *testing.T) {
	dir := closedDir(t)
	start(t, dir)
	_, err := localpostgres.Start(t.Context(), localpostgres.Config{DataDir: dir})
	if !errs.Is(err, errs.Conflict) || !strings.Contains(errs.Hint(err), "another data directory") {
		t.Errorf("got %v (hint %q), want a conflict that says what to do", err, errs.Hint(err))
	}
}

func TestStartWantsDirectory(t *testing.T) {
	_, err := localpostgres.Start(t.Context(), localpostgres.Config{})
	if !errs.Is(err, errs.Invalid) {
		t.Errorf("got %v, want invalid", err)
	}
}

// Another user of the machine can reach the port, so the password must matter.
func TestPasswordIsRequired(t *testing.T) {
	s := start(t, closedDir(t))
	cfg, err := pgx.ParseConfig(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = "guess"
	if conn, err := pgx.ConnectConfig(t.Context(), cfg); err == nil {
		_ = conn.Close(t.Context())
		t.Error("connected with a wrong password")
	}
}

func TestFindReturnsServerPrograms(t *testing.T) {
	dir, err := localpostgres.Find(t.Context())
	if err != nil {
		t.Fatalf("%v (%s)", err, errs.Hint(err))
	}
	for _, name := range []string{"initdb", "postgres"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}
