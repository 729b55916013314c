package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

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
// one becomes the candidate, replacing another candidate; one that is the
// candidate already goes on where it stopped. It returns the build's id and
// whether it is active.
func (s *Store) BeginBuild(ctx context.Context, b vuln.Build) (id int64, active bool, err error) {
	const query = `
		SELECT id, state FROM vuln_build
		 WHERE checksum = $1 AND engine = $2 AND engine_version = $3 AND config = $4`
	const insert = `
		INSERT INTO vuln_build (checksum, engine, engine_version, config, schema_version, built, source, sample, state, activated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8,
		        CASE WHEN EXISTS (SELECT 1 FROM vuln_build WHERE state = 'active') THEN 'candidate' ELSE 'active' END,
		        CASE WHEN EXISTS (SELECT 1 FROM vuln_build WHERE state = 'active') THEN NULL ELSE now() END)
		RETURNING id, state = 'active'`
	err = s.inTx(ctx, "begin build", func(tx pgx.Tx) error {
		if err := lockBuilds(ctx, tx); err != nil {
			return err
		}
		var state string
		err := tx.QueryRow(ctx, query, b.Checksum, b.Engine, b.EngineVersion, b.Config).Scan(&id, &state)
		active = state == "active"
		switch {
		case err == nil && (active || state == "candidate"):
			return nil
		case err == nil:
			// Seen before and not active: a number smaller than the active
			// build's cannot open rows after it, so it starts over as new.
			if err := forgetBuild(ctx, tx, id); err != nil {
				return err
			}
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		if err := discardCandidates(ctx, tx); err != nil {
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

// discardCandidates takes back what candidates wrote.
func discardCandidates(ctx context.Context, tx pgx.Tx) error {
	for _, undo := range []string{
		`DELETE FROM package_match WHERE opened_build IN (SELECT id FROM vuln_build WHERE state = 'candidate')`,
		`UPDATE package_match SET closed_build = NULL WHERE closed_build IN (SELECT id FROM vuln_build WHERE state = 'candidate')`,
		`DELETE FROM package_ignore WHERE opened_build IN (SELECT id FROM vuln_build WHERE state = 'candidate')`,
		`UPDATE package_ignore SET closed_build = NULL WHERE closed_build IN (SELECT id FROM vuln_build WHERE state = 'candidate')`,
		`DELETE FROM vulnerability_rating WHERE opened_build IN (SELECT id FROM vuln_build WHERE state = 'candidate')`,
		`UPDATE vulnerability_rating SET closed_build = NULL WHERE closed_build IN (SELECT id FROM vuln_build WHERE state = 'candidate')`,
		`UPDATE package SET judged_build = (SELECT id FROM vuln_build WHERE state = 'active')
		  WHERE judged_build IN (SELECT id FROM vuln_build WHERE state = 'candidate')`,
		`DELETE FROM vuln_build WHERE state = 'candidate'`,
	} {
		if _, err := tx.Exec(ctx, undo); err != nil {
			return err
		}
	}
	return nil
}
