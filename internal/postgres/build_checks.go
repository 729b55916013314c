package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// BuildCheck is the last look for a newer database. Times are nil for what did
// not happen yet.
type BuildCheck struct {
	RequestedAt *time.Time // when somebody asked for one
	StartedAt   *time.Time
	EndedAt     *time.Time
	Outcome     string // unchanged, fetched or failed
	Detail      string
}

// BuildCheck tells of the last look for a newer database.
func (s *Store) BuildCheck(ctx context.Context) (c BuildCheck, err error) {
	const query = `SELECT requested_at, started_at, ended_at, outcome, detail FROM vuln_check`
	err = s.pool.QueryRow(ctx, query).Scan(&c.RequestedAt, &c.StartedAt, &c.EndedAt, &c.Outcome, &c.Detail)
	return c, wrap("read check of databases", err)
}

// RequestBuildCheck asks for a look now, whichever process has the next one.
func (s *Store) RequestBuildCheck(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `UPDATE vuln_check SET requested_at = now()`)
	return wrap("request check of databases", err)
}

// checkDue says when a look is due; $1 is the seconds between two of them.
const checkDue = `
		       started_at IS NULL AND ($1::float8 > 0 OR requested_at IS NOT NULL)
		    OR requested_at >= started_at
		    OR started_at > COALESCE(ended_at, '-infinity')
		    OR $1::float8 > 0 AND started_at <= now() - $1::float8 * interval '1 second'`

// BuildCheckDue reports whether BeginBuildCheck would find something to do.
func (s *Store) BuildCheckDue(ctx context.Context, every time.Duration) (due bool, err error) {
	err = s.pool.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM vuln_check WHERE`+checkDue+`)`, every.Seconds()).Scan(&due)
	return due, wrap("see whether a check of databases is due", err)
}

func (c BuildCheck) report() report.BuildCheck {
	return report.BuildCheck{RequestedAt: utc(c.RequestedAt), StartedAt: utc(c.StartedAt), EndedAt: utc(c.EndedAt), Outcome: c.Outcome, Detail: c.Detail}
}

// BeginBuildCheck takes the look that is due: the last began every ago or earlier,
// zero for never by itself, or it was cut off, or somebody asked for one since it
// began. The caller sees to it that one process looks at a time.
func (s *Store) BeginBuildCheck(ctx context.Context, every time.Duration) (due bool, err error) {
	const take = `UPDATE vuln_check SET started_at = now() WHERE` + checkDue
	tag, err := s.pool.Exec(ctx, take, every.Seconds())
	return tag.RowsAffected() > 0, wrap("begin check of databases", err)
}

// EndBuildCheck writes down how a look ended.
func (s *Store) EndBuildCheck(ctx context.Context, outcome, detail string) error {
	const end = `UPDATE vuln_check SET ended_at = now(), outcome = $1, detail = $2`
	_, err := s.pool.Exec(ctx, end, outcome, cleanText(detail))
	return wrap("end check of databases", err)
}

// BuildBarred reports whether a database must not be put in force without a word
// from a person: it is held, or somebody discarded it.
func (s *Store) BuildBarred(ctx context.Context, checksum string) (barred bool, err error) {
	const query = `SELECT EXISTS (
		SELECT 1 FROM vuln_build
		 WHERE checksum = $1 AND (state = 'held' OR state = 'retired' AND reason = 'discarded'))`
	err = s.pool.QueryRow(ctx, query, checksum).Scan(&barred)
	return barred, wrap("see whether a build is barred", err)
}

// NeededBuilds lists the checksums of the databases that a process may have to
// open: of the active build, the candidate and what is held.
func (s *Store) NeededBuilds(ctx context.Context) ([]string, error) {
	const query = `SELECT DISTINCT checksum FROM vuln_build WHERE state IN ('candidate', 'active', 'held')`
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, wrap("list needed builds", err)
	}
	sums, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return sums, wrap("list needed builds", err)
}
