// Package pgtest gives each test a PostgreSQL database of its own, with
// Tidewaiter's schema in it.
//
// It is responsible for one server per test process, started when the first
// test asks, for a migrated template that is cloned per test in a few
// milliseconds, and for leaving neither process nor directory behind. It is
// for tests only and must hold no fixtures: what a test needs in its database
// the test writes.
//
// With TIDEWAITER_TEST_DATABASE_URL set, databases are made on that server
// instead; its user must be allowed to create databases. A migrated template
// per schema version stays there between runs.
package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// New returns a pool on a fresh, migrated database. Pool and database go when
// the test ends.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.Background(), URL(t))
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL returns the connection string of a fresh, migrated database, another one
// with each call. The database goes when the test ends, open connections or
// not.
func URL(t testing.TB) string {
	t.Helper()
	return fresh(t, (*server).clone)
}

// Empty is URL without the schema: for tests of the migration itself.
func Empty(t testing.TB) string {
	t.Helper()
	return fresh(t, (*server).create)
}

func fresh(t testing.TB, create func(*server, context.Context) (database, error)) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	db, err := create(s, context.Background())
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		// Not the test's context: that one has ended by now.
		if err := s.drop(context.Background(), db); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	return db.url
}
