package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// ActiveBuild returns the build that answers are taken from. The error is of
// kind NotFound before the first one.
func (s *Store) ActiveBuild(ctx context.Context) (vuln.Build, error) {
	const query = `
		SELECT checksum, schema_version, built, source, engine, engine_version, config, sample
		  FROM vuln_build WHERE state = 'active'`
	var b vuln.Build
	err := s.pool.QueryRow(ctx, query).Scan(&b.Checksum, &b.SchemaVersion, &b.Built, &b.Source, &b.Engine, &b.EngineVersion, &b.Config, &b.Sample)
	return b, wrap("read active build", err)
}

// BeginBuild registers a build. The very first becomes active at once; a later
// one becomes the candidate, in place of another candidate and of one that is
// held; one that is the candidate already goes on where it stopped. It returns
// the build's id and whether it is active, and kind Conflict for a build that is
// held or that a person discarded.
func (s *Store) BeginBuild(ctx context.Context, b vuln.Build) (id int64, active bool, err error) {
	const insert = `
		INSERT INTO vuln_build (checksum, engine, engine_version, config, schema_version, built, source, sample, state, activated_at, base_build)
		SELECT $1, $2, $3, $4, $5, $6, $7, $8, CASE WHEN a.id IS NULL THEN 'active' ELSE 'candidate' END,
		       CASE WHEN a.id IS NULL THEN now() END, a.id
		  FROM (SELECT 1) one LEFT JOIN vuln_build a ON a.state = 'active'
		RETURNING id, state = 'active'`
	err = s.inTx(ctx, "begin build", func(tx pgx.Tx) error {
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		known, err := buildState(ctx, tx, b)
		if err != nil {
			return err
		}
		id, active = known.ID, known.State == stateActive
		switch {
		case active || known.State == stateCandidate:
			return nil
		case known.State == stateHeld:
			return errs.New(errs.Conflict, "postgres: database build %.20s is held: %s", b.Checksum, known.Reason).
				WithHint("a person releases or discards it")
		case known.Discarded():
			return errs.New(errs.Conflict, "postgres: database build %.20s was discarded", b.Checksum).
				WithHint("it is not tried again by itself; a newer one is")
		case known.State != "":
			// Seen before and not active: a number smaller than the active
			// build's cannot open rows after it, so it starts over as new.
			if err := forgetBuild(ctx, tx, id); err != nil {
				return err
			}
		}
		if err := replaceCandidates(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, insert, b.Checksum, b.Engine, b.EngineVersion, b.Config, b.SchemaVersion, b.Built, b.Source, b.Sample).Scan(&id, &active)
	})
	return id, active, err
}

// lockBuilds excludes every store step and every other switch until the
// transaction ends.
func lockBuilds(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(`+lockKey("build")+`)`)
	return err
}

// forgetBuild gives a build that is to be judged anew another identity in the
// history, so that its old rows keep their meaning.
func forgetBuild(ctx context.Context, tx pgx.Tx, id int64) error {
	const rename = `UPDATE vuln_build SET config = config || '/' || id::text WHERE id = $1`
	_, err := tx.Exec(ctx, rename, id)
	return err
}

// replaceCandidates makes room for another candidate: what candidates wrote and
// what held builds wrote is taken back. Of a candidate nothing stays; a held
// build stays in the history.
func replaceCandidates(ctx context.Context, tx pgx.Tx) error {
	const drop = `DELETE FROM vuln_build WHERE state = 'candidate'`
	const retire = `UPDATE vuln_build SET state = 'retired', reason = 'replaced', retired_at = now() WHERE state = 'held'`
	if err := takeBack(ctx, tx); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, drop); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, retire)
	return err
}

// takeBack undoes what builds wrote that never were in force.
func takeBack(ctx context.Context, tx pgx.Tx) error {
	const waiting = `(SELECT id FROM vuln_build WHERE state IN ('candidate', 'held'))`
	for _, undo := range []string{
		`DELETE FROM package_match WHERE opened_build IN ` + waiting,
		`UPDATE package_match SET closed_build = NULL WHERE closed_build IN ` + waiting,
		`DELETE FROM package_ignore WHERE opened_build IN ` + waiting,
		`UPDATE package_ignore SET closed_build = NULL WHERE closed_build IN ` + waiting,
		`DELETE FROM vulnerability_rating WHERE opened_build IN ` + waiting,
		`UPDATE vulnerability_rating SET closed_build = NULL WHERE closed_build IN ` + waiting,
		`UPDATE package SET judged_build = (SELECT id FROM vuln_build WHERE state = 'active') WHERE judged_build IN ` + waiting,
	} {
		if _, err := tx.Exec(ctx, undo); err != nil {
			return err
		}
	}
	return emptyStaging(ctx, tx)
}
