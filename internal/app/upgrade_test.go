package app_test

import (
	"database/sql"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/migrations"
)

// What a service of the first schema wrote: it was built from the last commit
// that knew only migrations/00001_initial.sql, heard of pushes of images, of an
// index, a chart, a tag that moved, one that was deleted and one that was never
// there, and took over a second vulnerability database. Beside it what its API
// answered then.
var (
	//go:embed testdata/first_schema.sql
	firstSchemaRows string
	//go:embed testdata/first_schema.json
	firstSchemaAnswers []byte
)

// firstSchema is a database of the first schema with those rows.
func firstSchema(t *testing.T) (url string) {
	t.Helper()
	url = pgtest.Empty(t)
	if _, err := migrator(t, url).UpTo(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), firstSchemaRows, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatal(err)
	}
	return url
}

func migrator(t *testing.T, url string) *goose.Provider {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	provider, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS)
	if err != nil {
		t.Fatal(err)
	}
	return provider
}

// TestEveryMigrationKeepsWhatIsThere takes the migrations one by one over a
// database in use.
func TestEveryMigrationKeepsWhatIsThere(t *testing.T) {
	url := firstSchema(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	provider := migrator(t, url)
	before := rowsOf(t, conn)
	if len(before) < 20 {
		t.Fatalf("the first schema has rows in %d tables only: %v", len(before), before)
	}
	for _, source := range provider.ListSources()[1:] {
		if _, err := provider.ApplyVersion(t.Context(), source.Version, true); err != nil {
			t.Fatalf("%s: %v", source.Path, err)
		}
		after := rowsOf(t, conn)
		for table, n := range before {
			if after[table] < n {
				t.Errorf("%s leaves %d of %d rows of %s", source.Path, after[table], n, table)
			}
		}
		before = after
	}
	if current, target, err := provider.GetVersions(t.Context()); err != nil || current != target {
		t.Errorf("the schema is at %d of %d, %v", current, target, err)
	}
	// Migrating what is migrated changes nothing.
	if err := postgres.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, rowsOf(t, conn)); diff != "" {
		t.Errorf("migrating again changed rows:\n%s", diff)
	}
}

// rowsOf counts the rows of each table of ours that has any.
func rowsOf(t *testing.T, conn *pgx.Conn) map[string]int {
	t.Helper()
	rows, _ := conn.Query(t.Context(), `SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
		AND NOT relispartition AND relname NOT LIKE 'river%' AND relname NOT LIKE 'goose%'`)
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]int{}
	for _, table := range tables {
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM "+pgx.Identifier{table}.Sanitize()).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			found[table] = n
		}
	}
	return found
}

// answered is what an API says of everything that matters to a reader, without
// the address of the registry.
type answered struct {
	Findings map[string][]string `json:"findings"`
	Tags     []string            `json:"tags"`
	History  []string            `json:"history"`
	Events   []string            `json:"events"`
}

// answers asks for the findings of images, for the history of these and more tags,
// and for everything else.
func (s *service) answers(images []string, more ...string) answered {
	s.t.Helper()
	host := s.registry.Host() + "/"
	a := answered{Findings: map[string][]string{}}
	for _, image := range images {
		a.Findings[image] = s.findings(host + image)
	}
	for _, repository := range s.items("/repositories?registry=local") {
		name := repository["repository"].(string)
		for _, tag := range s.items("/tags?repository=" + name) {
			a.Tags = append(a.Tags, fmt.Sprint(tag["reference"], " ", tag["digest"]))
		}
	}
	for _, tag := range slices.Concat(images, more) {
		for _, event := range s.items("/tags/history?ref=" + host + tag) {
			a.History = append(a.History, fmt.Sprint(tag, " ", event["action"], " ", event["digest"]))
		}
	}
	for _, e := range s.items("/events?registry=local") {
		p := e["package"].(map[string]any)
		a.Events = append(a.Events, fmt.Sprint(e["kind"], " ", e["repository"], " ", p["type"], " ", p["name"], " ", e["vulnerability"], " ", e["severity"], " ", e["cause"]))
	}
	for _, lines := range [][]string{a.Tags, a.History, a.Events} {
		for i := range lines {
			lines[i] = strings.ReplaceAll(lines[i], host, "")
		}
		slices.Sort(lines)
	}
	return a
}

// items reads all pages of a listing.
func (s *service) items(path string) (all []map[string]any) {
	s.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items      []map[string]any `json:"items"`
			NextCursor string           `json:"next_cursor"`
		}
		if status := s.get("/api/v1"+path+cursor, &page); status != http.StatusOK {
			s.t.Fatalf("%s: %d", path, status)
		}
		all = append(all, page.Items...)
		if page.NextCursor == "" {
			return all
		}
		cursor = "&cursor=" + page.NextCursor
	}
}

// TestTheFirstSchemaIsUpgraded starts a service on what one of the first schema
// left: it answers as that one did, before it has judged anything; then takes over
// newer databases, goes on with what waited, and scans what is pushed.
func TestTheFirstSchemaIsUpgraded(t *testing.T) {
	url := firstSchema(t)
	var was struct {
		answered
		Token string `json:"token"`
	}
	if err := json.Unmarshal(firstSchemaAnswers, &was); err != nil {
		t.Fatal(err)
	}
	images, more := []string{"team/shop:1.0", "team/shop:2.0", "team/shop:latest", "team/multi:1"}, []string{"team/gone:1", "charts/web:1.0.0"}
	t.Run("answers", func(t *testing.T) {
		s := startOn(t, url, func(c *config.Config) { c.Workers.Enabled, c.VulnDB.Dir = false, t.TempDir() })
		if diff := cmp.Diff(was.answered, s.answers(images, more...)); diff != "" {
			t.Errorf("the answers are others than before (-before +after):\n%s", diff)
		}
		s.token = was.Token
		if status := s.get("/api/v1/repositories", nil); status != http.StatusOK {
			t.Errorf("a token of before is answered %d", status)
		}
	})
	t.Run("goes on", func(t *testing.T) {
		library := newerSample(t)
		// What was written once grows old: nothing is collected.
		s := startOn(t, url, func(c *config.Config) { c.VulnDB.Dir, c.Retention.Interval = library, 0 })
		s.until(`count(*) = 1 FROM vuln_build WHERE state = 'active' AND checksum = $1`, current(t, library))
		after := s.answers(images, more...)
		if diff := cmp.Diff(was.Findings, after.Findings); diff != "" {
			t.Errorf("another database of the same advisories finds otherwise (-before +after):\n%s", diff)
		}
		if diff := cmp.Diff(was.Events, after.Events); diff != "" {
			t.Errorf("news of a change that brings none (-before +after):\n%s", diff)
		}
		importAdvisory(t, library)
		s.until(`count(*) = 1 FROM repository_finding f JOIN repository r ON r.id = f.repository_id
			WHERE r.name = 'team/shop' AND vulnerability = 'CVE-2026-99999' AND closed_at IS NULL`)
		s.pushed(withNPM(t, "lodash", "4.17.15", "left-pad", "1.0.0"), "team/shop", "3.0")
		if found := s.findings(s.registry.Host() + "/team/shop:3.0"); !slices.Contains(found, "CVE-2026-99999 npm lodash 4.17.15") {
			t.Errorf("a push after the upgrade has %v", found)
		}
	})
}

// newerSample is a library with the sample as if it was published today: newer
// than what the service of the first schema had.
func newerSample(t *testing.T) (library string) {
	t.Helper()
	library = filepath.Join(t.TempDir(), "vulndb")
	l, err := vulndb.Open(vulndb.Config{Dir: library})
	if err != nil {
		t.Fatal(err)
	}
	built, err := l.Build(t.Context(), vulndb.BuildOptions{Sample: true, Built: time.Now(), Out: t.TempDir()}, nil)
	if err == nil {
		_, err = l.Import(t.Context(), built.Archive, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return library
}

// TestWorkThatWaitsIsDoneAfterAnUpgrade: a scan that a service of the first
// schema queued is in no line of the newest, which knows turns.
func TestWorkThatWaitsIsDoneAfterAnUpgrade(t *testing.T) {
	url := firstSchema(t)
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	if _, err := conn.Exec(t.Context(), `INSERT INTO scan (repository_id, tag, cause) SELECT id, 'waits', 'push' FROM repository WHERE name = 'team/shop'`); err != nil {
		t.Fatal(err)
	}
	s := &service{t: t}
	c := s.config(url)
	c.Retention.Interval, c.VulnDB.Dir = 0, newerSample(t)
	digest := s.push(withNPM(t, "lodash", "4.17.15"), "team/shop:waits")
	s.run(c)
	s.settled("team/shop", "waits", digest)
}
