package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// pass is a way through all stages, as the table collection keeps it.
type pass struct {
	id       int64
	at       time.Time // ages are counted from then
	stage    string    // its name; empty before the first
	position position
	figures  Figures
}

// position is how far the walk of a stage is.
type position struct {
	After key  `json:"after"`
	Walk  int  `json:"walk,omitempty"` // how often the stage was walked to its end
	Went  bool `json:"went,omitempty"` // whether anything went in this walk
}

// key names a row: by its id, in a repository where it has one there, or by name.
type key struct {
	In   int64  `json:"in,omitempty"`
	ID   int64  `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

// index is where to go on: at the stage the pass was at.
func (p pass) index(all []stage) int {
	return max(slices.IndexFunc(all, func(s stage) bool { return s.name == p.stage }), 0)
}

// beginPass finds the pass that was cut off, or begins one when it is time. One
// under another policy is not gone on with.
func (s *Store) beginPass(ctx context.Context, r Retention, every time.Duration) (p pass, resumed, due bool, err error) {
	const abandon = `UPDATE collection SET finished_at = now() WHERE finished_at IS NULL AND policy <> $1`
	const unfinished = `SELECT id, at, stage, position, figures FROM collection WHERE finished_at IS NULL ORDER BY id DESC LIMIT 1`
	const recent = `SELECT EXISTS (SELECT 1 FROM collection WHERE policy = $1 AND at > now() - make_interval(secs => $2))`
	const insert = `INSERT INTO collection (policy) VALUES ($1) RETURNING id, at, stage, position, figures`
	policy, err := json.Marshal(r)
	if err != nil {
		return p, false, false, errs.Wrap(errs.Internal, "postgres: encode retention", err)
	}
	err = s.inTx(ctx, "begin collection", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, abandon, policy); err != nil {
			return err
		}
		err := p.scan(tx.QueryRow(ctx, unfinished))
		if !errors.Is(err, pgx.ErrNoRows) {
			resumed, due = true, true
			return err
		}
		var early bool
		if err := tx.QueryRow(ctx, recent, policy, every.Seconds()).Scan(&early); err != nil || early {
			return err
		}
		due = true
		return p.scan(tx.QueryRow(ctx, insert, policy))
	})
	return p, resumed, due, err
}

func (p *pass) scan(row pgx.Row) error {
	return row.Scan(&p.id, &p.at, &p.stage, &p.position, &p.figures)
}

// save keeps how far the pass is, in the transaction that brought it there.
func (p pass) save(ctx context.Context, tx pgx.Tx) error {
	const save = `UPDATE collection SET stage = $2, position = $3, figures = $4, updated_at = now() WHERE id = $1`
	_, err := tx.Exec(ctx, save, p.id, p.stage, p.position, p.figures)
	return err
}

// keptPasses is how many passes are remembered.
const keptPasses = 100

func (s *Store) endPass(ctx context.Context, p pass) error {
	const end = `UPDATE collection SET finished_at = now(), updated_at = now(), stage = '', position = '{}' WHERE id = $1`
	const forget = `DELETE FROM collection WHERE id <= (SELECT id FROM collection ORDER BY id DESC OFFSET $1 LIMIT 1)`
	return s.inTx(ctx, "end collection", func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, end, p.id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, forget, keptPasses)
		return err
	})
}

// LastCollected tells when the newest pass that came to its end did; the zero time
// when none has.
func (s *Store) LastCollected(ctx context.Context) (time.Time, error) {
	const query = `SELECT max(finished_at) FROM collection WHERE stage = ''`
	var at *time.Time
	err := s.pool.QueryRow(ctx, query).Scan(&at)
	if at == nil {
		at = &time.Time{}
	}
	return at.UTC(), wrap("read last collection", err)
}

// minAge is how old a row is at least that nothing refers to: who has just made
// one may be about to.
const minAge = time.Hour

// cutoffs are the arguments of the stages' conditions: what is older than one of
// them goes. For what is kept for ever nothing is.
func (p pass) cutoffs(r Retention) pgx.NamedArgs {
	before := func(age time.Duration) pgtype.Timestamptz {
		if age == 0 {
			return pgtype.Timestamptz{InfinityModifier: pgtype.NegativeInfinity, Valid: true}
		}
		return pgtype.Timestamptz{Time: p.at.Add(-age), Valid: true}
	}
	return pgx.NamedArgs{
		"untagged": before(r.Untagged), "gone": before(r.Gone), "sboms": before(r.Documents), "history": before(r.History),
		"events": before(r.Events), "deliveries": before(r.Deliveries), "scans": before(r.Scans),
		"reconciliations": before(r.Reconciliations), "audit": before(r.Audit), "grace": before(minAge), "hours": before(keptHours),
	}
}
