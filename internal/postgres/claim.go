package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// leaseSeconds is how long a scan without a sign of life keeps its lease; it is
// renewed every third of that.
const leaseSeconds = 30

// LeaseRenewal is how often a running scan has to renew its lease.
const LeaseRenewal = leaseSeconds * time.Second / 3

// running is what is being scanned, few rows in any case; it is a part of WITH.
const running = `running AS MATERIALIZED (
	SELECT r.registry_id, s.repository_id, s.tag, s.digest
	  FROM scan s JOIN repository r ON r.id = s.repository_id
	 WHERE s.state = 'running')`

// claimable selects the scans of a line that may start now: a target that is
// being scanned waits, so two answers about one tag never overtake each other.
const claimable = `
	  FROM scan s
	 WHERE s.state = 'queued' AND s.turn IS NOT NULL AND s.run_after <= now()
	   AND NOT EXISTS (SELECT 1 FROM running b WHERE b.repository_id = s.repository_id
	                      AND b.tag = s.tag AND (s.tag <> '' OR b.digest = s.digest))`

// ClaimScan takes the scan whose turn it is: greatest priority first, then the
// registry with the fewest scans under way, then the one that was served longest
// ago, and of its scans the one with the least turn. It returns nil when none is
// due, or none of a registry that may have more scans at once.
func (s *Store) ClaimScan(ctx context.Context) (*scan.Job, error) {
	lines, err := s.lines(ctx)
	if err != nil {
		return nil, wrap("claim scan", err)
	}
	for _, l := range lines {
		job, err := s.claimFrom(ctx, l)
		if err != nil || job != nil {
			return job, wrap("claim scan", err)
		}
	}
	return nil, nil
}

// line is a registry that has something to claim.
type line struct {
	Registry   int64
	MaxRunning *int // nil for no limit
}

// lines returns the registries whose turn it is, in order. It reads the head of
// each line and nothing behind it.
func (s *Store) lines(ctx context.Context) ([]line, error) {
	const query = `
		WITH ` + running + `
		SELECT g.id AS registry, g.max_running
		  FROM registry g
		 CROSS JOIN LATERAL (SELECT s.priority ` + claimable + ` AND s.registry_id = g.id
		                      ORDER BY s.priority DESC, s.turn, s.id LIMIT 1) head
		 CROSS JOIN LATERAL (SELECT count(*) AS n FROM running b WHERE b.registry_id = g.id) busy
		  LEFT JOIN LATERAL (SELECT s.started_at FROM scan s WHERE s.registry_id = g.id AND s.started_at IS NOT NULL
		                      ORDER BY s.started_at DESC LIMIT 1) served ON true
		 WHERE g.max_running IS NULL OR busy.n < g.max_running
		 ORDER BY head.priority DESC, busy.n, served.started_at NULLS FIRST, g.id`
	rows, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[line])
}

// claimFrom takes the first scan of a line that nobody else is taking. Where a
// limit holds, claims come one after the other, so that each counts those before
// it.
func (s *Store) claimFrom(ctx context.Context, l line) (job *scan.Job, err error) {
	if l.MaxRunning == nil {
		return claim(ctx, s.pool, l)
	}
	const lock = `SELECT pg_advisory_xact_lock(hashtextextended('tidewaiter/running', $1))`
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lock, l.Registry); err != nil {
			return err
		}
		job, err = claim(ctx, tx, l)
		return err
	})
	return job, err
}

func claim(ctx context.Context, db interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}, l line) (*scan.Job, error) {
	const query = `
		WITH ` + running + `, next AS (
			SELECT s.id ` + claimable + ` AND s.registry_id = @registry
			   AND (@most::int IS NULL OR (SELECT count(*) FROM running b WHERE b.registry_id = @registry) < @most)
			 ORDER BY s.priority DESC, s.turn, s.id
			 LIMIT 1
			   FOR UPDATE OF s SKIP LOCKED
		)
		UPDATE scan SET state = 'running', attempt = attempt + 1, lease_token = gen_random_uuid(),
		       lease_until = now() + make_interval(secs => @lease), started_at = now(), phases = '[]', pulled_bytes = 0
		  FROM next, repository r, registry g
		 WHERE scan.id = next.id AND r.id = scan.repository_id AND g.id = r.registry_id
		RETURNING scan.id, scan.lease_token::text, scan.attempt, g.name, g.host, r.id, r.name, scan.tag, scan.digest, scan.cause, scan.traces`
	var job scan.Job
	var digest, cause string
	err := db.QueryRow(ctx, query, pgx.NamedArgs{"registry": l.Registry, "most": l.MaxRunning, "lease": leaseSeconds}).Scan(
		&job.ID, &job.Lease, &job.Attempt, &job.Registry,
		&job.Ref.Registry, &job.Repository, &job.Ref.Repository, &job.Ref.Tag, &digest, &cause, &job.Traces)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	job.Ref.Digest, job.Cause = image.Digest(digest), scan.Cause(cause)
	return &job, err
}

// RenewLease prolongs the lease of a running scan and of the manifest it
// catalogues. It returns kind Canceled when the lease is no longer the scan's, an
// error of scan.Canceled when somebody canceled it.
func (s *Store) RenewLease(ctx context.Context, job scan.Job) error {
	const renewScan = `
		UPDATE scan SET lease_until = now() + make_interval(secs => $3)
		 WHERE id = $1 AND lease_token = $2 AND state = 'running'`
	const renewManifest = `UPDATE manifest SET lease_until = now() + make_interval(secs => $2) WHERE lease_token = $1`
	return s.inTx(ctx, "renew lease", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, renewScan, job.ID, job.Lease, leaseSeconds)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return leaseLost(ctx, tx, job)
		}
		_, err = tx.Exec(ctx, renewManifest, job.Lease, leaseSeconds)
		return err
	})
}

// holdLease locks the scan's row against being given to somebody else until the
// transaction ends.
func holdLease(ctx context.Context, tx pgx.Tx, job scan.Job) error {
	const query = `SELECT 1 FROM scan WHERE id = $1 AND lease_token = $2 AND state = 'running' FOR UPDATE`
	var one int
	err := tx.QueryRow(ctx, query, job.ID, job.Lease).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return leaseLost(ctx, tx, job)
	}
	return err
}

// FinishScan ends a scan: done for a nil cause, else failed (or canceled) with
// the kind and words of the cause.
func (s *Store) FinishScan(ctx context.Context, job scan.Job, result scan.Result, cause error) error {
	const finish = `
		UPDATE scan SET state = @state, reason = @reason, detail = @detail, phases = @phases, pulled_bytes = @pulled,
		       manifest_id = COALESCE((SELECT id FROM manifest WHERE digest = @digest FOR KEY SHARE), manifest_id),
		       lease_token = NULL, lease_until = NULL, finished_at = now()
		 WHERE id = @id AND lease_token = @lease AND state = 'running'`
	state := scan.StateDone
	if cause != nil {
		state = scan.StateFailed
	}
	return s.endAttempt(ctx, "finish scan", finish, job, result, cause, pgx.NamedArgs{"state": string(state)})
}

// RetryScan puts a scan back into the queue; ReleaseScans brings it into the line
// after the pause. counts says whether the attempt counts against the limit.
// When the target was queued anew meanwhile, that scan does the work and this one
// ends canceled.
func (s *Store) RetryScan(ctx context.Context, job scan.Job, result scan.Result, cause error, pause time.Duration, counts bool) error {
	const retry = `
		UPDATE scan SET state = CASE WHEN again.waits THEN 'canceled' ELSE 'queued' END,
		       reason = @reason, detail = @detail, phases = @phases, pulled_bytes = @pulled,
		       attempt = attempt - CASE WHEN @counts THEN 0 ELSE 1 END,
		       run_after = now() + make_interval(secs => @pause), turn = NULL, retried = true,
		       finished_at = CASE WHEN again.waits THEN now() END,
		       lease_token = NULL, lease_until = NULL
		  FROM (SELECT EXISTS (SELECT 1 FROM scan o JOIN scan me ON me.id = @id
		                        WHERE o.state = 'queued' AND o.repository_id = me.repository_id AND o.tag = me.tag
		                          AND (me.tag <> '' OR o.digest = me.digest)) AS waits) again
		 WHERE id = @id AND lease_token = @lease AND state = 'running' AND @digest::text IS NOT NULL`
	return s.endAttempt(ctx, "retry scan", retry, job, result, cause, pgx.NamedArgs{"pause": pause.Seconds(), "counts": counts})
}

func (s *Store) endAttempt(ctx context.Context, op, query string, job scan.Job, result scan.Result, cause error, args pgx.NamedArgs) error {
	steps := append([]scan.Phase{}, result.Phases...)
	for i := range steps {
		steps[i].Platform = cleanText(steps[i].Platform)
	}
	phases, err := json.Marshal(steps)
	if err != nil {
		return errs.Wrap(errs.Internal, "postgres: encode phases", err)
	}
	args["id"], args["lease"], args["phases"], args["pulled"] = job.ID, job.Lease, phases, result.Pulled
	args["reason"], args["detail"], args["digest"] = string(errs.KindOf(cause)), words(cause), string(result.Digest)
	return s.inTxAgain(ctx, op, func(tx pgx.Tx) error {
		// The scan before its manifests, as everywhere, or two who hold one each wait
		// for each other.
		tag, err := tx.Exec(ctx, query, args)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return leaseLost(ctx, tx, job)
		}
		if err := releaseManifests(ctx, tx, []string{job.Lease}); err != nil {
			return err
		}
		return errors.Join(failUnanswered(ctx, tx, []int64{job.ID}), handOn(ctx, tx, []int64{job.ID}))
	})
}

// releaseManifests gives back what scans were cataloguing.
func releaseManifests(ctx context.Context, tx pgx.Tx, leases []string) error {
	const release = `
		UPDATE manifest SET lease_token = NULL, lease_until = NULL, state = CASE WHEN state = 'running' THEN 'queued' ELSE state END
		 WHERE lease_token = ANY ($1::uuid[])`
	_, err := tx.Exec(ctx, release, leases)
	return err
}

// impersonal is the detail of a scan s of repository r of registry g without their
// names: a manifest may be in other repositories too, whose readers must not learn
// of this one. A name of one word may be any word and is left alone; with the host
// before it, it is not.
const impersonal = `CASE WHEN strpos(r.name, '/') > 0 THEN replace(replace(s.detail, g.host || '/' || r.name, '…'), r.name, '…')
	ELSE replace(s.detail, g.host || '/' || r.name, '…') END`

// failUnanswered gives the reason of those scans that ended failed to the images
// they leave without an answer and nobody else is at work on.
func failUnanswered(ctx context.Context, tx pgx.Tx, scans []int64) error {
	const fail = `
		UPDATE manifest m SET state = 'failed', reason = s.reason, detail = ` + impersonal + `
		  FROM scan s JOIN repository r ON r.id = s.repository_id JOIN registry g ON g.id = r.registry_id
		 WHERE s.id = ANY ($1) AND s.state = 'failed' AND m.kind IN ('image', 'sbom') AND m.inventory_id IS NULL
		   AND m.state = 'queued' AND m.lease_token IS NULL
		   AND (m.id = s.manifest_id OR EXISTS (SELECT 1 FROM manifest_child c WHERE c.parent_id = s.manifest_id AND c.child_id = m.id))
		   AND NOT EXISTS (SELECT 1 FROM repository_manifest rm
		                    WHERE rm.repository_id = s.repository_id AND rm.manifest_id = m.id AND rm.presence = 'excluded')
		RETURNING m.id`
	rows, err := tx.Query(ctx, fail, scans)
	if err != nil {
		return err
	}
	failed, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	for _, id := range failed {
		if err := refreshParents(ctx, tx, id); err != nil {
			return err
		}
	}
	return nil
}

// handOn queues what scans of tags that ended leave behind, since a tag leads to
// one manifest alone: what they had found before they gave way to a newer one of
// their tag, and what deliveries that came together told of and they did not find,
// for the tag had moved. Of the latter the registry is asked: it may be gone.
func handOn(ctx context.Context, tx pgx.Tx, scans []int64) error {
	const columns = `INSERT INTO scan (registry_id, repository_id, digest, cause, priority) ` // ReleaseScans brings them into the line
	const found = columns + `
		SELECT DISTINCT r.registry_id, r.id, m.digest, @reconcile, @priority::smallint
		  FROM scan s
		  JOIN repository r ON r.id = s.repository_id
		  JOIN manifest m ON m.id = s.manifest_id AND m.state = 'queued'
		  JOIN repository_manifest rm ON rm.repository_id = r.id AND rm.manifest_id = m.id AND rm.presence = 'present'
		 WHERE s.id = ANY (@scans) AND s.state = 'canceled' AND s.tag <> ''
		   AND NOT EXISTS (SELECT 1 FROM scan o WHERE o.state = 'queued' AND o.repository_id = r.id AND o.tag = s.tag AND o.digest = m.digest)
		ON CONFLICT DO NOTHING`
	const told = columns + `
		SELECT DISTINCT r.registry_id, r.id, d.digest, @delete, @priority::smallint
		  FROM scan s
		  JOIN repository r ON r.id = s.repository_id
		  JOIN delivery d ON d.scan_id = s.id AND d.action = 'push' AND d.digest <> ''
		 WHERE s.id = ANY (@scans) AND s.state IN ('done', 'failed', 'canceled') AND s.tag <> ''
		   AND (s.state <> 'failed' OR d.digest <> s.digest)
		   AND NOT EXISTS (SELECT 1 FROM manifest m JOIN repository_manifest rm ON rm.manifest_id = m.id AND rm.repository_id = r.id
		                    WHERE m.digest = d.digest)
		   AND NOT EXISTS (SELECT 1 FROM scan o WHERE o.state = 'queued' AND o.repository_id = r.id AND o.tag = s.tag AND o.digest = d.digest)
		ON CONFLICT DO NOTHING`
	args := pgx.NamedArgs{"scans": scans, "reconcile": string(scan.CauseReconcile), "delete": string(scan.CauseDelete), "priority": scan.PriorityReconcile}
	for _, queue := range []string{found, told} {
		if _, err := tx.Exec(ctx, queue, args); err != nil {
			return err
		}
	}
	return nil
}

// words renders an error for people, bounded.
func words(err error) string {
	if err == nil {
		return ""
	}
	text := err.Error()
	if hint := errs.Hint(err); hint != "" {
		text += " (" + hint + ")"
	}
	const most = 2000
	if len(text) > most {
		text = text[:most] + "…"
	}
	return cleanText(text)
}

// SweepScans repairs what dead processes left behind: a running scan whose
// lease ran out is queued again (failed when it was its last attempt), and some
// permits are added when scans stand in the line and no permit waits for them. A
// worker goes on until the line is empty, so a few wake all there is to wake.
func (s *Store) SweepScans(ctx context.Context, maxAttempts int, enqueue Enqueue) (revived int, err error) {
	const missing = `
		SELECT (SELECT count(*) FROM (SELECT 1 FROM scan WHERE state = 'queued' AND turn IS NOT NULL
		                                 AND run_after <= now() - interval '3 seconds' LIMIT $1) due)
		     - (SELECT count(*) FROM (SELECT 1 FROM river_job WHERE kind = 'scan_permit' AND state IN ('available', 'retryable', 'scheduled')
		                                 AND scheduled_at <= now() + interval '3 seconds' LIMIT $1) waits)`
	const most = 20
	err = s.inTx(ctx, "sweep scans", func(tx pgx.Tx) error {
		ids, leases, err := requeueLost(ctx, tx, maxAttempts)
		if err != nil {
			return err
		}
		if err := errors.Join(releaseManifests(ctx, tx, leases), failUnanswered(ctx, tx, ids), handOn(ctx, tx, ids)); err != nil {
			return err
		}
		revived = len(ids)
		var permits int
		if err := tx.QueryRow(ctx, missing, most).Scan(&permits); err != nil {
			return err
		}
		return enqueue(ctx, tx, max(permits, 0))
	})
	return revived, err
}

// requeueLost takes the scans of dead workers from them.
func requeueLost(ctx context.Context, tx pgx.Tx, maxAttempts int) (ids []int64, leases []string, err error) {
	const expired = `
		WITH lost AS (
			SELECT s.id, s.lease_token::text AS lease, s.attempt >= $1 AS spent,
			       EXISTS (SELECT 1 FROM scan o WHERE o.state = 'queued' AND o.repository_id = s.repository_id AND o.tag = s.tag
			                  AND (s.tag <> '' OR o.digest = s.digest)) AS replaced
			  FROM scan s WHERE s.state = 'running' AND s.lease_until < now()
			   FOR UPDATE SKIP LOCKED
		)
		UPDATE scan SET state = CASE WHEN replaced THEN 'canceled' WHEN spent THEN 'failed' ELSE 'queued' END,
		       reason = CASE WHEN spent AND NOT replaced THEN 'timeout' ELSE reason END,
		       detail = CASE WHEN spent AND NOT replaced THEN 'the worker vanished in every attempt' ELSE detail END,
		       finished_at = CASE WHEN spent OR replaced THEN now() END,
		       run_after = now(), turn = NULL, retried = true, lease_token = NULL, lease_until = NULL
		  FROM lost WHERE scan.id = lost.id
		RETURNING scan.id, lost.lease`
	rows, err := tx.Query(ctx, expired, maxAttempts)
	if err != nil {
		return nil, nil, err
	}
	var id int64
	var lease string
	_, err = pgx.ForEachRow(rows, []any{&id, &lease}, func() error {
		ids, leases = append(ids, id), append(leases, lease)
		return nil
	})
	return ids, leases, err
}

// Depth counts scans that wait and run, and tells how long the one that is due
// longest has waited for a worker.
func (s *Store) Depth(ctx context.Context) (queued, running int, oldest time.Duration, err error) {
	const query = `
		SELECT count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running'),
		       COALESCE(extract(epoch FROM now() - min(run_after) FILTER (WHERE state = 'queued' AND run_after <= now())), 0)::float8
		  FROM scan WHERE state IN ('queued', 'running')`
	var seconds float64
	err = s.pool.QueryRow(ctx, query).Scan(&queued, &running, &seconds)
	return queued, running, time.Duration(seconds * float64(time.Second)), wrap("count scans", err)
}
