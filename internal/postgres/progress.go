package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// ShowProgress writes down how far a running scan is; with nil it only looks
// whether the scan is still the job's. It returns kind Canceled when it is not, an
// error of scan.Canceled when somebody canceled it. It waits for nobody: while the
// scan stores something, nothing is written.
func (s *Store) ShowProgress(ctx context.Context, job scan.Job, p *scan.Progress) error {
	const look = `SELECT EXISTS (SELECT 1 FROM scan WHERE id = $1 AND lease_token = $2 AND state = 'running')`
	const show = `
		WITH mine AS (
			SELECT id FROM scan WHERE id = $1 AND lease_token = $2 AND state = 'running' FOR NO KEY UPDATE SKIP LOCKED
		), shown AS (
			UPDATE scan SET progress = $3, progress_at = now() FROM mine WHERE scan.id = mine.id
		) ` + look
	query, args := look, []any{job.ID, job.Lease}
	if p != nil {
		shown := *p
		shown.Platform = cleanText(shown.Platform)
		encoded, err := json.Marshal(shown)
		if err != nil {
			return errs.Wrap(errs.Internal, "postgres: encode progress", err)
		}
		query, args = show, append(args, encoded)
	}
	var ours bool
	err := s.pool.QueryRow(ctx, query, args...).Scan(&ours)
	if err == nil && !ours {
		err = leaseLost(ctx, s.pool, job)
	}
	return wrap("show progress", err)
}

// leaseLost says why a scan is no longer the job's, in an error of kind Canceled.
func leaseLost(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, job scan.Job) error {
	const query = `SELECT canceled_by FROM scan WHERE id = $1 AND canceled_by IS NOT NULL`
	var who string
	err := db.QueryRow(ctx, query, job.ID).Scan(&who)
	switch {
	case err == nil:
		return scan.Canceled(who)
	case errors.Is(err, pgx.ErrNoRows):
		return errs.New(errs.Canceled, "postgres: scan %d is no longer ours", job.ID)
	}
	return err
}

// progressColumns are what reportProgress takes, of a scan s: how far it is, or
// was when it was canceled. What an earlier attempt left behind is not told.
const progressColumns = `
	CASE WHEN (s.state = 'running' OR s.canceled_by IS NOT NULL) AND s.progress_at >= s.started_at THEN s.progress END AS progress,
	s.progress_at`

// reportProgress reads what ShowProgress wrote; nil when there is nothing to tell.
func reportProgress(stored []byte, at *time.Time) (*report.Progress, error) {
	if stored == nil || at == nil {
		return nil, nil
	}
	var p report.Progress
	if err := json.Unmarshal(stored, &p); err != nil {
		return nil, errs.Wrap(errs.Internal, "postgres: decode progress", err)
	}
	p.At = at.UTC()
	return &p, nil
}
