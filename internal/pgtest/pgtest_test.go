package pgtest_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/pgtest"
)

func hasTable(t *testing.T, pool *pgxpool.Pool, name string) bool {
	t.Helper()
	var found bool
	if err := pool.QueryRow(t.Context(), `SELECT to_regclass($1) IS NOT NULL`, name).Scan(&found); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestNewGivesEachTestItsOwnMigratedDatabase(t *testing.T) {
	first, second := pgtest.New(t), pgtest.New(t)
	if _, err := first.Exec(t.Context(), `CREATE TABLE only_here ()`); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"repository", "river_job"} {
		if !hasTable(t, second, table) {
			t.Errorf("table %s is missing: the clone is not migrated", table)
		}
	}
	if hasTable(t, second, "only_here") {
		t.Error("a table made in one database shows in another")
	}
}

func TestEmptyHasNoSchema(t *testing.T) {
	pool, err := pgxpool.New(t.Context(), pgtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if hasTable(t, pool, "repository") {
		t.Error("an empty database holds the schema")
	}
}

// A test that forgets a connection must not hold up the others, and its
// database must go.
func TestDatabaseGoesWithTheTest(t *testing.T) {
	var url string
	t.Run("leaves a connection open", func(t *testing.T) {
		url = pgtest.URL(t)
		if _, err := pgx.Connect(t.Context(), url); err != nil {
			t.Fatal(err)
		}
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("the database is still there")
	}
	if !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("got %v, want a database that does not exist", err)
	}
}

func BenchmarkURL(b *testing.B) {
	for b.Loop() {
		pgtest.URL(b)
	}
}
