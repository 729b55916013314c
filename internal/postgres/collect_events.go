package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// eventStages delete finding events: those of a month at once, when all of it is
// old, and row by row what lies outside the months.
func eventStages(dry bool) []stage {
	keep := func(r Retention) bool { return r.Events > 0 }
	return []stage{
		{name: "finding_event", size: 1, keep: keep, work: months{dry}},
		{name: "finding_event_default", size: 2000, keep: keep, work: sweep{table: "finding_event_default", key: "occurred_at, id",
			where: `x.occurred_at < @events::timestamptz`, order: "x.occurred_at", dry: dry}},
	}
}

// months drops the partitions of months that are over for long enough.
type months struct{ dry bool }

// batch drops one. It needs the whole table for a moment; who is at it goes first.
func (m months) batch(ctx context.Context, tx pgx.Tx, at position, _ int, args pgx.NamedArgs) (next position, gone Figures, ended bool, err error) {
	const query = `
		SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		 WHERE i.inhparent = 'finding_event'::regclass AND c.relname > @name ORDER BY c.relname LIMIT 1`
	before, ok := args["events"].(pgtype.Timestamptz)
	if !ok {
		return at, nil, false, errs.New(errs.Internal, "postgres: finding events have no time to go")
	}
	args["name"] = at.After.Name
	var name string
	err = tx.QueryRow(ctx, query, args).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return at, nil, true, nil
	}
	if err != nil {
		return at, nil, false, err
	}
	next, gone = at, Figures{}
	next.After.Name = name
	if end, isMonth := endOfMonth(name); !isMonth || end.After(before.Time) {
		return next, gone, false, nil
	}
	return next, gone, false, m.drop(ctx, tx, name, gone)
}

var monthName = regexp.MustCompile(`^finding_event_\d{4}_\d{2}$`)

// endOfMonth is when the month of a partition ends.
func endOfMonth(partition string) (time.Time, bool) {
	if !monthName.MatchString(partition) {
		return time.Time{}, false
	}
	month, err := time.Parse("finding_event_2006_01", partition)
	return month.AddDate(0, 1, 0), err == nil
}

// drop drops a partition, whose name is one that addEventPartition makes.
func (m months) drop(ctx context.Context, tx pgx.Tx, name string, gone Figures) error {
	var f Figure
	size := fmt.Sprintf(`SELECT count(*), pg_table_size('%s') FROM %s`, name, name)
	if err := tx.QueryRow(ctx, size).Scan(&f.Rows, &f.Bytes); err != nil {
		return err
	}
	gone.Add(Figures{"finding_event": f})
	if m.dry {
		return nil
	}
	_, err := tx.Exec(ctx, `DROP TABLE `+name)
	return err
}
