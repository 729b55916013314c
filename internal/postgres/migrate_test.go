package postgres_test

import (
	"context"
	"database/sql"
	"io/fs"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/migrations"
)

// A backup reads every table in one long transaction. A migration that stood in
// line behind it would hold up everybody who comes after, which is the service.
func TestAMigrationThatWaitsHoldsNobodyUp(t *testing.T) {
	url := pgtest.Empty(t)
	first(t, url)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	backup, service := connect(t, url), connect(t, url)
	reading, err := backup.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reading.Exec(ctx, `LOCK TABLE registry, scan IN ACCESS SHARE MODE`); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() { migrated <- postgres.Migrate(ctx, url) }()
	waiting(ctx, t, service)
	for range 3 {
		if _, err := service.Exec(ctx, `UPDATE scan SET detail = '' WHERE false`); err != nil {
			t.Fatalf("the service does not get through: %v", err)
		}
	}
	if err := reading.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Fatal(err)
	}
	if _, err := service.Exec(ctx, `SELECT turn FROM scan`); err != nil {
		t.Errorf("the migration did not come after all: %v", err)
	}
}

// After an update somebody may have to go back to the program of before.
func TestTheVersionBeforeStartsOnANewerSchema(t *testing.T) {
	url := pgtest.URL(t)
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	before := fstest.MapFS{}
	for _, name := range names[:len(names)-1] {
		text, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = &fstest.MapFile{Data: text}
	}
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, before)
	if err != nil {
		t.Fatal(err)
	}
	if pending, err := provider.HasPending(t.Context()); pending || err != nil {
		t.Errorf("pending %v, %v on a schema that is newer", pending, err)
	}
	if done, err := provider.Up(t.Context()); len(done) > 0 || err != nil {
		t.Errorf("it made %d migrations, %v", len(done), err)
	}
}

func TestABadURLIsToldWithoutItsPassword(t *testing.T) {
	err := postgres.Migrate(t.Context(), "postgres://user:hunter2@host:nonsense/name")
	if !errs.Is(err, errs.Invalid) || errs.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

// first brings an empty database to the first schema.
func first(t *testing.T, url string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS)
	if err == nil {
		_, err = provider.UpTo(t.Context(), 1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

// waiting waits until somebody waits for a table of this database.
func waiting(ctx context.Context, t *testing.T, conn *pgx.Conn) {
	t.Helper()
	const query = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE d.datname = current_database() AND l.locktype = 'relation' AND NOT l.granted)`
	for found := false; !found; {
		if err := conn.QueryRow(ctx, query).Scan(&found); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatal("no migration waits for a table")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
