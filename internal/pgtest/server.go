package pgtest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/migrations"
)

// externalURL names the environment variable for a server that exists already.
const externalURL = "TIDEWAITER_TEST_DATABASE_URL"

// shared starts the process's server once, when the first test asks. There is
// no moment to stop it: a test process ends without a word. See guard.
var shared = sync.OnceValues(func() (*server, error) {
	if given := os.Getenv(externalURL); given != "" {
		return connect(context.Background(), given)
	}
	given, err := startPrivate(context.Background())
	if err != nil {
		return nil, err
	}
	return connect(context.Background(), given)
})

// server makes and drops databases. Its pool is on the server's own database.
type server struct {
	admin    *pgxpool.Pool
	base     *url.URL
	template string
	made     atomic.Int64
}

// database is one test's.
type database struct {
	name, url string
}

func connect(ctx context.Context, raw string) (*server, error) {
	base, err := url.Parse(raw)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "read "+externalURL, err)
	}
	cfg, err := pgxpool.ParseConfig(raw)
	if err != nil {
		return nil, errs.Wrap(errs.Invalid, "read "+externalURL, err)
	}
	cfg.MaxConns = 4
	admin, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, errs.Op("connect", err)
	}
	name, err := templateName()
	if err != nil {
		return nil, err
	}
	s := &server{admin: admin, base: base, template: name}
	return s, s.prepareTemplate(ctx)
}

// templateName changes with the migrations, so that a kept template is never
// an outdated one.
func templateName() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(migrations.FS, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := fs.ReadFile(migrations.FS, path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(text), text)
		return err
	})
	return "tidewaiter_template_" + hex.EncodeToString(sum.Sum(nil))[:12], errs.Op("read migrations", err)
}

// prepareTemplate creates and migrates the template. Nobody may be connected
// to a template while it is cloned, so on a shared server the migration waits
// for the clones of other processes and they for it.
func (s *server) prepareTemplate(ctx context.Context) error {
	return s.locked(ctx, "pg_advisory_lock", "pg_advisory_unlock", func(conn *pgx.Conn) error {
		var exists bool
		err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, s.template).Scan(&exists)
		if err != nil {
			return errs.Op("look for template", err)
		}
		if !exists {
			if _, err := conn.Exec(ctx, `CREATE DATABASE `+quote(s.template)); err != nil {
				return errs.Op("create template", err)
			}
		}
		return postgres.Migrate(ctx, s.urlOf(s.template))
	})
}

// clone makes a migrated database.
func (s *server) clone(ctx context.Context) (database, error) {
	db := s.next()
	err := s.locked(ctx, "pg_advisory_lock_shared", "pg_advisory_unlock_shared", func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `CREATE DATABASE `+quote(db.name)+` TEMPLATE `+quote(s.template))
		return errs.Op("clone template", err)
	})
	return db, err
}

// create makes an empty database.
func (s *server) create(ctx context.Context) (database, error) {
	db := s.next()
	_, err := s.admin.Exec(ctx, `CREATE DATABASE `+quote(db.name)+` TEMPLATE template0`)
	return db, errs.Op("create database", err)
}

func (s *server) drop(ctx context.Context, db database) error {
	_, err := s.admin.Exec(ctx, `DROP DATABASE IF EXISTS `+quote(db.name)+` WITH (FORCE)`)
	return errs.Op("drop database", err)
}

// locked runs work on one connection that holds the template's lock.
func (s *server) locked(ctx context.Context, lock, unlock string, work func(*pgx.Conn) error) error {
	const key = 7_405_310_221 // any number that nobody else uses
	conn, err := s.admin.Acquire(ctx)
	if err != nil {
		return errs.Op("connect", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, fmt.Sprintf(`SELECT %s(%d)`, lock, key)); err != nil {
		return errs.Op("lock template", err)
	}
	err = work(conn.Conn())
	if _, unlockErr := conn.Exec(ctx, fmt.Sprintf(`SELECT %s(%d)`, unlock, key)); err == nil {
		err = errs.Op("unlock template", unlockErr)
	}
	return err
}

func (s *server) next() database {
	name := fmt.Sprintf("tidewaiter_test_%d_%d", os.Getpid(), s.made.Add(1))
	return database{name: name, url: s.urlOf(name)}
}

func (s *server) urlOf(name string) string {
	u := *s.base
	u.Path = "/" + name
	return u.String()
}

// quote makes an identifier; the names are our own, this is for the eye.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
