package postgres

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/migrations"
)

// How long a migration stands in line for a table. Whoever waits for a table holds
// up everybody who comes after: one that waited for a backup to end would stop the
// service that runs meanwhile. So it steps back, lets the others through, and
// tries again.
const (
	lockWait     = 2 * time.Second
	lockPause    = time.Second
	lockPatience = 10 * time.Minute
)

// Migrate brings the database at url to the newest schema: ours, then River's.
// It is safe to run twice and from several processes at once: the second waits
// for the first. It is safe beside a service of the version before; a table that
// somebody holds is asked for again and again for ten minutes, and then the error
// is of kind Conflict.
func Migrate(ctx context.Context, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return errs.New(errs.Invalid, "postgres: the database url cannot be read").
			WithHint("write it as postgres://user:password@host:5432/name?sslmode=…")
	}
	if err := migrateOurs(ctx, config); err != nil {
		return err
	}
	return migrateRiver(ctx, url)
}

func migrateOurs(ctx context.Context, config *pgx.ConnConfig) error {
	hasty, closeHasty, err := migrator(config, lockWait)
	if err != nil {
		return wrap("migrate", err)
	}
	defer closeHasty()
	patient, closePatient, err := migrator(config, 0)
	if err != nil {
		return wrap("migrate", err)
	}
	defer closePatient()
	pending, err := hasty.HasPending(ctx)
	if err != nil || !pending {
		return wrap("migrate", err)
	}
	for _, source := range hasty.ListSources() {
		beside, err := besideOthers(source.Path)
		if err != nil {
			return wrap("migrate", err)
		}
		if beside {
			_, err = patient.UpTo(ctx, source.Version)
		} else {
			err = upTo(ctx, hasty, source.Version)
		}
		if err != nil {
			return wrap("migrate", err)
		}
	}
	return nil
}

// migrator reads the migrations for a database; its statements give up a lock they
// do not get within wait, 0 for never.
func migrator(config *pgx.ConnConfig, wait time.Duration) (*goose.Provider, func(), error) {
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SELECT set_config('lock_timeout', $1, false)`, wait.String())
		return err
	}))
	closeDB := func() { _ = db.Close() }
	provider, err := newProvider(db)
	if err != nil {
		closeDB()
		return nil, nil, err
	}
	return provider, closeDB, nil
}

func newProvider(db *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, migrations.FS, goose.WithSessionLocker(locker))
}

// besideOthers reports whether a migration builds indexes concurrently: it is in
// nobody's way, and has to wait for every transaction that began before.
func besideOthers(path string) (bool, error) {
	text, err := fs.ReadFile(migrations.FS, path)
	return strings.Contains(string(text), "-- +goose NO TRANSACTION\n"), err
}

// upTo applies what there is up to a version, as often as it takes to get the
// locks. A migration that does not get them leaves nothing behind.
func upTo(ctx context.Context, p *goose.Provider, version int64) error {
	patience, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		_, err := p.UpTo(ctx, version)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "55P03" {
			return err
		}
		select {
		case <-time.After(lockPause):
		case <-patience.Done():
			return &errs.Error{Kind: errs.Conflict, Op: "postgres: migrate", Err: err,
				Hint: "something holds a table for long, as a backup or a forgotten session: look for it in pg_stat_activity, and start again when it is over"}
		}
	}
}

// migrateRiver adds the tables of the queue under a lock of its own.
func migrateRiver(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return wrap("migrate queue", err)
	}
	defer pool.Close()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return wrap("migrate queue", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock(`+lockKey("migrate")+`)`); err != nil {
		return wrap("migrate queue", err)
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(`+lockKey("migrate")+`)`)
	}()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err != nil {
		return wrap("migrate queue", err)
	}
	_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return wrap("migrate queue", err)
}
