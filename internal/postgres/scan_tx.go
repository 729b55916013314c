package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// beginScan begins a transaction of a scan that is under way.
//
// It need not be on disk when it is committed: the one that ends the scan is, and
// with it everything before it. When Postgres dies in between, the scan is still
// running, loses its lease and is done again, with the same outcome.
//
// Its statements look rows up by their keys, few or many, in the order in which
// they are written, and are planned once per connection. The planner is told so:
// until it has statistics, a minute or more after the first images, it would read
// whole tables for each key.
const beginScan = `begin;
	set local synchronous_commit = off;
	set local plan_cache_mode = force_generic_plan;
	set local join_collapse_limit = 1; set local from_collapse_limit = 1;
	set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off;
	set local jit = off`

// freePlanner lets the planner choose for the rest of a transaction of inScan,
// for statements over many images.
const freePlanner = `
	set local plan_cache_mode = force_custom_plan;
	set local join_collapse_limit = default; set local from_collapse_limit = default;
	set local enable_seqscan = default; set local enable_hashjoin = default; set local enable_mergejoin = default`

// inScan is inTx for what a scan stores before it ends.
func (s *Store) inScan(ctx context.Context, op string, work func(tx pgx.Tx) error) error {
	return wrap(op, pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: beginScan}, work))
}
