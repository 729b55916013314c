package postgres

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// stage collects from one table and what belongs to its rows.
type stage struct {
	name string // the table
	// keep says for how long; nil for what goes as soon as nothing refers to it.
	keep func(Retention) bool
	work batches
	size int // rows that a batch looks at
}

// batches is work done a batch at a time.
type batches interface {
	// batch does the one behind the position, of about size rows, within tx. ended
	// is true when it was the last.
	batch(ctx context.Context, tx pgx.Tx, at position, size int, args pgx.NamedArgs) (next position, gone Figures, ended bool, err error)
}

func (s stage) applies(r Retention) bool { return s.keep == nil || s.keep(r) }

// smaller is the stage in batches of half the size.
func (s stage) smaller() stage {
	const least = 10
	s.size = max(s.size/2, least)
	return s
}

// beginBatch begins the transaction of a batch. It never waits long for a lock, and
// less than Postgres waits before it looks for a deadlock: who scans is not the
// one to be broken off. Rows are looked up by their keys, whatever the planner
// knows of how many there are. It need not be on disk: what is lost in a crash
// goes again.
const beginBatch = `begin;
	set local synchronous_commit = off; set local statement_timeout = '30s'; set local lock_timeout = '500ms';
	set local plan_cache_mode = force_generic_plan; set local jit = off;
	set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off`

// step does the next batch of a stage and keeps how far the pass is with it.
func (c *collector) step(ctx context.Context, s stage) (ended bool, err error) {
	var gone Figures
	next := c.pass
	err = pgx.BeginTxFunc(ctx, c.store.pool, pgx.TxOptions{BeginQuery: beginBatch}, func(tx pgx.Tx) error {
		next = c.pass
		next.figures = Figures{}
		next.figures.Add(c.pass.figures)
		if next.position, gone, ended, err = s.work.batch(ctx, tx, c.pass.position, s.size, c.pass.cutoffs(c.retention)); err != nil {
			return err
		}
		next.figures.Add(gone)
		return next.save(ctx, tx)
	})
	if err != nil {
		return false, wrap("collect "+s.name, err)
	}
	c.pass, c.done.Figures = next, next.figures
	if c.Observe != nil && len(gone) > 0 {
		c.Observe(gone)
	}
	return ended, nil
}

// walk goes over a table in the order of its keys, and deletes the rows x that
// are due with all that belongs to them.
type walk struct {
	table string
	name  string // of what goes, where that is not the rows of the table
	// window selects the keys of up to @size rows behind @in, @id, @name, in
	// order, and whether rows like them are old enough to go: where none is, the
	// walk is over.
	window string
	keys   keys
	due    string // the condition on x
	most   int    // rows to delete in a batch
	mark   string // a statement for the rows of the window, before others are due
	goes   []deletion
	also   []string // statements for what goes, not counted
	// free rows are referred to by nobody: they need not be locked first.
	free bool
	// again is set where a row may keep others of the table: when some went, the
	// table is walked once more.
	again bool
	// still is set where no other build may be on its way meanwhile.
	still bool
	dry   bool
}

// keys says how rows of a table are told apart.
type keys struct {
	columns string // three: where it is, id, name
	among   string // the condition that a row x is one of the arguments
}

var (
	byID   = keys{"0::bigint, x.id, ''", "x.id = ANY (@ids::bigint[])"}
	byName = keys{"0::bigint, 0::bigint, x.digest", "x.digest = ANY (@names::text[])"}
	byLink = keys{"x.repository_id, x.manifest_id, ''",
		"(x.repository_id, x.manifest_id) IN (SELECT k.at, k.id FROM unnest(@ins::bigint[], @ids::bigint[]) AS k (at, id))"}
)

// deletion deletes rows t of a table that belong to those that go.
type deletion struct {
	table, where string
	bytes        string // of t; empty for all columns
}

func (d deletion) statement(dry bool) string {
	bytes := d.bytes
	if bytes == "" {
		bytes = "pg_column_size(t.*)"
	}
	gone := fmt.Sprintf("DELETE FROM %s t WHERE %s RETURNING %s AS bytes", d.table, d.where, bytes)
	if dry {
		gone = fmt.Sprintf("SELECT %s AS bytes FROM %s t WHERE %s", bytes, d.table, d.where)
	}
	return "WITH gone AS (" + gone + ") SELECT count(*), COALESCE(sum(bytes), 0)::bigint FROM gone"
}

func (d deletion) run(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs, dry bool, gone Figures) error {
	var f Figure
	err := tx.QueryRow(ctx, d.statement(dry), args).Scan(&f.Rows, &f.Bytes)
	if f.Rows > 0 {
		gone.Add(Figures{d.table: f})
	}
	return err
}

func (w walk) batch(ctx context.Context, tx pgx.Tx, at position, size int, args pgx.NamedArgs) (next position, gone Figures, ended bool, err error) {
	next, gone = at, Figures{}
	if w.still && !w.dry {
		if err := holdBuilds(ctx, tx); err != nil {
			return at, nil, false, err
		}
	}
	args["in"], args["id"], args["name"], args["size"], args["most"] = at.After.In, at.After.ID, at.After.Name, size, min(w.most, size)
	window, old, err := w.look(ctx, tx, args)
	if err != nil {
		return at, nil, false, err
	}
	if len(window) > 0 {
		next.After = window[len(window)-1]
	}
	ended = len(window) < size || !old
	due, full, err := w.find(ctx, tx, window, args)
	if err != nil {
		return at, nil, false, err
	}
	if full {
		next.After, ended = due[len(due)-1], false
	}
	if len(due) > 0 {
		went, err := w.delete(ctx, tx, due, args, gone)
		if err != nil {
			return at, nil, false, err
		}
		next.Went = next.Went || went
	}
	const walks = 4
	if ended && w.again && next.Went && at.Walk < walks {
		return position{Walk: at.Walk + 1}, gone, false, nil
	}
	return next, gone, ended, nil
}

// look reads the window.
func (w walk) look(ctx context.Context, tx pgx.Tx, args pgx.NamedArgs) (window []key, old bool, err error) {
	rows, err := tx.Query(ctx, w.window, args)
	if err != nil {
		return nil, false, err
	}
	var k key
	var aged bool
	_, err = pgx.ForEachRow(rows, []any{&k.In, &k.ID, &k.Name, &aged}, func() error {
		window, old = append(window, k), old || aged
		return nil
	})
	return window, old, err
}

// find locks the rows of the window that are due and that nobody else holds; full
// is true when there may be more.
func (w walk) find(ctx context.Context, tx pgx.Tx, window []key, args pgx.NamedArgs) (due []key, full bool, err error) {
	if len(window) == 0 {
		return nil, false, nil
	}
	setKeys(args, window)
	if w.mark != "" && !w.dry {
		if _, err := tx.Exec(ctx, w.mark, args); err != nil {
			return nil, false, err
		}
	}
	query := w.dueAmong() + ` ORDER BY 1, 2, 3 LIMIT @most`
	if !w.dry && !w.free {
		query += ` FOR UPDATE OF x SKIP LOCKED`
	}
	if due, err = selectKeys(ctx, tx, query, args); err != nil {
		return nil, false, err
	}
	return due, len(due) > 0 && len(due) == min(w.most, args["size"].(int)), nil
}

func (w walk) dueAmong() string {
	return `SELECT ` + w.keys.columns + ` FROM ` + w.table + ` x WHERE ` + w.keys.among + ` AND ` + w.due
}

// delete looks again which of the rows may go, now that nobody else can come to
// refer to them, and deletes those.
func (w walk) delete(ctx context.Context, tx pgx.Tx, due []key, args pgx.NamedArgs, gone Figures) (went bool, err error) {
	setKeys(args, due)
	if !w.dry && !w.free {
		if due, err = selectKeys(ctx, tx, w.dueAmong(), args); err != nil || len(due) == 0 {
			return false, err
		}
		setKeys(args, due)
	}
	for _, d := range w.goes {
		if err := d.run(ctx, tx, args, w.dry, gone); err != nil {
			return false, err
		}
	}
	if w.dry {
		return true, doom(ctx, tx, cmp.Or(w.name, w.table), args)
	}
	for _, statement := range w.also {
		if _, err := tx.Exec(ctx, statement, args); err != nil {
			return false, err
		}
	}
	return true, nil
}

func setKeys(args pgx.NamedArgs, all []key) {
	ins, ids, names := make([]int64, len(all)), make([]int64, len(all)), make([]string, len(all))
	for i, k := range all {
		ins[i], ids[i], names[i] = k.In, k.ID, k.Name
	}
	args["ins"], args["ids"], args["names"] = ins, ids, names
}

func selectKeys(ctx context.Context, tx pgx.Tx, query string, args pgx.NamedArgs) ([]key, error) {
	rows, err := tx.Query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[key])
}

// errJudging is why a stage is left for the next pass at once: it takes minutes.
var errJudging = errs.New(errs.Conflict, "postgres: another database build is being judged")

// holdBuilds keeps the build in force in place until the transaction ends. While
// another one is judged beside it, packages and inventories stay: it counts on
// them. The error is errJudging then.
func holdBuilds(ctx context.Context, tx pgx.Tx) error {
	const query = `
		SELECT pg_try_advisory_xact_lock_shared(%s) AND NOT EXISTS (SELECT 1 FROM vuln_build WHERE state = 'candidate')`
	var held bool
	if err := tx.QueryRow(ctx, fmt.Sprintf(query, lockKey("build"))).Scan(&held); err != nil {
		return err
	}
	if !held {
		return errJudging
	}
	return nil
}

// sweep deletes what an index finds, a number of rows at a time, until there is
// no more.
type sweep struct {
	table string
	// key tells rows apart, where finds those to go.
	key, where, order string
	dry               bool
}

func (s sweep) batch(ctx context.Context, tx pgx.Tx, at position, size int, args pgx.NamedArgs) (next position, gone Figures, ended bool, err error) {
	gone = Figures{}
	args["size"] = size
	d := deletion{table: s.table, where: fmt.Sprintf(`(%s) IN (SELECT %s FROM %s x WHERE %s ORDER BY %s LIMIT @size FOR UPDATE SKIP LOCKED)`,
		columnsOf("t", s.key), columnsOf("x", s.key), s.table, s.where, s.order)}
	if s.dry {
		d.where = strings.ReplaceAll(s.where, "x.", "t.")
	}
	err = d.run(ctx, tx, args, s.dry, gone)
	return at, gone, s.dry || gone[s.table].Rows < int64(size), err
}

func columnsOf(alias, columns string) string {
	names := strings.Split(columns, ", ")
	for i, n := range names {
		names[i] = alias + "." + n
	}
	return strings.Join(names, ", ")
}
