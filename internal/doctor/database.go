package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// leastVersion is the oldest Postgres that has what the store uses.
const leastVersion = 14_00_00

// database is what one look at Postgres found. The checks that go by it wait until
// ready is closed.
type database struct {
	ready  chan struct{}
	err    error // why nothing is known
	facts  postgres.Examination
	usable bool // its schema is this program's, and was read
	active *vuln.Build
	states map[string]int // builds by state
	heard  map[string]report.Endpoint
}

// wait returns what is known of the database, nil when nothing is.
func (e *examination) wait(ctx context.Context) *database {
	select {
	case <-e.database.ready:
	case <-ctx.Done():
		return nil
	}
	if e.database.err != nil {
		return nil
	}
	return &e.database
}

// unknownWithout is the finding of a check that needs the database.
func unknownWithout(name string) []Finding {
	return []Finding{{Check: name, Status: Skipped, Found: "not known without the database"}}
}

// lookAtDatabase connects, and leaves for others what it saw.
func (e *examination) lookAtDatabase(ctx context.Context) []Finding {
	const name = "database"
	d := &e.database
	defer close(d.ready)
	if e.isWrong("database.url") {
		d.err = errs.New(errs.Invalid, "database.url has a problem")
		return left(name)
	}
	url := strings.TrimSpace(e.config.Database.URL.Reveal())
	if d.facts, d.err = postgres.Examine(ctx, url); d.err != nil {
		return []Finding{failed(name, d.err, "check that Postgres runs and that database.url names it")}
	}
	found := e.judgeServer(d.facts)
	if d.facts.Schema >= d.facts.Newest {
		if err := d.read(ctx, url); err != nil {
			found = append(found, failed(name, err, "grant the user of database.url what the service needs, then try again"))
		}
	}
	return found
}

// read fills in what the tables say.
func (d *database) read(ctx context.Context, url string) error {
	store, err := postgres.Open(ctx, url, postgres.Options{MaxConns: 2})
	if err != nil {
		return err
	}
	defer store.Close()
	active, err := store.ActiveBuild(ctx)
	switch {
	case err == nil:
		d.active = &active
	case !errs.Is(err, errs.NotFound):
		return err
	}
	figures, err := store.BuildFigures(ctx)
	if err != nil {
		return err
	}
	d.states = figures.States
	d.heard, err = store.Endpoints(ctx)
	d.usable = err == nil
	return err
}

// judgeServer says what is good and bad about the server.
func (e *examination) judgeServer(f postgres.Examination) []Finding {
	const name = "database"
	found := []Finding{{name, OK, fmt.Sprintf("Postgres %s, database %s, user %s", f.Release, f.Database, f.User), ""}}
	add := func(s Status, fix, format string, args ...any) {
		found = append(found, Finding{name, s, fmt.Sprintf(format, args...), fix})
	}
	if f.Version < leastVersion {
		add(Fail, "move to Postgres 14 or newer", "Postgres %s is too old", f.Release)
	}
	if f.ReadOnly {
		add(Fail, "name the primary in database.url, as with target_session_attrs=read-write", "the server takes no writes: it is a standby, or read-only")
	}
	if len(f.Denied) > 0 {
		add(Fail, "connect as the owner of the schema, which is who ran `tidewaiter migrate`, or grant what is missing",
			"user %s lacks: %s", f.User, strings.Join(f.Denied, ", "))
	}
	free, wanted := f.MaxConnections-f.Reserved-f.Used, e.config.Database.MaxConns
	switch {
	case wanted > f.MaxConnections-f.Reserved:
		add(Fail, "lower database.max_conns, or raise max_connections of the server",
			"database.max_conns is %d, and the server lets in %d", wanted, f.MaxConnections-f.Reserved)
	case wanted > free:
		add(Warn, "raise max_connections of the server, or lower database.max_conns; every process of the service opens that many",
			"%d of %d connections are open; %d more, which one process may open, do not fit", f.Used, f.MaxConnections-f.Reserved, wanted)
	}
	return found
}

// lookAtMigrations compares the schema with the one this program brings.
func (e *examination) lookAtMigrations(ctx context.Context) []Finding {
	const name = "migrations"
	d := e.wait(ctx)
	if d == nil {
		return unknownWithout(name)
	}
	f := d.facts
	of := fmt.Sprintf("schema %d, queue %d", f.Schema, f.Queue)
	switch {
	case f.Schema == 0:
		return []Finding{{name, Fail, "the database has no schema yet", "run `tidewaiter migrate`; `tidewaiter serve` does the same when it starts"}}
	case f.Ahead():
		return []Finding{{name, Fail, fmt.Sprintf("%s: a newer version migrated it; this one knows %d and %d", of, f.Newest, f.NewestQueue),
			"run the newer version here, too; to go back to this one, restore a backup from before the migration"}}
	case f.Behind():
		return []Finding{{name, Fail, fmt.Sprintf("%s is behind this version, which has %d and %d", of, f.Newest, f.NewestQueue),
			"run `tidewaiter migrate` as the owner of the schema, or start `tidewaiter serve`, which does it when it starts"}}
	}
	return []Finding{{name, OK, of + ": up to date", ""}}
}

// Clocks that differ by more than warnClock mix up the order of what happened; from
// failClock on, signatures and tokens that are valid for minutes are refused.
const (
	warnClock = 10 * time.Second
	failClock = 2 * time.Minute
)

// lookAtClock compares the clock with that of Postgres.
func (e *examination) lookAtClock(ctx context.Context) []Finding {
	const name = "clock"
	d := e.wait(ctx)
	if d == nil {
		return unknownWithout(name)
	}
	return []Finding{judgeClock(name, "Postgres", d.facts.Offset, d.facts.Doubt)}
}

// judgeClock judges how far another clock is ahead of ours, give or take doubt.
func judgeClock(name, whose string, offset, doubt time.Duration) Finding {
	const fix = "let NTP set the clocks of both machines (timedatectl, chronyc tracking)"
	off := offset.Abs() - doubt
	way := "ahead of"
	if offset < 0 {
		way = "behind"
	}
	text := fmt.Sprintf("that of %s is %s %s ours", whose, offset.Abs().Round(time.Millisecond), way)
	switch {
	case off >= failClock:
		return Finding{name, Fail, text + ": tokens and signatures are refused", fix}
	case off >= warnClock:
		return Finding{name, Warn, text, fix}
	}
	return Finding{name, OK, text, ""}
}
