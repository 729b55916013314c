package localpostgres

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// fetchDeadline bounds the download of about 30 MB.
const fetchDeadline = 3 * time.Minute

// fetchable are the versions the fetcher knows, by major.
var fetchable = map[int]embeddedpostgres.PostgresVersion{
	14: embeddedpostgres.V14,
	15: embeddedpostgres.V15,
	16: embeddedpostgres.V16,
	17: embeddedpostgres.V17,
	18: embeddedpostgres.V18,
}

// preferred is fetched when any version will do.
const preferred = 17

// fetchSettings say what to fetch, from where and where to keep it.
type fetchSettings struct {
	major      int
	cache      string
	repository string // empty for the public one
}

// fetch returns programs from the cache, after filling it from the network
// when it holds none. seen lists the versions the machine had, for the error.
func fetch(ctx context.Context, set fetchSettings, seen []string, progress func(string)) (programs, error) {
	version, ok := fetchable[set.major]
	if set.major == 0 {
		version, ok = fetchable[preferred], true
	}
	if !ok {
		return programs{}, notFound(set.major, seen, fmt.Errorf("no download of version %d is known", set.major))
	}
	home := filepath.Join(set.cache, string(version))
	dir := filepath.Join(home, "bin")
	if p, err := inspect(ctx, dir); err == nil {
		return p, nil
	}
	progress("fetching PostgreSQL " + string(version) + " (about 30 MB, once)")
	if err := unpack(ctx, set, version, home); err != nil {
		return programs{}, notFound(set.major, seen, err)
	}
	p, err := inspect(ctx, dir)
	if err != nil {
		return programs{}, notFound(set.major, seen, err)
	}
	return p, nil
}

// unpack downloads and unpacks into home. The library can only fetch as a part
// of starting a server, and cannot start one as root; so it is given a data
// directory that cannot exist, which ends its Start right after unpacking.
func unpack(ctx context.Context, set fetchSettings, version embeddedpostgres.PostgresVersion, home string) error {
	if err := os.MkdirAll(set.cache, 0o755); err != nil {
		return err
	}
	stop, err := os.CreateTemp(set.cache, "not-a-directory-")
	if err != nil {
		return err
	}
	_ = stop.Close()
	defer func() { _ = os.Remove(stop.Name()) }()
	cfg := embeddedpostgres.DefaultConfig().Version(version).Logger(io.Discard).Port(0).
		CachePath(filepath.Join(set.cache, "archives")).BinariesPath(home).
		RuntimePath(filepath.Join(set.cache, "runtime")).DataPath(filepath.Join(stop.Name(), "data"))
	if set.repository != "" {
		cfg = cfg.BinaryRepositoryURL(set.repository)
	}
	return within(ctx, fetchDeadline, func() error {
		err := embeddedpostgres.NewDatabase(cfg).Start()
		if _, missing := os.Stat(filepath.Join(home, "bin", "postgres")); missing != nil {
			return err
		}
		return nil
	})
}

// within runs work that takes no context and stops waiting for it at the
// deadline; the work itself then ends with its own network timeouts.
func within(ctx context.Context, limit time.Duration, work func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errs.Op("fetch", ctx.Err())
	}
}

// cacheDir is where fetched programs are kept. Root's own cache cannot be
// reached by the account the server runs under, so root uses the system's.
func cacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/tidewaiter/postgres"
	}
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	return filepath.Join(base, "tidewaiter", "postgres")
}
