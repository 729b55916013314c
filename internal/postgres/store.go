// Package postgres keeps everything Tidewaiter knows in Postgres 14 or newer.
//
// It is responsible for the SQL, for transactions and locks, and for turning
// database errors into kinds. One file per noun; the SQL of a method is a
// constant at its top. It must not decide what to scan or what counts as a
// finding: the rules it holds in SQL are those of docs/design.md.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Store reads and writes the database. It is safe for concurrent use.
type Store struct {
	pool *pgxpool.Pool
	codec
	ledger *ledgerCache
	likely float64 // see Options.LikelyAt
}

// DefaultLikelyAt is the default of Options.LikelyAt.
const DefaultLikelyAt = 0.5

// Options tune a pool; the zero value is good.
type Options struct {
	// MaxConns is the greatest number of connections; zero lets pgx choose.
	MaxConns int32
	// Tracer sees every query, for metrics; nil for none.
	Tracer pgx.QueryTracer
	// LikelyAt is the estimated probability of exploitation (EPSS, 0..1) from which
	// a finding escalates; zero means DefaultLikelyAt.
	LikelyAt float64
}

// Open connects to the database at url. It does not migrate. The error is of
// kind Invalid for a bad url and Unavailable when nobody answers.
func Open(ctx context.Context, url string, options ...Options) (*Store, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errs.New(errs.Invalid, "postgres: the database url cannot be read").
			WithHint("write it as postgres://user:password@host:5432/name?sslmode=…")
	}
	likely := float64(0)
	for _, o := range options {
		likely = cmp.Or(o.LikelyAt, likely)
		if o.MaxConns > 0 {
			config.MaxConns = o.MaxConns
		}
		if o.Tracer != nil {
			config.ConnConfig.Tracer = o.Tracer
		}
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, wrap("open", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, wrap("open", err)
	}
	store := New(pool)
	store.likely = cmp.Or(likely, DefaultLikelyAt)
	return store, nil
}

// New returns a store on an open pool.
func New(pool *pgxpool.Pool) *Store {
	return &Store{pool: pool, codec: newCodec(), ledger: newLedgerCache(), likely: DefaultLikelyAt}
}

// Pool gives the pool to the queue, which inserts jobs in our transactions.
func (s *Store) Pool() *pgxpool.Pool { return s.pool }

// Close closes all connections.
func (s *Store) Close() { s.pool.Close() }

// Ping reports whether the database answers and has our schema.
func (s *Store) Ping(ctx context.Context) error {
	const query = `SELECT count(*) FROM vuln_build WHERE state = 'active'`
	var n int
	return wrap("ping", s.pool.QueryRow(ctx, query).Scan(&n))
}

// inTx runs work in a transaction and commits when it returns nil.
func (s *Store) inTx(ctx context.Context, op string, work func(tx pgx.Tx) error) error {
	return wrap(op, pgx.BeginFunc(ctx, s.pool, work))
}

// inTxAgain is inTx, repeated when the database broke off a deadlock or a
// conflict of transactions, or when in between another scan of a target was queued
// or its repository forgotten.
func (s *Store) inTxAgain(ctx context.Context, op string, work func(tx pgx.Tx) error) error {
	const tries = 3
	var err error
	for range tries {
		err = pgx.BeginFunc(ctx, s.pool, work)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || (kindOfCode(pg.Code) != errs.Conflict && !isUnique(err, "scan_queued") && !isForgotten(err)) {
			break
		}
	}
	return wrap(op, err)
}

// wrap gives a database error its kind. Errors that have one keep it.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *errs.Error
	if errors.As(err, &known) {
		return err
	}
	return errs.Wrap(kindOf(err), "postgres: "+op, err)
}

func kindOf(err error) errs.Kind {
	var pg *pgconn.PgError
	var network net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errs.KindOf(err)
	case errors.Is(err, pgx.ErrNoRows):
		return errs.NotFound
	case errors.As(err, &pg):
		return kindOfCode(pg.Code)
	case errors.As(err, &network), pgconn.SafeToRetry(err), isConnectError(err):
		return errs.Unavailable
	}
	// What pgx reports when a connection breaks under a query has no type.
	if text := err.Error(); strings.Contains(text, "conn closed") || strings.Contains(text, "unexpected EOF") ||
		strings.Contains(text, "closed pool") || strings.Contains(text, "conn busy") {
		return errs.Unavailable
	}
	return errs.Internal
}

func isConnectError(err error) bool {
	var connect *pgconn.ConnectError
	return errors.As(err, &connect)
}

// kindOfCode maps SQLSTATE classes (Postgres manual, appendix A).
func kindOfCode(code string) errs.Kind {
	switch {
	case code == "40001", code == "40P01", code == "55P03":
		return errs.Conflict // serialization failure, deadlock, lock not available
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57P"), code == "25006":
		return errs.Unavailable // connection, resources, shutdown, read only
	case code == "57014":
		return errs.Timeout // statement canceled
	}
	return errs.Internal
}

// isUnique reports whether err is a violation of the named unique index.
func isUnique(err error, index string) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == index
}

// isForgotten reports whether a scan was to be queued for a repository that is no
// longer there.
func isForgotten(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "23503" && pg.ConstraintName == "scan_repository_id_fkey"
}

// lockKey renders the key for an advisory lock of our own.
func lockKey(name string) string { return fmt.Sprintf("hashtextextended('tidewaiter/%s', 0)", name) }

var (
	_ scan.Store  = (*Store)(nil)
	_ scan.Builds = (*Store)(nil)
)
