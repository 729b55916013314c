package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// pushes records n pushes of a repository in one request, under tags prefix0 and
// on.
func (f *fixture) pushes(registry, repository, prefix string, n int) {
	f.t.Helper()
	deliveries := make([]postgres.Delivery, n)
	for i := range deliveries {
		tag := fmt.Sprint(prefix, i)
		deliveries[i] = postgres.Delivery{DedupeKey: repository + tag, Action: "push", Repository: repository, Tag: tag, Digest: digestOf(tag)}
	}
	done, err := f.store.Accept(f.t.Context(), registry, deliveries, noPermits)
	f.ok(err)
	if done.Scans != n {
		f.t.Fatalf("%d scans queued, want %d", done.Scans, n)
	}
}

// run claims and finishes the next n scans and returns their repositories.
func (f *fixture) run(n int) []string {
	f.t.Helper()
	var repositories []string
	for range n {
		job := f.claim()
		repositories = append(repositories, job.Ref.Repository)
		f.ok(f.store.FinishScan(f.t.Context(), job, scan.Result{}, nil))
	}
	return repositories
}

// registries replaces the registries of a fixture.
func (f *fixture) registries(r ...postgres.Registry) {
	f.t.Helper()
	f.ok(f.store.SyncRegistries(f.t.Context(), r))
}

func TestABacklogOfOneRepositoryHoldsUpNobody(t *testing.T) {
	f := newFixture(t)
	f.pushes("prod", "huge/app", "t", 10_000)
	f.run(5)
	f.push("small", "small/app", "1", "")
	if got := f.run(2); !slices.Contains(got, "small/app") {
		t.Errorf("after a push of another repository: %v", got)
	}
	// A second team with a hundred images has every other turn, from the first on.
	f.pushes("prod", "team/app", "t", 100)
	got := f.run(40)
	if n := count(got, "team/app"); n < 19 || n > 21 {
		t.Errorf("%d of 40 turns, want half: %v", n, got)
	}
	// A third that comes late waits for nobody's rest.
	f.push("late", "late/app", "1", "")
	if got := f.run(3); !slices.Contains(got, "late/app") {
		t.Errorf("after the late push: %v", got)
	}
}

func count(all []string, one string) (n int) {
	for _, s := range all {
		if s == one {
			n++
		}
	}
	return n
}

// Pushes that are accepted at the same moment do not see each other, so a
// repository may have as many scans in a turn as it has senders at once.
func TestSendersAtOnceGainLittle(t *testing.T) {
	f := newFixture(t)
	const senders = 8
	var group sync.WaitGroup
	failures := make([]error, senders)
	for s := range senders {
		group.Go(func() {
			for i := range 40 {
				tag := fmt.Sprint(s, "-", i)
				_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: tag, Action: "push", Repository: "huge/app", Tag: tag}}, noPermits)
				failures[s] = errors.Join(failures[s], err)
			}
		})
	}
	group.Wait()
	f.ok(errors.Join(failures...))
	f.push("small", "small/app", "1", "")
	if got := f.run(senders + 1); !slices.Contains(got, "small/app") {
		t.Errorf("another repository is not among the next %d: %v", senders+1, got)
	}
}

func TestRegistriesTakeTurns(t *testing.T) {
	f := newFixture(t)
	f.registries(postgres.Registry{Name: "other", Host: "other.example"})
	f.pushes("prod", "backfill/app", "t", 500)
	f.run(100)
	f.pushes("other", "elsewhere/app", "t", 50)
	if n := count(f.run(40), "elsewhere/app"); n != 20 {
		t.Errorf("the registry that came later had %d of 40 turns, want 20", n)
	}
	// With several workers the registry with fewer scans under way is next,
	// however fast the others are.
	slow := f.claim()
	for range 10 {
		next := f.claim()
		if next.Registry == slow.Registry {
			t.Fatalf("%s has two scans under way, the other registry none", next.Registry)
		}
		f.ok(f.store.FinishScan(t.Context(), next, scan.Result{}, nil))
	}
}

func TestALimitOfARegistryHolds(t *testing.T) {
	f := newFixture(t)
	f.registries(postgres.Registry{Name: "prod", Host: "registry.example", MaxRunning: 2}, postgres.Registry{Name: "other", Host: "other.example"})
	f.pushes("prod", "team/app", "t", 20)
	f.pushes("other", "elsewhere/app", "t", 1)
	jobs := f.claimTogether(8)
	if n := f.count("scan s JOIN repository r ON r.id = s.repository_id JOIN registry g ON g.id = r.registry_id WHERE g.name = 'prod' AND s.state = 'running'"); n != 2 {
		t.Errorf("%d scans of the registry run, the limit is 2", n)
	}
	if len(jobs) != 3 {
		t.Fatalf("%d scans run, want 2 and the one of the registry without a limit", len(jobs))
	}
	for _, job := range jobs {
		f.ok(f.store.FinishScan(t.Context(), job, scan.Result{}, nil))
	}
	f.claim()
	f.registries(postgres.Registry{Name: "prod", Host: "registry.example"})
	for range 5 {
		f.claim() // the limit is gone
	}
}

// claimTogether lets n claimers claim once each, at the same time.
func (f *fixture) claimTogether(n int) []scan.Job {
	f.t.Helper()
	found, failures := make([]*scan.Job, n), make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { found[i], failures[i] = f.store.ClaimScan(f.t.Context()) })
	}
	group.Wait()
	f.ok(errors.Join(failures...))
	var jobs []scan.Job
	for _, job := range found {
		if job != nil {
			jobs = append(jobs, *job)
		}
	}
	return jobs
}

func TestClaimersNeverShareAScan(t *testing.T) {
	f := newFixture(t)
	f.pushes("prod", "a/app", "t", 60)
	f.pushes("prod", "b/app", "t", 60)
	seen := map[int64]bool{}
	for range 15 {
		for _, job := range f.claimTogether(8) {
			if seen[job.ID] {
				t.Fatalf("scan %d was given out twice", job.ID)
			}
			seen[job.ID] = true
		}
	}
	if len(seen) != 120 {
		t.Errorf("%d of 120 scans were given out", len(seen))
	}
}

func TestWhoWaitsGoesFirst(t *testing.T) {
	f := newFixture(t)
	f.pushes("prod", "huge/app", "t", 50)
	f.push("wanted", "huge/app", "wanted", "")
	var id int64
	f.ok(f.pool.QueryRow(t.Context(), `SELECT id FROM scan WHERE tag = 'wanted'`).Scan(&id))
	f.ok(f.store.HurryScan(t.Context(), id))
	f.ok(f.store.HurryScan(t.Context(), id))
	job := f.claim()
	if job.ID != id {
		t.Fatalf("claimed %s first", job.Ref)
	}
	f.ok(f.store.HurryScan(t.Context(), id)) // it runs: nothing to hurry
	if f.count("scan WHERE priority = 0 AND state = 'queued'") != 50 || f.count("scan WHERE state = 'running'") != 1 {
		t.Error("another scan changed")
	}
	f.ok(f.store.RetryScan(t.Context(), job, scan.Result{}, errs.New(errs.RateLimited, "slow down"), time.Hour, true))
	f.ok(f.store.HurryScan(t.Context(), id))
	if next := f.claim(); next.ID == id {
		t.Error("a scan that has to wait for its time was hurried past it")
	}
}

func TestARequestTakesTheWaitingScanAlong(t *testing.T) {
	f := newFixture(t)
	f.pushes("prod", "huge/app", "t", 20)
	id, err := f.store.RequestScan(t.Context(), "prod", image.Reference{Repository: "huge/app", Tag: "t19"}, noPermits)
	f.ok(err)
	if job := f.claim(); job.ID != id || job.Ref.Tag != "t19" {
		t.Errorf("claimed %s first", job.Ref)
	}
}

func TestARetryWaitsNeitherForItsRepositoryNorBeforeOthers(t *testing.T) {
	f := newFixture(t)
	f.pushes("prod", "huge/app", "t", 300)
	down := errs.New(errs.Unavailable, "down")
	for range 50 {
		f.ok(f.store.RetryScan(t.Context(), f.claim(), scan.Result{}, down, time.Hour, true))
	}
	f.exec(`UPDATE scan SET run_after = now() WHERE attempt = 1`)
	if n := f.release(); n != 50 {
		t.Fatalf("%d scans were released, want 50", n)
	}
	f.push("small", "small/app", "1", "")
	var again int
	var order []string
	for range 6 {
		job := f.claim()
		order = append(order, job.Ref.Repository)
		if job.Attempt > 1 {
			again++
		}
		f.ok(f.store.FinishScan(t.Context(), job, scan.Result{}, nil))
	}
	if again == 0 {
		t.Error("retries wait for the whole backlog of their repository")
	}
	if !slices.Contains(order[:3], "small/app") {
		t.Errorf("retries hold up another repository: %v", order)
	}
}

func TestAHeldPushWaitsAndGetsItsPermitWhenItIsDue(t *testing.T) {
	f := newFixture(t)
	permits := 0
	enqueue := func(_ context.Context, _ pgx.Tx, n int) error { permits += n; return nil }
	accept := func(key string, hold time.Duration) {
		t.Helper()
		_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: key, Action: "push", Repository: "team/app",
			Digest: digestOf("x"), Hold: hold}}, enqueue)
		f.ok(err)
	}
	accept("1", time.Minute)
	accept("2", time.Minute)
	if job, err := f.store.ClaimScan(t.Context()); err != nil || job != nil || permits != 0 {
		t.Fatalf("claimed %v, %v with %d permits while it is held", job, err, permits)
	}
	if n := f.release(); n != 0 {
		t.Fatalf("%d scans were released before their time", n)
	}
	f.exec(`UPDATE scan SET run_after = now()`)
	if _, err := f.store.ReleaseScans(t.Context(), enqueue); err != nil || permits != 1 {
		t.Fatalf("%v, %d permits, want 1", err, permits)
	}
	accept("3", 0) // joins what is in the line
	if permits != 1 {
		t.Errorf("a push that joined brought permit %d", permits)
	}
	f.claim()
}

// TestADeliveryByDigestKeepsItsTagAndScansTheDigest: a quarantined image.
func TestADeliveryByDigestKeepsItsTagAndScansTheDigest(t *testing.T) {
	f := newFixture(t)
	_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: "1", Action: "push", Repository: "team/app",
		Tag: "1", Digest: digestOf("x"), ByDigest: true}}, noPermits)
	f.ok(err)
	if job := f.claim(); job.Ref.Tag != "" || job.Ref.Digest != digestOf("x") {
		t.Errorf("scans %s", job.Ref)
	}
	if f.count("delivery WHERE tag = '1' AND scan_id IS NOT NULL") != 1 {
		t.Error("the delivery does not tell the tag, or has no scan")
	}
}

func TestWhoJoinsNeverDelaysAScan(t *testing.T) {
	for _, c := range []struct {
		name        string
		first, then time.Duration // holds
		want        time.Duration // until it is due
	}{
		{"a burst keeps the first hold", 10 * time.Minute, 10 * time.Minute, 10 * time.Minute},
		{"a longer hold changes nothing", 2 * time.Minute, 10 * time.Minute, 2 * time.Minute},
		{"a shorter hold counts", 10 * time.Minute, 2 * time.Minute, 2 * time.Minute},
		{"none makes it due", 10 * time.Minute, 0, 0},
		{"what is due stays due", 0, 10 * time.Minute, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t)
			for i, hold := range []time.Duration{c.first, c.then} {
				_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: fmt.Sprint(i), Action: "push",
					Repository: "team/app", Tag: "1", Hold: hold}}, noPermits)
				f.ok(err)
			}
			if n := f.count(`scan WHERE run_after BETWEEN created_at + make_interval(secs => $1 - 1) AND created_at + make_interval(secs => $1 + 30)`,
				c.want.Seconds()); n != 1 {
				t.Errorf("the scan is not due after %v", c.want)
			}
			f.release()
			job, err := f.store.ClaimScan(t.Context())
			f.ok(err)
			if due := job != nil; due != (c.want == 0) {
				t.Errorf("due now: %v", due)
			}
		})
	}
}

// The version before knows neither registry_id nor turn.
func TestScansOfTheVersionBeforeAreClaimed(t *testing.T) {
	f := newFixture(t)
	f.push("new", "team/app", "new", "")
	f.exec(`INSERT INTO scan (repository_id, tag, cause) SELECT id, 'old' || n, 'push' FROM repository, generate_series(1, 3) n`)
	f.exec(`INSERT INTO scan (repository_id, tag, cause, state, attempt, lease_token, lease_until)
		SELECT id, 'lost', 'push', 'running', 1, gen_random_uuid(), now() - interval '1 minute' FROM repository`)
	_, err := f.store.SweepScans(t.Context(), 6, noPermits)
	f.ok(err)
	var tags []string
	for range 5 {
		tags = append(tags, f.claim().Ref.Tag)
	}
	slices.Sort(tags)
	if diff := cmp.Diff([]string{"lost", "new", "old1", "old2", "old3"}, tags); diff != "" {
		t.Error(diff)
	}
}

func TestAnIndexCoversTheUntaggedPushesOfItsChildren(t *testing.T) {
	f := newFixture(t)
	held := func(repository, name string, cause string) {
		t.Helper()
		_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: repository + name, Action: cause, Repository: repository,
			Digest: digestOf(name), Hold: time.Minute}}, noPermits)
		f.ok(err)
	}
	held("team/app", "amd64", "push")
	held("team/app", "arm64", "push")
	held("team/app", "alone", "push")
	held("team/other", "amd64", "push")
	held("team/app", "s390x", "delete") // a question of its own
	f.push("index", "team/app", "1", digestOf("index"))
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, scan.Manifest{Digest: digestOf("index"), MediaType: image.MediaTypeOCIIndex, Kind: image.KindIndex,
		Children: []scan.Manifest{imageManifest("amd64"), imageManifest("arm64"), imageManifest("s390x")}}))
	var covered []string
	rows, err := f.pool.Query(t.Context(), `SELECT m.digest FROM scan s JOIN manifest m ON m.id = s.manifest_id AND m.digest = s.digest
		WHERE s.state = 'canceled' AND s.reason = $1 AND s.finished_at IS NOT NULL AND s.detail LIKE '%' || $2 || '%'`, scan.ReasonCovered, string(digestOf("index")))
	f.ok(err)
	covered, err = pgx.CollectRows(rows, pgx.RowTo[string])
	f.ok(err)
	want := []string{string(digestOf("amd64")), string(digestOf("arm64"))}
	slices.Sort(covered)
	slices.Sort(want)
	if diff := cmp.Diff(want, covered); diff != "" {
		t.Error(diff)
	}
	if n := f.count("scan WHERE state = 'queued'"); n != 3 {
		t.Errorf("%d scans wait still, want those of the lonely manifest, the other repository and the delete", n)
	}
	if f.count("scan WHERE state = 'failed'") != 0 {
		t.Error("a covered scan counts as failed")
	}
}

// A claim reads the heads of lines: what stands or waits behind them costs
// nothing.
func TestAClaimDoesNotReadTheBacklog(t *testing.T) {
	url := pgtest.URL(t)
	said := &recorder{}
	store, err := postgres.Open(t.Context(), url, postgres.Options{Tracer: said})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	f := &fixture{t: t, pool: store.Pool(), store: store}
	f.registries(postgres.Registry{Name: "prod", Host: "registry.example"})
	f.push("1", "team/app", "1", "")
	f.exec(`INSERT INTO scan (registry_id, repository_id, tag, cause, turn) SELECT registry_id, id, 'line' || n, 'push', n FROM repository, generate_series(1, 20000) n`)
	f.exec(`INSERT INTO scan (registry_id, repository_id, tag, cause, run_after) SELECT registry_id, id, 'held' || n, 'push', now() + interval '1 hour' FROM repository, generate_series(1, 20000) n`)
	f.exec(`ANALYZE scan`)
	said.queries = nil
	if _, err := store.ClaimScan(t.Context()); err != nil {
		t.Fatal(err)
	}
	plan := f.explain(said.queries[0])
	if !strings.Contains(plan, "using scan_line on scan") || strings.Contains(plan, "Seq Scan on scan") {
		t.Errorf("the heads of lines are not read from their index:\n%s", plan)
	}
}

// recorder keeps the queries it sees.
type recorder struct{ queries []string }

func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.queries = append(r.queries, data.SQL)
	return ctx
}

func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (f *fixture) explain(query string) string {
	f.t.Helper()
	rows, err := f.pool.Query(f.t.Context(), "EXPLAIN "+query)
	f.ok(err)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	f.ok(err)
	return strings.Join(lines, "\n")
}
