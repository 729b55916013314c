package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// The states of a build.
const (
	stateActive    = "active"
	stateCandidate = "candidate"
	stateHeld      = "held"
	stateRetired   = "retired"
)

// reasonDiscarded is that of a build a person did not want.
const reasonDiscarded = "discarded"

// BuildStanding is where a build stands, with what it would change.
type BuildStanding struct {
	ID         int64
	State      string // candidate, active, held or retired; empty for a build never heard of
	Reason     string // why it is held; "discarded" or "replaced" of a retired one that never was in force
	Report     *scan.BuildReport
	HeldAt     *time.Time
	ReleasedAt *time.Time
}

// Discarded reports whether a person did not want the build.
func (b BuildStanding) Discarded() bool {
	return b.State == stateRetired && b.Reason == reasonDiscarded
}

// BuildStanding tells where a build stands.
func (s *Store) BuildStanding(ctx context.Context, b vuln.Build) (out BuildStanding, err error) {
	err = s.inTx(ctx, "read build", func(tx pgx.Tx) error {
		out, err = buildState(ctx, tx, b)
		return err
	})
	return out, err
}

func buildState(ctx context.Context, tx pgx.Tx, b vuln.Build) (out BuildStanding, err error) {
	const query = `
		SELECT id, state, reason, report, held_at, released_at FROM vuln_build
		 WHERE checksum = $1 AND engine = $2 AND engine_version = $3 AND config = $4`
	var report []byte
	err = tx.QueryRow(ctx, query, b.Checksum, b.Engine, b.EngineVersion, b.Config).
		Scan(&out.ID, &out.State, &out.Reason, &report, &out.HeldAt, &out.ReleasedAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return BuildStanding{}, nil
	}
	if err == nil && report != nil {
		err = errs.Wrap(errs.Malformed, "postgres: decode report of a build", json.Unmarshal(report, &out.Report))
	}
	return out, err
}

// HoldBuild stops a candidate until somebody releases or discards it. What it
// wrote stays and nobody sees it. The error is of kind Canceled when it is not
// the candidate.
func (s *Store) HoldBuild(ctx context.Context, build int64, reason string) error {
	const hold = `UPDATE vuln_build SET state = 'held', reason = $2, held_at = now() WHERE id = $1 AND state = 'candidate'`
	return s.moveBuild(ctx, "hold build", errs.Canceled, "is no longer the candidate", hold, build, cleanText(reason))
}

// ReleaseBuild makes a held build the candidate again. Whoever brings builds into
// force goes on with it where it stopped, and it is not held again. The error is
// of kind Conflict when it is not held.
func (s *Store) ReleaseBuild(ctx context.Context, build int64) error {
	const release = `UPDATE vuln_build SET state = 'candidate', released_at = now() WHERE id = $1 AND state = 'held'`
	return s.moveBuild(ctx, "release build", errs.Conflict, "is not held", release, build)
}

func (s *Store) moveBuild(ctx context.Context, op string, kind errs.Kind, refusal, statement string, args ...any) error {
	return s.inTx(ctx, op, func(tx pgx.Tx) error {
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, statement, args...)
		if err == nil && tag.RowsAffected() == 0 {
			return errs.New(kind, "postgres: build %v %s", args[0], refusal)
		}
		return err
	})
}

// DiscardBuild takes back what a held build or a candidate wrote. The build stays
// in the history and is not tried again by itself. The error is of kind Conflict
// when it is neither.
func (s *Store) DiscardBuild(ctx context.Context, build int64) error {
	const waits = `SELECT EXISTS (SELECT 1 FROM vuln_build WHERE id = $1 AND state IN ('held', 'candidate'))`
	const retire = `UPDATE vuln_build SET state = 'retired', reason = 'discarded', retired_at = now() WHERE state IN ('held', 'candidate')`
	return s.inTx(ctx, "discard build", func(tx pgx.Tx) error {
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		var found bool
		if err := tx.QueryRow(ctx, waits, build).Scan(&found); err != nil {
			return err
		}
		if !found {
			return errs.New(errs.Conflict, "postgres: build %d is neither held nor a candidate", build)
		}
		// There is one of them at a time (BeginBuild).
		if err := takeBack(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, retire)
		return err
	})
}
