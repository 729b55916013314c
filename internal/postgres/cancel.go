package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// CancelScan ends a scan that waits or runs. One that runs loses its lease: what
// its worker still stores is refused, and the worker stops as soon as it notices.
// The images it was at return to the state they had before. The answer is the
// state the scan was in; one that is canceled already stays as it is. Errors are
// NotFound for a scan that is not there or not to be seen, Conflict for one that
// is done or failed.
func (s *Store) CancelScan(ctx context.Context, access report.Access, id int64, who string) (was report.RunState, err error) {
	who = cleanText(who)
	err = s.inTxAgain(ctx, "cancel scan", func(tx pgx.Tx) error {
		var lease string
		if was, lease, err = holdScan(ctx, tx, access, id); err != nil {
			return err
		}
		switch was {
		case report.RunCanceled:
			return nil
		case report.RunQueued, report.RunRunning:
			return cancelScan(ctx, tx, id, lease, who)
		}
		return errs.New(errs.Conflict, "scan %d is over: it is %s", id, was).WithHint("only a scan that is queued or running can be canceled")
	})
	return was, err
}

// holdScan locks a scan and returns its state and lease, empty when it has none.
func holdScan(ctx context.Context, tx pgx.Tx, access report.Access, id int64) (state report.RunState, lease string, err error) {
	const query = `
		SELECT s.state, COALESCE(s.lease_token::text, '')
		  FROM scan s JOIN repository r ON r.id = s.repository_id JOIN registry g ON g.id = r.registry_id
		 WHERE s.id = @id AND ` + visible + `
		   FOR UPDATE OF s`
	err = tx.QueryRow(ctx, query, pgx.NamedArgs{"id": id, "prefixes": prefixes(access)}).Scan(&state, &lease)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", "", noScan(id)
	}
	return state, lease, err
}

func noScan(id int64) error { return errs.New(errs.NotFound, "there is no scan %d", id) }

func cancelScan(ctx context.Context, tx pgx.Tx, id int64, lease, who string) error {
	const cancel = `
		UPDATE scan SET state = 'canceled', reason = @reason, detail = @detail, canceled_by = @who,
		       lease_token = NULL, lease_until = NULL, finished_at = now()
		 WHERE id = @id`
	_, err := tx.Exec(ctx, cancel, pgx.NamedArgs{"id": id, "who": who, "reason": scan.ReasonCanceled, "detail": scan.CanceledWords(who)})
	if err != nil || lease == "" {
		return err
	}
	return restoreManifests(ctx, tx, lease)
}

// restoreManifests gives the images that a scan was at the state back that they
// had before: those that failed keep their reason while they are looked at again.
func restoreManifests(ctx context.Context, tx pgx.Tx, lease string) error {
	const restore = `
		UPDATE manifest SET lease_token = NULL, lease_until = NULL,
		       state = CASE WHEN state <> 'running' THEN state
		                    WHEN reason = '' THEN 'queued'
		                    WHEN reason IN ('too_large', 'unsupported') THEN reason
		                    WHEN reason = 'bomb' THEN 'too_large'
		                    ELSE 'failed' END
		 WHERE lease_token = $1
		RETURNING id`
	found, err := tx.Query(ctx, restore, lease)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(found, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := refreshParents(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// canceled is the scan of the argument repository that a manifest m waited for,
// when it was canceled and nobody else is going to look; null otherwise.
const (
	canceled       = `(SELECT k.scan_id FROM canceled_manifest k WHERE k.repository_id = @repository AND k.manifest_id = m.id)`
	canceledDetail = `(SELECT c.detail FROM scan c WHERE c.id = ` + canceled + `)`
)

// shownState selects the state, reason and detail of a manifest m as the argument
// repository has it. Only what is queued is looked for: that is little.
const shownState = `
	CASE WHEN m.state = 'queued' AND ` + canceled + ` IS NOT NULL THEN 'canceled' ELSE m.state END AS state,
	CASE WHEN m.state = 'queued' AND ` + canceled + ` IS NOT NULL THEN 'canceled' ELSE m.reason END AS reason,
	CASE WHEN m.state = 'queued' THEN COALESCE(` + canceledDetail + `, m.detail) ELSE m.detail END AS detail`
