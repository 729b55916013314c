package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// SelectPackages keeps which packages a candidate has to judge, and cuts those it
// has not judged into shards of like size. What was counted and compared for a
// selection of another kind is made again.
func (s *Store) SelectPackages(ctx context.Context, build int64, change scan.Change) (shards []scan.Shard, err error) {
	err = s.inTx(ctx, "select packages", func(tx pgx.Tx) error {
		if err := shareCandidate(ctx, tx, build); err != nil {
			return err
		}
		if err := keepSelection(ctx, tx, build, change); err != nil {
			return err
		}
		if err := fillSelection(ctx, tx, build); err != nil {
			return err
		}
		shards, err = cutSelection(ctx, tx, build)
		return err
	})
	return shards, err
}

func keepSelection(ctx context.Context, tx pgx.Tx, build int64, change scan.Change) error {
	const query = `SELECT build_id = $1 AND (everything <> '') = ($2 <> '') AND ($2 <> '' OR names = $3) FROM rematch FOR UPDATE`
	const insert = `INSERT INTO rematch (build_id, everything, names) VALUES ($1, $2, $3)`
	names := []string{}
	if change.Everything == "" {
		names = cleanAll(change.Names)
	}
	var same bool
	err := tx.QueryRow(ctx, query, build, change.Everything, names).Scan(&same)
	if err == nil && same || err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	if err := emptyStaging(ctx, tx); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, insert, build, cleanText(change.Everything), names)
	return err
}

// emptyStaging forgets what was prepared for a candidate.
func emptyStaging(ctx context.Context, tx pgx.Tx) error {
	const empty = `
		TRUNCATE rematch, rematch_package, rematch_record, rematch_group, rematch_batch, rematch_inventory, rematch_count,
		         rematch_coverage, rematch_repository, rematch_finding`
	_, err := tx.Exec(ctx, empty)
	return err
}

// unjudged are the packages that a candidate has to judge and has not, as parts of
// a union: by name, and those of which nobody says the name.
const unjudged = `
	SELECT p.id FROM package p
	 WHERE p.judged_build < @build AND (SELECT r.everything <> '' FROM rematch r WHERE r.build_id = @build)
	UNION ALL
	SELECT p.id FROM package p
	 WHERE p.names && (SELECT r.names FROM rematch r WHERE r.build_id = @build AND r.everything = '') AND p.judged_build < @build
	UNION ALL
	SELECT p.id FROM package p
	 WHERE p.names IS NULL AND p.judged_build < @build AND (SELECT r.everything = '' FROM rematch r WHERE r.build_id = @build)`

func fillSelection(ctx context.Context, tx pgx.Tx, build int64) error {
	const empty = `TRUNCATE rematch_package`
	const fill = `INSERT INTO rematch_package (package_id) ` + unjudged
	if _, err := tx.Exec(ctx, empty); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fill, pgx.NamedArgs{"build": build})
	return err
}

func cutSelection(ctx context.Context, tx pgx.Tx, build int64) ([]scan.Shard, error) {
	const each = 1000 // packages; some seconds of work
	const query = `
		SELECT $1::bigint AS build, min(package_id) AS "from", max(package_id) AS "to", count(*) AS packages
		  FROM (SELECT package_id, (row_number() OVER (ORDER BY package_id) - 1) / $2 AS part FROM rematch_package) p
		 GROUP BY part ORDER BY part`
	rows, err := tx.Query(ctx, query, build, each)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[scan.Shard])
}

// PackagesOf returns up to limit packages of a shard that its build has not
// judged, in the order of their ids, after the given one.
func (s *Store) PackagesOf(ctx context.Context, shard scan.Shard, after int64, limit int) ([]scan.Stored, error) {
	const query = `
		SELECT p.id, p.input FROM rematch_package w JOIN package p ON p.id = w.package_id
		 WHERE w.package_id BETWEEN greatest($1, $3 + 1) AND $2 AND p.judged_build < $4
		   AND EXISTS (SELECT 1 FROM rematch r WHERE r.build_id = $4)
		 ORDER BY w.package_id LIMIT $5`
	rows, err := s.pool.Query(ctx, query, shard.From, shard.To, after, shard.Build, limit)
	if err != nil {
		return nil, wrap("list packages of a shard", err)
	}
	out, err := s.storedPackages(rows)
	return out, wrap("list packages of a shard", err)
}

func (s *Store) storedPackages(rows pgx.Rows) (out []scan.Stored, err error) {
	var p scan.Stored
	var input []byte
	_, err = pgx.ForEachRow(rows, []any{&p.ID, &input}, func() error {
		p.Package = inventory.Package{}
		if err := s.unpackJSON(input, &p.Package); err != nil {
			return err
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// judgeLate judges, in a transaction of the store, the packages that appeared
// since the candidate's were judged. It returns kind Conflict when they are more
// than are judged while others wait, or when one of them cannot be judged.
func (s *Store) judgeLate(ctx context.Context, tx pgx.Tx, build int64, session scan.Session) error {
	const most = 200
	const query = `SELECT p.id, p.input FROM package p WHERE p.id IN (` + unjudged + `) ORDER BY p.id LIMIT @limit`
	rows, err := tx.Query(ctx, query, pgx.NamedArgs{"build": build, "limit": most + 1})
	if err != nil {
		return err
	}
	packages, err := s.storedPackages(rows)
	if err != nil || len(packages) == 0 {
		return err
	}
	if len(packages) > most {
		return errs.New(errs.Conflict, "postgres: packages appeared that the candidate has not judged")
	}
	input := make([]inventory.Package, len(packages))
	for i, p := range packages {
		input[i] = p.Package
	}
	judgements, err := session.Judge(ctx, input)
	if errs.Is(err, errs.Malformed) {
		return errs.Wrap(errs.Conflict, "postgres: judge what appeared", err)
	}
	if err != nil {
		return err
	}
	records, err := session.Vulnerabilities(ctx, scan.RefsOf(judgements))
	if err != nil {
		return err
	}
	return saveCandidate(ctx, tx, build, packages, judgements, slices.Clone(records))
}
