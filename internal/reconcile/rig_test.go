package reconcile_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// rig is a reconciler on a real database and a real client, before a registry
// that counts.
type rig struct {
	t     testing.TB
	fake  *fake
	pool  *pgxpool.Pool
	store postgres.Reconciliations
	rules scan.Rules
	*reconcile.Reconciler
}

func newRig(t testing.TB, f *fake) *rig {
	t.Helper()
	return newRigOn(t, f, pgtest.URL(t))
}

func newRigOn(t testing.TB, f *fake, database string) *rig {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r := &rig{t: t, fake: f, pool: pool, store: postgres.Reconciliations{Store: postgres.New(pool), Permits: noPermits}}
	r.ok(r.store.SyncRegistries(t.Context(), []postgres.Registry{{Name: "prod", Host: f.host()}, {Name: "other", Host: "other.example"}}))
	client, err := registry.New([]registry.Settings{{Name: "prod", Host: f.host(), PlainHTTP: true}})
	r.ok(err)
	r.Reconciler = &reconcile.Reconciler{Registry: client, Store: r.store, Pause: 10 * time.Millisecond, Look: 5 * time.Millisecond}
	return r
}

func noPermits(context.Context, pgx.Tx, int) error { return nil }

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// ruled sets the rules, for the reconciler and for what claims its runs.
func (r *rig) ruled(rules scan.Rules) {
	r.rules = rules
	r.Rules = map[string]scan.Rules{"prod": rules}
}

// request asks for a run and claims it.
func (r *rig) request(repository string) reconcile.Run {
	r.t.Helper()
	_, err := r.store.RequestReconciliation(r.t.Context(), "prod", repository)
	r.ok(err)
	return r.claim()
}

func (r *rig) claim() reconcile.Run {
	r.t.Helper()
	run, err := r.store.ClaimReconciliation(r.t.Context(), map[string]string{"prod": r.rules.Fingerprint()})
	r.ok(err)
	if run != nil {
		return *run
	}
	r.t.Fatal("there is no run to claim")
	return reconcile.Run{}
}

// run does a whole run, which has to end well.
func (r *rig) run() reconcile.Counts {
	r.t.Helper()
	counts, err := r.Run(r.t.Context(), r.request(""))
	r.ok(err)
	return counts
}

// work plays the workers, in bulk: every scan that waits is done at once, as
// though the registry had sent a Helm chart, or that the target is gone.
func (r *rig) work() {
	r.t.Helper()
	r.ok(r.workOnce(r.t.Context()))
}

func (r *rig) workOnce(ctx context.Context) error {
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		for _, statement := range []string{
			`UPDATE scan SET state = 'running', started_at = now() WHERE state = 'queued'`,
			`INSERT INTO manifest (digest, kind, state, reason)
			 SELECT DISTINCT digest, 'helm_chart', 'unsupported', 'helm_chart' FROM scan WHERE state = 'running' AND cause <> 'delete'
			 ON CONFLICT DO NOTHING`,
			`INSERT INTO repository_manifest (repository_id, manifest_id)
			 SELECT DISTINCT s.repository_id, m.id FROM scan s JOIN manifest m USING (digest) WHERE s.state = 'running' AND s.cause <> 'delete'
			 ON CONFLICT DO NOTHING`,
			`INSERT INTO tag (repository_id, name, manifest_id, moved_at, checked_at)
			 SELECT s.repository_id, s.tag, m.id, now(), now() FROM scan s JOIN manifest m USING (digest)
			  WHERE s.state = 'running' AND s.cause <> 'delete' AND s.tag <> ''
			 ON CONFLICT (repository_id, name) DO UPDATE SET manifest_id = EXCLUDED.manifest_id, moved_at = now(), checked_at = now()`,
			`DELETE FROM tag t USING scan s WHERE s.state = 'running' AND s.cause = 'delete' AND t.repository_id = s.repository_id AND t.name = s.tag`,
			`UPDATE repository_manifest rm SET presence = 'gone' FROM scan s JOIN manifest m USING (digest)
			  WHERE s.state = 'running' AND s.cause = 'delete' AND rm.repository_id = s.repository_id AND rm.manifest_id = m.id
			    AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = rm.repository_id AND t.manifest_id = rm.manifest_id)`,
			`UPDATE scan s SET manifest_id = m.id FROM manifest m WHERE s.state = 'running' AND s.cause <> 'delete' AND m.digest = s.digest`,
			`UPDATE scan SET state = 'done', finished_at = now() WHERE state = 'running'`,
		} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
}

// keepWorking plays the workers beside a run, until it is stopped.
func (r *rig) keepWorking() (stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := r.workOnce(ctx); err != nil && ctx.Err() == nil {
				done <- err
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
		done <- nil
	}()
	return func() {
		cancel()
		r.ok(<-done)
	}
}

func (r *rig) count(query string, args ...any) (n int) {
	r.t.Helper()
	r.ok(r.pool.QueryRow(context.Background(), "SELECT count(*) FROM "+query, args...).Scan(&n))
	return n
}

// waiting lists the scans that wait, as "cause repository:tag@name".
func (r *rig) waiting() []string {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `SELECT s.cause || ' ' || r.name || ':' || s.tag FROM scan s JOIN repository r ON r.id = s.repository_id
		WHERE s.state = 'queued' ORDER BY 1`)
	r.ok(err)
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	r.ok(err)
	return out
}

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return true
	}
}

// only is a registry whose list holds one repository.
type only struct {
	reconcile.Registry
	repository string
}

func (o only) Repositories(context.Context, string, string) ([]string, string, error) {
	return []string{o.repository}, "", nil
}
