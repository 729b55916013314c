package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// AddEventPartitions makes sure that finding events of this month and of the
// two that follow have partitions of their own, so that old months can be
// dropped as a whole. Events outside all partitions are kept in the default
// one; a month that has some there already stays there.
func (s *Store) AddEventPartitions(ctx context.Context, now time.Time) error {
	const ahead = 3
	first := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	return s.inTx(ctx, "add event partitions", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(`+lockKey("partitions")+`)`); err != nil {
			return err
		}
		for n := range ahead {
			if err := addEventPartition(ctx, tx, first.AddDate(0, n, 0)); err != nil {
				return err
			}
		}
		return nil
	})
}

func addEventPartition(ctx context.Context, tx pgx.Tx, month time.Time) error {
	const taken = `
		SELECT to_regclass($1) IS NOT NULL
		    OR EXISTS (SELECT 1 FROM finding_event_default WHERE occurred_at >= $2 AND occurred_at < $3)`
	name := "finding_event_" + month.Format("2006_01")
	next := month.AddDate(0, 1, 0)
	var skip bool
	if err := tx.QueryRow(ctx, taken, name, month, next).Scan(&skip); err != nil || skip {
		return err
	}
	// Names and bounds are made here; nothing from outside enters the statement.
	_, err := tx.Exec(ctx, fmt.Sprintf(`CREATE TABLE %s PARTITION OF finding_event FOR VALUES FROM ('%s') TO ('%s')`,
		name, month.Format(time.RFC3339), next.Format(time.RFC3339)))
	return err
}
