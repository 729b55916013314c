package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Actions of the audit log.
const (
	actionForgetRepository = "repository.forget"
	actionForgetRegistry   = "registry.forget"
)

// ForgetRepository deletes what is known of a repository: history first, in
// batches, and then all that stands in one transaction, with a row of the audit
// log. Until that commits the repository is what it was but for its history, and
// asking again goes on; once it has, scans that were under way can store nothing,
// and what is pushed makes a new repository. What other repositories have too
// stays; what nobody has any more is left to the collection. The error is of kind
// NotFound for a repository that is not there or not to be seen.
func (s *Store) ForgetRepository(ctx context.Context, access report.Access, ref report.RepositoryRef, o report.ForgetOptions) (report.Forgotten, error) {
	out := report.Forgotten{Registry: ref.Registry, DryRun: o.DryRun, Done: true}
	var at repositoryRow
	err := s.inTx(ctx, "find repository", func(tx pgx.Tx) (err error) {
		if at, err = repository(ctx, tx, access, ref); err != nil || !o.DryRun {
			return err
		}
		out.Counts, err = countForgotten(ctx, tx, []int64{at.ID})
		return err
	})
	out.Repository = at.fullName()
	if err != nil || o.DryRun {
		return out, err
	}
	f := newForgetting(s, o)
	out.Done, err = f.repository(ctx, at)
	out.Counts = f.counts
	return out, err
}

// forgetting is one request to forget.
type forgetting struct {
	store *Store
	by    report.Change
	until time.Time // when to stop in between; the zero time for never
	// together are the repositories that go one after the other; empty for one alone.
	together []int64
	counts   report.ForgottenCounts
}

func newForgetting(s *Store, o report.ForgetOptions) *forgetting {
	f := &forgetting{store: s, by: o.By}
	if o.Budget > 0 {
		f.until = time.Now().Add(o.Budget)
	}
	return f
}

func (f *forgetting) over() bool { return !f.until.IsZero() && time.Now().After(f.until) }

// repository forgets one; done is false when the time was over before.
func (f *forgetting) repository(ctx context.Context, at repositoryRow) (done bool, err error) {
	for _, part := range forgottenHistory {
		if done, err = f.history(ctx, at, part); err != nil || !done {
			return false, err
		}
	}
	return f.finally(ctx, at)
}

// historyPart is history of a repository that goes before it, a batch at a time.
type historyPart struct {
	name      string
	statement string // with the arguments repository, registry_id, name and size
	count     func(*report.ForgottenCounts) *int64
}

// stripDeliveries takes the names out of what senders told us, the newest first. The
// rows stay: they tell a delivery that comes again, and whether an endpoint is
// heard as it usually is. What names another registry's host is not about this
// repository.
const stripDeliveries = `
	UPDATE delivery t SET repository = '', tag = '', digest = '', actor = '', event_id = ''
	 WHERE t.id IN (SELECT x.id FROM delivery x JOIN repository r ON r.id = @repository
	                 WHERE x.repository = r.name AND x.registry_id = r.registry_id AND x.reason <> 'other_registry'
	                 ORDER BY x.id DESC LIMIT @size FOR UPDATE OF x SKIP LOCKED)`

var forgottenHistory = []historyPart{
	{"events", `
		DELETE FROM finding_event t WHERE (t.occurred_at, t.id) IN (
			SELECT x.occurred_at, x.id FROM finding_event x WHERE x.repository_id = @repository
			 ORDER BY x.occurred_at LIMIT @size FOR UPDATE SKIP LOCKED)`,
		func(c *report.ForgottenCounts) *int64 { return &c.Events }},
	{"moves of tags", `
		DELETE FROM tag_event t WHERE t.id IN (
			SELECT x.id FROM tag_event x WHERE x.repository_id = @repository LIMIT @size FOR UPDATE SKIP LOCKED)`,
		func(c *report.ForgottenCounts) *int64 { return &c.Moves }},
	{"scans that ended", `
		DELETE FROM scan t WHERE t.id IN (
			SELECT x.id FROM scan x WHERE x.repository_id = @repository AND x.state IN ('done', 'failed', 'canceled')
			 ORDER BY x.id DESC LIMIT @size FOR UPDATE SKIP LOCKED)`,
		func(c *report.ForgottenCounts) *int64 { return &c.Scans }},
	{"findings that closed", `
		DELETE FROM repository_finding t
		 WHERE t.repository_id = @repository AND (t.package_type, t.package_name, t.vulnerability) IN (
			SELECT x.package_type, x.package_name, x.vulnerability FROM repository_finding x
			 WHERE x.repository_id = @repository AND x.closed_at IS NOT NULL LIMIT @size FOR UPDATE SKIP LOCKED)`,
		func(c *report.ForgottenCounts) *int64 { return &c.Findings }},
	{"deliveries", stripDeliveries,
		func(c *report.ForgottenCounts) *int64 { return &c.Deliveries }},
}

// forgetBatch is how many rows of history go at once.
const forgetBatch = 5000

// beginForget begins a transaction that forgets. Like a collection it waits for a
// lock less long than Postgres waits before it looks for a deadlock: of two who
// hold what the other wants, who forgets gives way, and tries again.
const beginForget = `begin; set local statement_timeout = '60s'; set local lock_timeout = '500ms'; set local jit = off`

// history deletes a part of it. What others hold is left for the end.
func (f *forgetting) history(ctx context.Context, at repositoryRow, part historyPart) (done bool, err error) {
	for {
		var n int64
		err := f.again(ctx, "forget "+part.name, func(tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, part.statement, pgx.NamedArgs{"repository": at.ID, "size": forgetBatch})
			n = tag.RowsAffected()
			return err
		})
		if err != nil {
			return false, f.inTime(err)
		}
		*part.count(&f.counts) += n
		switch {
		case n < forgetBatch:
			return true, nil
		case f.over():
			return false, nil
		}
	}
}

// again runs a transaction until nobody is in its way, or the time is over; the
// error is then one of Postgres, of kind Conflict.
func (f *forgetting) again(ctx context.Context, op string, work func(tx pgx.Tx) error) error {
	const pause = 50 * time.Millisecond
	for {
		err := wrap(op, pgx.BeginTxFunc(ctx, f.store.pool, pgx.TxOptions{BeginQuery: beginForget}, work))
		if !inTheWay(err) || f.over() {
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return wrap(op, err)
		}
	}
}

// inTime is nil for what others were in the way of until the time was over: asking
// again goes on.
func (f *forgetting) inTime(err error) error {
	if f.over() && inTheWay(err) {
		return nil
	}
	return err
}

// inTheWay reports whether Postgres gave up because of others.
func inTheWay(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && kindOfCode(pg.Code) == errs.Conflict
}

// finally deletes what the repository is, and itself.
func (f *forgetting) finally(ctx context.Context, at repositoryRow) (done bool, err error) {
	var gone report.ForgottenCounts
	err = f.again(ctx, "forget repository", func(tx pgx.Tx) (err error) {
		gone = report.ForgottenCounts{}
		there, err := holdForgotten(ctx, tx, at.ID)
		if err != nil || !there {
			return err
		}
		if err := dropRepository(ctx, tx, at.ID, append([]int64{at.ID}, f.together...), &gone); err != nil {
			return err
		}
		change := f.by
		change.Action, change.Object = actionForgetRepository, at.fullName()
		change.Detail = map[string]any{"tags": gone.Tags, "manifests": gone.Manifests, "findings": gone.Findings + f.counts.Findings,
			"scans_canceled": gone.Canceled}
		return saveChange(ctx, tx, change)
	})
	if err != nil {
		return false, f.inTime(err)
	}
	f.store.ledger.clear()
	f.counts.Add(gone)
	return true, nil
}

// holdForgotten locks a repository and what moves it, in the order of everybody
// else: the build, the comparison, scans before their manifests, and then itself,
// so that no more scans come. Scans that wait or run lose their leases. there is
// false when somebody else was quicker.
func holdForgotten(ctx context.Context, tx pgx.Tx, id int64) (there bool, err error) {
	const comparison = `SELECT pg_advisory_xact_lock(hashtextextended('tidewaiter/repository', $1))`
	const lock = `SELECT 1 FROM repository WHERE id = $1 FOR UPDATE`
	if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock_shared(`+lockKey("build")+`)`); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, comparison, id); err != nil {
		return false, err
	}
	if err := takeLeases(ctx, tx, id); err != nil {
		return false, err
	}
	var one int
	err = tx.QueryRow(ctx, lock, id).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, takeLeases(ctx, tx, id) // of those that came in between
}

// takeLeases locks the scans that wait or run, and gives the images they were at the
// state back that they had before.
func takeLeases(ctx context.Context, tx pgx.Tx, repositoryID int64) error {
	const query = `
		SELECT COALESCE(lease_token::text, '') FROM scan
		 WHERE repository_id = $1 AND state IN ('queued', 'running') ORDER BY id FOR UPDATE`
	found, err := tx.Query(ctx, query, repositoryID)
	if err != nil {
		return err
	}
	leases, err := pgx.CollectRows(found, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, lease := range leases {
		if lease == "" {
			continue
		}
		if err := restoreManifests(ctx, tx, lease); err != nil {
			return err
		}
	}
	return nil
}

// dropRepository deletes a repository that is held. What is prepared of it for
// another build of the vulnerability database is passed over by the switch. What the
// repositories share that go together is not shared with others.
func dropRepository(ctx context.Context, tx pgx.Tx, id int64, together []int64, gone *report.ForgottenCounts) error {
	// The days go behind the findings, whose going they count.
	steps := []struct {
		statement string
		count     *int64
	}{
		{`DELETE FROM tag WHERE repository_id = $1`, &gone.Tags},
		{`DELETE FROM tag_event WHERE repository_id = $1`, &gone.Moves},
		{`DELETE FROM scan WHERE repository_id = $1 AND state IN ('queued', 'running')`, &gone.Canceled},
		{`DELETE FROM scan WHERE repository_id = $1`, &gone.Scans},
		{`DELETE FROM repository_inventory WHERE repository_id = $1`, nil},
		{`DELETE FROM repository_finding WHERE repository_id = $1`, &gone.Findings},
		{`DELETE FROM finding_event WHERE repository_id = $1`, &gone.Events},
		{`DELETE FROM notification_pending WHERE repository_id = $1`, nil},
		{`DELETE FROM repository_day WHERE repository_id = $1`, nil},
		{`DELETE FROM repository_manifest WHERE repository_id = $1`, &gone.Manifests},
		{`DELETE FROM repository WHERE id = $1`, &gone.Repositories},
	}
	if err := tx.QueryRow(ctx, sharedManifests, []int64{id}, together).Scan(&gone.Shared); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, stripDeliveries, pgx.NamedArgs{"repository": id, "size": forgetBatch}); err != nil {
		return err
	}
	for _, step := range steps {
		tag, err := tx.Exec(ctx, step.statement, id)
		if err != nil {
			return err
		}
		if step.count != nil {
			*step.count = tag.RowsAffected()
		}
	}
	gone.Scans += gone.Canceled
	return nil
}

// sharedManifests counts the manifests of repositories that others have too, others
// than the second argument names.
const sharedManifests = `
	SELECT count(*) FROM repository_manifest x
	 WHERE x.repository_id = ANY ($1)
	   AND EXISTS (SELECT 1 FROM repository_manifest o WHERE o.manifest_id = x.manifest_id AND o.repository_id <> ALL ($2))`

// countForgotten counts what would go with repositories.
func countForgotten(ctx context.Context, tx pgx.Tx, ids []int64) (c report.ForgottenCounts, err error) {
	const query = `
		SELECT (SELECT count(*) FROM repository WHERE id = ANY ($1)),
		       (SELECT count(*) FROM tag WHERE repository_id = ANY ($1)),
		       (SELECT count(*) FROM repository_manifest WHERE repository_id = ANY ($1)),
		       (SELECT count(*) FROM repository_finding WHERE repository_id = ANY ($1)),
		       (SELECT count(*) FROM finding_event WHERE repository_id = ANY ($1)),
		       (SELECT count(*) FROM tag_event WHERE repository_id = ANY ($1)),
		       (SELECT count(*) FROM scan WHERE repository_id = ANY ($1)),
		       (SELECT count(*) FROM scan WHERE repository_id = ANY ($1) AND state IN ('queued', 'running')),
		       (SELECT count(*) FROM repository r JOIN delivery d ON d.repository = r.name AND d.registry_id = r.registry_id
		         WHERE r.id = ANY ($1) AND d.reason <> 'other_registry')`
	err = tx.QueryRow(ctx, query, ids).Scan(&c.Repositories, &c.Tags, &c.Manifests, &c.Findings, &c.Events, &c.Moves,
		&c.Scans, &c.Canceled, &c.Deliveries)
	if err != nil {
		return c, err
	}
	err = tx.QueryRow(ctx, sharedManifests, ids, ids).Scan(&c.Shared)
	return c, err
}
