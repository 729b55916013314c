package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// stages are all there is to collect, in an order in which what goes lets others
// go in the same pass: history, then what only that kept, down to the records of
// vulnerabilities.
func stages(dry bool) []stage {
	all := []stage{
		tagEventStage(dry), pastAnswerStage(dry), pastCoverageStage(dry),
		linkStage(dry), sbomStage(dry), manifestStage(dry), uploadStage(dry), inventoryStage(dry),
		closedStage("package_match", dry), closedStage("package_ignore", dry), closedStage("vulnerability_rating", dry),
		packageStage(dry), vulnerabilityStage(dry), findingStage(dry),
	}
	all = append(all, eventStages(dry)...)
	return append(all, deliveryStage(dry), rejectionStage(dry), rejectionHourStage(dry), scanStage(dry), reconciliationStage(dry), auditStage(dry))
}

// rehearse goes through all stages without changing anything. What would be gone
// by then is remembered beside the tables, so that the figures are those of a
// pass that nobody comes in between of.
func (c *collector) rehearse(ctx context.Context) error {
	const remember = `CREATE TEMPORARY TABLE doomed (of text, at bigint, id bigint, PRIMARY KEY (of, at, id))`
	conn, err := c.store.pool.Acquire(ctx)
	if err != nil {
		return wrap("rehearse collection", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, remember); err != nil {
		return wrap("rehearse collection", err)
	}
	defer func() { _, _ = conn.Exec(context.WithoutCancel(ctx), `DROP TABLE doomed`) }()
	if err := conn.QueryRow(ctx, `SELECT now()`).Scan(&c.pass.at); err != nil {
		return wrap("rehearse collection", err)
	}
	c.done.Due = true
	for _, s := range stages(true) {
		if !s.applies(c.retention) {
			continue
		}
		c.pass.position = position{}
		for ended := false; !ended; {
			err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{BeginQuery: beginBatch}, func(tx pgx.Tx) error {
				var gone Figures
				c.pass.position, gone, ended, err = s.work.batch(ctx, tx, c.pass.position, s.size, c.pass.cutoffs(c.retention))
				c.done.Figures.Add(gone)
				return err
			})
			if err != nil {
				return errs.Op("postgres: rehearse collection of "+s.name, wrap("", err))
			}
		}
	}
	return nil
}

// doom remembers that rows would go.
func doom(ctx context.Context, tx pgx.Tx, table string, args pgx.NamedArgs) error {
	const insert = `
		INSERT INTO doomed (of, at, id) SELECT @of, k.at, k.id FROM unnest(@ins::bigint[], @ids::bigint[]) AS k (at, id)
		ON CONFLICT DO NOTHING`
	args["of"] = table
	_, err := tx.Exec(ctx, insert, args)
	return err
}

// less leaves out rows that would be gone, in a rehearsal.
func less(dry bool, table, at, id string) string {
	if !dry {
		return ""
	}
	return ` AND NOT EXISTS (SELECT 1 FROM doomed d WHERE d.of = '` + table + `' AND d.at = ` + at + ` AND d.id = ` + id + `)`
}

// unlessOld leaves out rows that a stage before counts already because an old
// build closed them, in a rehearsal.
func unlessOld(dry bool, build string) string {
	if !dry {
		return ""
	}
	return ` AND (` + build + ` = ANY (` + oldBuilds + `)) IS NOT TRUE`
}

// unlessOlder does the same for answers of the past, of rows t.
func unlessOlder(dry bool) string {
	if !dry {
		return ""
	}
	return ` AND t.until >= @history::timestamptz`
}
