package localpostgres

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// oldest is the first major version Tidewaiter supports.
const oldest = 14

// programs is a directory with initdb and postgres of one version.
type programs struct {
	dir     string
	version string // as printed by postgres --version: "15.12"
}

// String names the version for people.
func (p programs) String() string { return "PostgreSQL " + p.version }

// major returns the major version, 0 when it could not be read.
func (p programs) major() int {
	n, _ := strconv.Atoi(regexp.MustCompile(`^\d+`).FindString(p.version))
	return n
}

// places are where packages put the server's programs when they leave them
// out of PATH: Debian, Fedora, SUSE, Alpine, Homebrew, Postgres.app.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/lib/postgresql*/bin",
	"/usr/libexec/postgresql*",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// Find returns the directory that holds initdb and postgres, version 14 or
// newer: what pg_config says, PATH, then the usual places, newest first. When
// the machine has none they are fetched once and kept in the user's cache. The
// error is NotFound and its hint names the package to install.
func Find(ctx context.Context) (bindir string, err error) {
	p, err := findVersion(ctx, 0, func(string) {})
	return p.dir, err
}

// findVersion finds programs of one major version, or any supported one when
// major is 0.
func findVersion(ctx context.Context, major int, progress func(string)) (programs, error) {
	var seen []string
	for _, dir := range candidates(ctx) {
		p, err := inspect(ctx, dir)
		if err != nil {
			continue
		}
		if p.major() == major || major == 0 && p.major() >= oldest {
			return p, nil
		}
		seen = append(seen, p.version)
	}
	if err := ctx.Err(); err != nil {
		return programs{}, errs.Op("localpostgres: find", err)
	}
	return fetch(ctx, fetchSettings{major: major, cache: cacheDir()}, seen, progress)
}

// candidates lists directories worth looking at, best first, without doubles.
func candidates(ctx context.Context) []string {
	var dirs []string
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dirs = append(dirs, strings.TrimSpace(string(out)))
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		// PATH may hold links: the programs live where the link points.
		if target, err := filepath.EvalSymlinks(path); err == nil {
			path = target
		}
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, newestFirst)
		dirs = append(dirs, found...)
	}
	return distinct(dirs)
}

func distinct(dirs []string) []string {
	var out []string
	for _, d := range dirs {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

// newestFirst orders directories by the last number in their path, so that
// 16 comes before 9.
func newestFirst(a, b string) int { return lastNumber(b) - lastNumber(a) }

func lastNumber(path string) int {
	all := regexp.MustCompile(`\d+`).FindAllString(path, -1)
	if len(all) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(all[len(all)-1])
	return n
}

// inspect asks the programs in dir for their version. A directory with only
// the client's programs is refused.
func inspect(ctx context.Context, dir string) (programs, error) {
	if info, err := os.Stat(filepath.Join(dir, "initdb")); err != nil || info.IsDir() {
		return programs{}, errors.New("no initdb")
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return programs{}, err
	}
	version := regexp.MustCompile(`\d+(\.\d+)*`).FindString(string(out))
	if version == "" {
		return programs{}, errors.New("no version")
	}
	return programs{dir: dir, version: version}, nil
}

// notFound is the error for a machine without usable programs.
func notFound(major int, seen []string, cause error) error {
	what := "PostgreSQL 14 or newer"
	if major != 0 {
		what = "PostgreSQL " + strconv.Itoa(major) + ", which made this data directory,"
	}
	text := what + " is not on this machine"
	if len(seen) > 0 {
		text += " (found " + strings.Join(seen, ", ") + ")"
	}
	e := errs.New(errs.NotFound, "localpostgres: %s, and fetching it failed", text)
	e.Err = cause
	return e.WithHint("install the server: apt-get install postgresql (Debian, Ubuntu), " +
		"dnf install postgresql-server (Fedora), apk add postgresql (Alpine), brew install postgresql@17 (macOS)")
}
