package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// refreshAfter is the age from which the database in the user's cache directory
// is looked up anew.
const refreshAfter = 24 * time.Hour

// session opens the database and pins it. The function returned closes both and
// removes what was unpacked for this scan only.
func (c *scanCmd) session(ctx context.Context, loaded config.Config, steps *progress) (*match.Session, func(), error) {
	steps.start("open the vulnerability database")
	installed, remove, err := c.database(ctx, loaded, steps)
	if err != nil {
		return nil, nil, err
	}
	engine := match.NewEngine(match.Options{})
	if err := engine.Use(ctx, installed); err != nil {
		remove()
		return nil, nil, err
	}
	session, err := engine.Pin(ctx)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return session, func() {
		_ = engine.Close()
		_ = session.Close()
		remove()
	}, nil
}

// database finds the database to judge with: the one that is named, else that
// of the service on this machine, else the user's own.
func (c *scanCmd) database(ctx context.Context, loaded config.Config, steps *progress) (in vulndb.Installed, remove func(), err error) {
	remove = func() {}
	if c.DB != "" {
		return c.named(ctx, steps)
	}
	dir := loaded.VulnDB.Dir
	if set := os.Getenv("TIDEWAITER_VULNDB_DIR"); set != "" && c.Config == "" {
		dir = set
	}
	if in, err = current(dir); !errs.Is(err, errs.NotFound) {
		return in, remove, err
	}
	in, err = c.own(ctx, loaded, steps)
	return in, remove, err
}

func current(dir string) (vulndb.Installed, error) {
	library, err := vulndb.Open(vulndb.Config{Dir: dir})
	if err != nil {
		return vulndb.Installed{}, err
	}
	return library.Current()
}

// named opens what --db names. A library, or a build inside one, is used where
// it lies; anything else is unpacked for this scan.
func (c *scanCmd) named(ctx context.Context, steps *progress) (vulndb.Installed, func(), error) {
	path, err := filepath.Abs(c.DB)
	if err != nil {
		return vulndb.Installed{}, nil, errs.Wrap(errs.Invalid, "scan: --db", err)
	}
	if in, err := current(path); err == nil {
		return in, func() {}, nil
	}
	if parent := filepath.Dir(path); filepath.Base(parent) == "builds" {
		if library, err := vulndb.Open(vulndb.Config{Dir: filepath.Dir(parent)}); err == nil {
			if in, err := library.Get("sha256:" + filepath.Base(path)); err == nil {
				return in, func() {}, nil
			}
		}
	}
	return c.unpacked(ctx, path, steps)
}

func (c *scanCmd) unpacked(ctx context.Context, path string, steps *progress) (vulndb.Installed, func(), error) {
	dir, err := os.MkdirTemp(c.TempDir, "tidewaiter-db-")
	if err != nil {
		return vulndb.Installed{}, nil, errs.Wrap(errs.Internal, "scan: unpack the vulnerability database", err)
	}
	remove := func() { _ = os.RemoveAll(dir) }
	library, err := vulndb.Open(vulndb.Config{Dir: dir})
	if err != nil {
		remove()
		return vulndb.Installed{}, nil, err
	}
	in, err := library.Import(ctx, path, steps.bytes)
	if err != nil {
		remove()
		return vulndb.Installed{}, nil, err
	}
	return in, remove, nil
}

// own opens the database in the user's cache directory. It is fetched when there
// is none, and looked up anew when it is older than a day; the old one does
// when that fails.
func (c *scanCmd) own(ctx context.Context, loaded config.Config, steps *progress) (vulndb.Installed, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return vulndb.Installed{}, errs.New(errs.Invalid, "scan: there is no vulnerability database").WithHint("name one with --db")
	}
	library, err := vulndb.Open(vulndb.Config{
		Dir: filepath.Join(cache, "tidewaiter", "vulndb"), URL: loaded.VulnDB.URL.Reveal(), CAFile: loaded.VulnDB.CAFile,
	})
	if err != nil {
		return vulndb.Installed{}, err
	}
	have, err := library.Current()
	if err == nil && time.Since(have.Built) < refreshAfter {
		return have, nil
	}
	updated, _, failed := library.Update(ctx, steps.bytes)
	switch {
	case failed == nil:
		return updated, nil
	case err == nil:
		return have, nil
	}
	return vulndb.Installed{}, (&errs.Error{Kind: errs.KindOf(failed), Op: "scan: fetch a vulnerability database", Err: failed}).
		WithHint("name one with --db: a directory of tidewaiter vulndb, or an archive from %s", vulndb.DefaultURL)
}

// bytes shows how far an operation on a database is; vulndb.Progress.
func (p *progress) bytes(stage string, done, total int64) {
	text := fmt.Sprintf("%s %.0f MB", stage, float64(done)/1e6)
	if total > 0 {
		text += fmt.Sprintf(" of %.0f", float64(total)/1e6)
	}
	p.update(text)
}
