package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// place is the turn at which a scan joins the line of its registry and priority
// (docs/adr/0009): one behind the last of its own repository there, and not
// before the head of the line. Scans that were tried before have a place of
// their own, or they would wait for the whole backlog of their repository. It
// needs a row q. With min and max, a planner that has no statistics yet would
// read all that waits.
const place = `greatest(
	COALESCE((SELECT head.turn FROM scan head WHERE head.state = 'queued' AND head.turn IS NOT NULL
	             AND head.registry_id = q.registry_id AND head.priority = q.priority
	           ORDER BY head.turn LIMIT 1), 0),
	COALESCE((SELECT last.turn + 1 FROM scan last WHERE last.state = 'queued' AND last.turn IS NOT NULL
	             AND last.repository_id = q.repository_id AND last.priority = q.priority AND last.retried = q.retried
	           ORDER BY last.turn DESC LIMIT 1), 0))`

// order asks for a scan of a target.
type order struct {
	registry, repository int64
	tag                  string
	digest               image.Digest
	cause                scan.Cause
	priority             int
	hold                 time.Duration // before it joins the line
	trace                string        // of who asks; empty for none
}

// queued is what an order came to.
type queued struct {
	id    int64
	fresh bool // else it joined a scan that waited already
	due   int  // 1 when it brought a scan into the line, which needs a permit
}

// queueScan queues a scan of a target, or joins the one that waits already. A
// scan that is running does not count: the tag may have moved since it looked.
// Who joins makes the scan due after his own hold if that is earlier, and never
// later. A scan whose priority rises leaves its place; ReleaseScans gives it
// another.
func queueScan(ctx context.Context, tx pgx.Tx, o order) (queued, error) {
	return o.read(tx.QueryRow(ctx, queueScanStatement, o.args()))
}

const queueScanStatement = `
	INSERT INTO scan (registry_id, repository_id, tag, digest, cause, priority, run_after, turn, traces)
	SELECT q.registry_id, q.repository_id, @tag, @digest, @cause, q.priority,
	       now() + make_interval(secs => @hold), CASE WHEN @hold = 0 THEN ` + place + ` END, CASE WHEN @trace::text <> '' THEN ARRAY[@trace::text] END
	  FROM (SELECT @registry::bigint AS registry_id, @repository::bigint AS repository_id, @priority::smallint AS priority,
	               false AS retried) q
	ON CONFLICT (repository_id, tag, (CASE WHEN tag = '' THEN digest ELSE '' END)) WHERE state = 'queued'
	DO UPDATE SET digest = EXCLUDED.digest,
	              cause = CASE WHEN EXCLUDED.priority >= scan.priority THEN EXCLUDED.cause ELSE scan.cause END,
	              manifest_id = CASE WHEN EXCLUDED.digest <> '' AND EXCLUDED.digest = scan.digest THEN scan.manifest_id END,
	              priority = greatest(scan.priority, EXCLUDED.priority),
	              run_after = least(scan.run_after, EXCLUDED.run_after),
	              turn = CASE WHEN scan.priority >= EXCLUDED.priority THEN scan.turn END,
	              traces = CASE WHEN EXCLUDED.traces IS NULL OR cardinality(scan.traces) >= 16 OR scan.traces @> EXCLUDED.traces THEN scan.traces
	                            ELSE scan.traces || EXCLUDED.traces END
	RETURNING id, xmax = 0`

func (o order) args() pgx.NamedArgs {
	return pgx.NamedArgs{
		"registry": o.registry, "repository": o.repository, "tag": o.tag, "digest": string(o.digest), "cause": string(o.cause),
		"priority": o.priority, "hold": o.hold.Seconds(), "trace": o.trace,
	}
}

// read reads what queueScanStatement returned.
func (o order) read(row pgx.Row) (got queued, err error) {
	err = row.Scan(&got.id, &got.fresh)
	if got.fresh && o.hold == 0 {
		got.due = 1
	}
	return got, err
}

// releaseBatch bounds what one ReleaseScans moves.
const releaseBatch = 1000

// ReleaseScans brings the scans whose time has come into the line, with a permit
// for each: those that were held, that pause after a failure, that a dead worker
// left or that rose in priority. It returns how many; more may be due.
func (s *Store) ReleaseScans(ctx context.Context, enqueue Enqueue) (released int, err error) {
	const release = `
		WITH due AS (
			SELECT s.id, s.run_after, r.registry_id, s.repository_id, s.priority, s.retried
			  FROM scan s JOIN repository r ON r.id = s.repository_id
			 WHERE s.state = 'queued' AND s.turn IS NULL AND s.run_after <= now()
			 ORDER BY s.run_after, s.id
			 LIMIT $1
			   FOR UPDATE OF s SKIP LOCKED
		), placed AS ( -- one behind the other where several of a repository come at once
			SELECT q.id, q.registry_id, ` + place + ` - 1
			       + row_number() OVER (PARTITION BY q.repository_id, q.priority, q.retried ORDER BY q.run_after, q.id) AS turn
			  FROM due q
		)
		UPDATE scan SET registry_id = placed.registry_id, turn = placed.turn FROM placed WHERE scan.id = placed.id`
	err = s.inTx(ctx, "release scans", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, release, releaseBatch)
		if err != nil {
			return err
		}
		released = int(tag.RowsAffected())
		return enqueue(ctx, tx, released)
	})
	return released, err
}

// HurryScan puts a scan that still waits among those that somebody waits for. A
// scan that runs or is over stays as it is, and so does the time before which a
// scan must not run.
func (s *Store) HurryScan(ctx context.Context, id int64) error {
	const hurry = `
		UPDATE scan SET priority = q.priority, turn = CASE WHEN scan.turn IS NOT NULL THEN ` + place + ` END
		  FROM (SELECT id, registry_id, repository_id, $2::smallint AS priority, retried FROM scan WHERE id = $1) q
		 WHERE scan.id = q.id AND scan.state = 'queued' AND scan.priority < q.priority`
	_, err := s.pool.Exec(ctx, hurry, id, scan.PriorityRequest)
	return wrap("hurry scan", err)
}
