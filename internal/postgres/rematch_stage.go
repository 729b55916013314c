package postgres

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// The stages of a candidate, in their order.
const (
	stageJudging = "judging" // packages are being judged
	stageMarked  = "marked"  // what comes from now on is late
	stageGrouped = "grouped" // it is known what may be other than before
	stageCovered = "covered" // it is known what the candidate has no data for
)

// stagePlanner is for statements over many rows of tables that have just been
// filled.
const stagePlanner = `set local plan_cache_mode = force_custom_plan; set local jit = off; set local work_mem = '64MB'`

// StageBuild counts and compares under the candidate, whose packages are judged,
// beside the active build: readers and scans see nothing of it. It goes on where
// an earlier one was cut off, and looks again at what moved since. It returns kind
// Conflict when packages have to be judged first.
func (s *Store) StageBuild(ctx context.Context, build int64, session scan.Session) error {
	for {
		stage, err := s.stage(ctx, build)
		if err != nil {
			return err
		}
		switch stage {
		case stageJudging:
			err = s.markRematch(ctx, build, session)
		case stageMarked:
			err = s.groupRematch(ctx, build)
		case stageGrouped:
			err = s.coverRematch(ctx, build, session)
		case stageCovered:
			if err := s.stageBatches(ctx, build); err != nil {
				return err
			}
			return s.stageLate(ctx, build, session)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Store) stage(ctx context.Context, build int64) (stage string, err error) {
	const query = `SELECT stage FROM rematch WHERE build_id = $1`
	err = s.pool.QueryRow(ctx, query, build).Scan(&stage)
	return stage, gone(err, build)
}

// gone makes kind Canceled of a staging that is not there: the candidate was
// replaced, or Postgres died and lost it, which the next attempt finds out.
func gone(err error, build int64) error {
	if errs.Is(wrap("", err), errs.NotFound) {
		return errs.New(errs.Canceled, "postgres: nothing is prepared for build %d any more", build)
	}
	return wrap("read staging", err)
}

// inStage runs one step of a stage, alone, and moves the candidate to the next. A
// step that another process has done meanwhile is left out.
func (s *Store) inStage(ctx context.Context, build int64, from, to string, work func(tx pgx.Tx) error) error {
	const hold = `SELECT stage FROM rematch WHERE build_id = $1 FOR UPDATE`
	const move = `UPDATE rematch SET stage = $2 WHERE build_id = $1`
	return s.inTx(ctx, "prepare build: "+from, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stagePlanner); err != nil {
			return err
		}
		var stage string
		if err := tx.QueryRow(ctx, hold, build).Scan(&stage); err != nil || stage != from {
			return gone(err, build)
		}
		if err := work(tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, move, build, to)
		return err
	})
}

// markRematch draws a line: the packages of inventories that are there have been
// judged by the candidate, and inventories that come later are looked at by
// themselves. Nobody stores an answer meanwhile, so that an id is a line in time.
func (s *Store) markRematch(ctx context.Context, build int64, session scan.Session) error {
	const mark = `
		UPDATE rematch SET inventory_mark = COALESCE((SELECT max(id) FROM inventory), 0), stage = 'marked'
		 WHERE build_id = $1 AND stage = 'judging'`
	return s.inTx(ctx, "mark build", func(tx pgx.Tx) error {
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		if err := mustBeCandidate(ctx, tx, build); err != nil {
			return err
		}
		if err := s.judgeLate(ctx, tx, build, session); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, mark, build)
		return err
	})
}

// stageBatches counts and compares what may be other than before, in batches, two
// at a time.
func (s *Store) stageBatches(ctx context.Context, build int64) error {
	const workers = 2
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for {
				more, err := s.stageBatch(ctx, build)
				if err != nil {
					cancel(err)
				}
				if err != nil || !more {
					return
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// stageBatch takes a batch that nobody else has, if there is one.
func (s *Store) stageBatch(ctx context.Context, build int64) (more bool, err error) {
	const take = `SELECT batch FROM rematch_batch WHERE NOT done ORDER BY batch LIMIT 1 FOR UPDATE SKIP LOCKED`
	const finish = `UPDATE rematch_batch SET done = true WHERE batch = $1`
	err = s.inTx(ctx, "prepare build: batch", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, stagePlanner); err != nil {
			return err
		}
		at, err := holdStaging(ctx, tx, build)
		if err != nil {
			return err
		}
		var batch int
		err = tx.QueryRow(ctx, take).Scan(&batch)
		if more = err == nil; errs.Is(wrap("", err), errs.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := at.compareBatch(ctx, tx, batch); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, finish, batch)
		return err
	})
	return more, err
}

// staging is what a candidate is counted and compared with.
type staging struct {
	build, base   int64 // the candidate, and the active build
	inventoryMark int64
	countedSince  int64 // counts of the base or of a build since this one hold
}

func (a staging) args() pgx.NamedArgs {
	return pgx.NamedArgs{"build": a.build, "base": a.base, "mark": a.inventoryMark, "since": a.countedSince}
}

// holdStaging keeps the staging of a candidate from being emptied until the
// transaction ends.
func holdStaging(ctx context.Context, tx pgx.Tx, build int64) (at staging, err error) {
	const query = `
		SELECT r.build_id, a.id, r.inventory_mark, COALESCE(a.counted_since, a.id)
		  FROM rematch r JOIN vuln_build c ON c.id = r.build_id AND c.state = 'candidate' JOIN vuln_build a ON a.state = 'active'
		 WHERE r.build_id = $1 FOR SHARE OF r`
	err = tx.QueryRow(ctx, query, build).Scan(&at.build, &at.base, &at.inventoryMark, &at.countedSince)
	return at, gone(err, build)
}
