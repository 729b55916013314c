package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

var (
	appRef = report.RepositoryRef{Registry: "main", Name: "team/app"}
	byTest = report.Change{Actor: "token:test", Action: "repository.forget"}
)

func forget(t *testing.T, w *postgrestest.World, ref report.RepositoryRef, o report.ForgetOptions) report.Forgotten {
	t.Helper()
	o.By = byTest
	got, err := w.Store.ForgetRepository(t.Context(), all, ref, o)
	must(t, err)
	return got
}

// knownOf lists the tables that have rows of repositories by the number of theirs.
const knownOf = `
	SELECT k.of FROM (
		SELECT 'tag' AS of, repository_id FROM tag UNION ALL SELECT 'tag_event', repository_id FROM tag_event
		UNION ALL SELECT 'scan', repository_id FROM scan UNION ALL SELECT 'repository_manifest', repository_id FROM repository_manifest
		UNION ALL SELECT 'repository_inventory', repository_id FROM repository_inventory
		UNION ALL SELECT 'repository_finding', repository_id FROM repository_finding
		UNION ALL SELECT 'finding_event', repository_id FROM finding_event
		UNION ALL SELECT 'repository_day', repository_id FROM repository_day
		UNION ALL SELECT 'notification_pending', repository_id FROM notification_pending) k
	 WHERE NOT EXISTS (SELECT 1 FROM repository r WHERE r.id = k.repository_id) ORDER BY 1`

// stands is everything that is known of repositories, by their names.
func stands(t *testing.T, w *postgrestest.World, without string) []string {
	t.Helper()
	var out []string
	for _, r := range query[string](t, w, `
		WITH place AS (SELECT r.id, g.name || '/' || r.name AS name FROM repository r JOIN registry g ON g.id = r.registry_id)
		SELECT concat_ws(' ', 'finding', r.name, f.package_name, f.vulnerability, f.severity, f.closed_at IS NULL) FROM repository_finding f JOIN place r ON r.id = f.repository_id
		UNION ALL SELECT concat_ws(' ', 'event', r.name, e.kind, e.vulnerability) FROM finding_event e JOIN place r ON r.id = e.repository_id
		UNION ALL SELECT concat_ws(' ', 'tag', r.name, t.name, m.digest) FROM tag t JOIN place r ON r.id = t.repository_id JOIN manifest m ON m.id = t.manifest_id
		UNION ALL SELECT concat_ws(' ', 'move', r.name, e.tag, e.action) FROM tag_event e JOIN place r ON r.id = e.repository_id
		UNION ALL SELECT concat_ws(' ', 'has', r.name, m.digest, k.presence) FROM repository_manifest k JOIN place r ON r.id = k.repository_id JOIN manifest m ON m.id = k.manifest_id
		UNION ALL SELECT concat_ws(' ', 'day', r.name, d.critical, d.high, d.opened) FROM repository_day d JOIN place r ON r.id = d.repository_id
		UNION ALL SELECT concat_ws(' ', 'scan', r.name, s.id, s.state) FROM scan s JOIN place r ON r.id = s.repository_id
		UNION ALL SELECT concat_ws(' ', 'delivery', g.name || '/' || d.repository, d.id, d.tag, d.digest, d.actor) FROM delivery d JOIN registry g ON g.id = d.registry_id WHERE d.repository <> ''
		ORDER BY 1`) {
		var kind, name string
		if _, err := fmt.Sscan(r, &kind, &name); err == nil && name == without {
			continue
		}
		out = append(out, r)
	}
	return out
}

func TestForgetRepository(t *testing.T) {
	w := postgrestest.Harbour(t)
	queued(w, "team/app", "waits", "")
	before, whole := stands(t, w, "main/team/app"), stands(t, w, "")
	preview := forget(t, w, appRef, report.ForgetOptions{DryRun: true})
	if diff := cmp.Diff(whole, stands(t, w, "")); diff != "" || !preview.DryRun || !preview.Done {
		t.Errorf("a dry run %+v changes (-before +after):\n%s", preview, diff)
	}
	if c := preview.Counts; c.Tags != 2 || c.Manifests < 4 || c.Shared != 1 || c.Findings == 0 || c.Events == 0 || c.Moves != 2 || c.Canceled != 1 || c.Scans != 3 || c.Deliveries != 4 || c.Repositories != 1 {
		t.Errorf("a dry run counts %+v", c)
	}
	got := forget(t, w, appRef, report.ForgetOptions{})
	if want := (report.Forgotten{Registry: "main", Repository: postgrestest.Host + "/team/app", Done: true, Counts: preview.Counts}); got != want {
		t.Errorf("forgot %+v, the dry run said %+v", got, want)
	}
	if diff := cmp.Diff(before, stands(t, w, "")); diff != "" {
		t.Errorf("others changed (-before +after):\n%s", diff)
	}
	if left := query[string](t, w, knownOf); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if n := query[int64](t, w, `SELECT count(*) FROM delivery WHERE repository = '' AND tag = '' AND digest = '' AND actor = '' AND event_id = '' AND verdict = 'accepted'`); n[0] != 3 {
		t.Errorf("%d accepted deliveries lost their names, want 3", n[0])
	}
	if log := query[string](t, w, `SELECT concat_ws(' ', actor, action, object, outcome, detail->>'tags') FROM audit_log`); !slices.Equal(log, []string{"token:test repository.forget registry.example.com/team/app done 2"}) {
		t.Errorf("audit log: %v", log)
	}
	_, err := w.Store.ForgetRepository(t.Context(), all, appRef, report.ForgetOptions{})
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("forgotten again: %v", err)
	}
	// What another repository has too is answered as before, and stays when the rest is
	// collected.
	execute(t, w, `UPDATE manifest SET created_at = now() - interval '2 hours'`)
	execute(t, w, `UPDATE inventory SET created_at = now() - interval '2 hours'`)
	_, err = w.Store.Collect(t.Context(), postgres.Retention{}, postgres.CollectOptions{})
	must(t, err)
	shared := postgrestest.App("app-amd64", "").Manifest().Digest
	if other, err := w.Store.Image(t.Context(), all, targetTag("other/secret", "1")); err != nil || other.Answer != report.Findings || other.Digest != shared {
		t.Errorf("the other repository: %+v, %v", other, err)
	}
	if n := query[int64](t, w, `SELECT count(*) FROM manifest m WHERE NOT EXISTS (SELECT 1 FROM repository_manifest r WHERE r.manifest_id = m.id)`); n[0] != 0 {
		t.Errorf("%d manifests are left that nobody has", n[0])
	}
	// Pushed again, it is new.
	w.Push("team/app", "1.0", postgrestest.App("app-amd64", "linux/amd64"))
	page, err := w.Store.Events(t.Context(), all, report.EventFilter{Repository: &appRef}, report.Page{})
	must(t, err)
	for _, e := range page.Items {
		if e.Kind != report.EventOpened {
			t.Errorf("after the push: %+v", e)
		}
	}
	if len(page.Items) == 0 || len(query[string](t, w, `SELECT t.name FROM tag t JOIN repository r ON r.id = t.repository_id JOIN registry g ON g.id = r.registry_id WHERE g.name = 'main' AND r.name = 'team/app'`)) != 1 {
		t.Errorf("after the push: %+v", page.Items)
	}
}

// A caller forgets nothing that they do not see.
func TestForgetWithinPrefixes(t *testing.T) {
	w := postgrestest.Harbour(t)
	limited := report.Access{Prefixes: []string{postgrestest.Host + "/team/"}}
	for _, dry := range []bool{true, false} {
		_, err := w.Store.ForgetRepository(t.Context(), limited, report.RepositoryRef{Registry: "main", Name: "other/secret"}, report.ForgetOptions{DryRun: dry})
		if !errs.Is(err, errs.NotFound) {
			t.Errorf("dry run %v: %v", dry, err)
		}
	}
	if got, err := w.Store.ForgetRepository(t.Context(), limited, appRef, report.ForgetOptions{By: byTest}); err != nil || !got.Done {
		t.Errorf("its own: %+v, %v", got, err)
	}
}

// A scan that is under way writes nothing back, and the image it was at is there for
// others.
func TestForgetWhileAScanRuns(t *testing.T) {
	w := postgrestest.New(t)
	img := one("shared", "1.0.0", "CVE-1")
	queued(w, "team/app", "1", img.Manifest().Digest)
	job := w.Claim()
	must(t, w.Store.SaveManifest(t.Context(), *job, img.Manifest()))
	must(t, w.Store.Reserve(t.Context(), *job, img.Manifest().Digest))
	if got := forget(t, w, appRef, report.ForgetOptions{}); got.Counts.Canceled != 1 || got.Counts.Tags != 1 || !got.Done {
		t.Errorf("forgot %+v", got)
	}
	for name, err := range map[string]error{
		"renew":    w.Store.RenewLease(t.Context(), *job),
		"manifest": w.Store.SaveManifest(t.Context(), *job, img.Manifest()),
		"reserve":  w.Store.Reserve(t.Context(), *job, img.Manifest().Digest),
		"failure":  w.Store.SaveFailure(t.Context(), *job, img.Manifest().Digest, errs.New(errs.Malformed, "bad")),
		"gone":     w.Store.SaveGone(t.Context(), *job),
		"finish":   w.Store.FinishScan(t.Context(), *job, scan.Result{Digest: img.Manifest().Digest}, nil),
		"retry":    w.Store.RetryScan(t.Context(), *job, scan.Result{}, errs.New(errs.Unavailable, "down"), 0, true),
	} {
		if !errs.Is(err, errs.Canceled) {
			t.Errorf("%s: %v, want it canceled", name, err)
		}
	}
	if err := w.Store.SaveFindings(t.Context(), *job); err != nil {
		t.Errorf("findings: %v", err)
	}
	if left := append(query[string](t, w, knownOf), query[string](t, w, `SELECT name FROM repository`)...); len(left) > 0 {
		t.Errorf("written back: %v", left)
	}
	w.Push("team/web", "1", img)
	if got, err := w.Store.Image(t.Context(), all, targetTag("team/web", "1")); err != nil || got.Answer != report.Findings {
		t.Errorf("in another repository: %+v, %v", got, err)
	}
}

// A repository that goes while another build is prepared does not come back with
// the switch, nor hold it up.
func TestForgetWhileABuildIsPrepared(t *testing.T) {
	for _, step := range []string{"select", "report", "stage", "switch"} {
		t.Run(step, func(t *testing.T) {
			w := postgrestest.New(t)
			random := rand.New(rand.NewPCG(7, uint64(len(step))))
			now := firstOracle(random, w.Build)
			now.rule(w)
			for n := range 9 {
				w.Push(fmt.Sprint("team/app", n%3), fmt.Sprint("t", n), now.image(n))
			}
			next, change := now.next(random, postgrestest.NewBuild("next"))
			change.Everything = "a test"
			store := meddled{Store: w.Store, meddle: func(at string) {
				if at == step {
					forget(t, w, report.RepositoryRef{Registry: "main", Name: "team/app1"}, report.ForgetOptions{})
				}
			}}
			done, err := (&scan.Rejudger{Store: store, Change: &change, Parallel: 1}).Rejudge(t.Context(), next)
			if err != nil || !done.Switched {
				t.Fatalf("%+v, %v", done, err)
			}
			next.rule(w)
			checkWorld(t, w, next)
			if left := query[string](t, w, knownOf); len(left) > 0 {
				t.Errorf("came back: %v", left)
			}
		})
	}
}

// What takes longer than a request may is gone on with by the next one; until the
// end the repository stands.
func TestForgetGoesOn(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", one("one", "1.0.0", "CVE-1"))
	execute(t, w, `INSERT INTO tag_event (repository_id, tag, action, occurred_at) SELECT id, 'old', 'deleted', now() FROM repository, generate_series(1, 12000) WHERE name = 'team/app'`)
	var sum report.ForgottenCounts
	asked := 0
	for done := false; !done; asked++ {
		if got, err := w.Store.Image(t.Context(), all, targetTag("team/app", "1")); err != nil || got.Answer != report.Findings {
			t.Fatalf("before the end: %+v, %v", got, err)
		}
		got := forget(t, w, appRef, report.ForgetOptions{Budget: time.Nanosecond})
		sum.Add(got.Counts)
		done = got.Done
	}
	if asked < 3 || sum.Moves != 12001 || sum.Tags != 1 || sum.Repositories != 1 {
		t.Errorf("asked %d times, %+v", asked, sum)
	}
}

// Who holds what has to go is waited for as long as there is time, and not broken
// off.
func TestForgetGivesWay(t *testing.T) {
	w := postgrestest.New(t)
	w.Push("team/app", "1", one("one", "1.0.0", "CVE-1"))
	tx, err := w.Pool.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `SELECT 1 FROM repository FOR KEY SHARE`)
	must(t, err)
	if got := forget(t, w, appRef, report.ForgetOptions{Budget: 50 * time.Millisecond}); got.Done || got.Counts.Tags != 0 {
		t.Errorf("while somebody is at it: %+v", got)
	}
	must(t, tx.Commit(t.Context()))
	if got := forget(t, w, appRef, report.ForgetOptions{Budget: time.Minute}); !got.Done || got.Counts.Tags != 1 {
		t.Errorf("afterwards: %+v", got)
	}
}

// A push that comes in the very moment is not lost: it makes the repository anew.
func TestAPushComesWhileItsRepositoryGoes(t *testing.T) {
	w := postgrestest.New(t)
	execute(t, w, `INSERT INTO repository (registry_id, name) SELECT id, 'team/app' FROM registry WHERE name = 'main'`)
	tx, err := w.Pool.Begin(t.Context())
	must(t, err)
	defer func() { _ = tx.Rollback(t.Context()) }()
	_, err = tx.Exec(t.Context(), `DELETE FROM repository WHERE name = 'team/app'`)
	must(t, err)
	accepted := make(chan error, 1)
	go func() {
		_, err := w.Store.Accept(t.Context(), "main", []postgres.Delivery{{DedupeKey: "push", Action: "push", Repository: "team/app", Tag: "1"}}, postgrestest.NoPermits)
		accepted <- err
	}()
	for { // until it waits
		if waits := query[int64](t, w, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`); waits[0] > 0 {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	must(t, tx.Commit(t.Context()))
	must(t, <-accepted)
	if got := query[string](t, w, `SELECT concat_ws(' ', r.name, s.tag, s.state) FROM scan s JOIN repository r ON r.id = s.repository_id`); !slices.Equal(got, []string{"team/app 1 queued"}) {
		t.Errorf("queued: %v", got)
	}
}

func TestForgetRegistry(t *testing.T) {
	w := postgrestest.Harbour(t)
	must(t, w.Store.SaveChange(t.Context(), report.Change{Actor: "system", Action: "test"}))
	_, err := w.Store.RequestReconciliation(t.Context(), "main", "")
	must(t, err)
	preview, err := w.Store.ForgetRegistry(t.Context(), "main", report.ForgetOptions{DryRun: true, Keep: true})
	must(t, err)
	if preview.Counts.Repositories != 7 || preview.Counts.Tags == 0 || !preview.Configured {
		t.Errorf("preview: %+v", preview)
	}
	kept, err := w.Store.ForgetRegistry(t.Context(), "main", report.ForgetOptions{By: byTest, Keep: true})
	must(t, err)
	if kept.Counts != preview.Counts || !kept.Done {
		t.Errorf("forgot %+v, the dry run said %+v", kept.Counts, preview.Counts)
	}
	left, err := w.Store.Repositories(t.Context(), all, report.RepositoryFilter{}, report.Page{})
	must(t, err)
	if len(left.Items) != 1 || left.Items[0].Registry != "sboms" {
		t.Errorf("left: %+v", left.Items)
	}
	w.Push("team/app", "1", one("one", "1.0.0", "CVE-1")) // the configuration has it: its row stayed
	gone, err := w.Store.ForgetRegistry(t.Context(), "main", report.ForgetOptions{By: byTest})
	must(t, err)
	if !gone.Done || gone.Configured || gone.Counts.Repositories != 1 || gone.Counts.Deliveries == 0 {
		t.Errorf("forgot %+v", gone)
	}
	for _, table := range []string{"delivery WHERE registry_id <> (SELECT id FROM registry WHERE name = 'sboms')", "reconciliation", "registry WHERE name = 'main'"} {
		if n := query[int64](t, w, `SELECT count(*) FROM `+table); n[0] != 0 {
			t.Errorf("%d rows of %s are left", n[0], table)
		}
	}
	if log := query[string](t, w, `SELECT concat_ws(' ', action, object) FROM audit_log ORDER BY id DESC LIMIT 2`); !slices.Equal(log, []string{"registry.forget main", "repository.forget registry.example.com/team/app"}) {
		t.Errorf("audit log: %v", log)
	}
	_, err = w.Store.ForgetRegistry(t.Context(), "main", report.ForgetOptions{DryRun: true})
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("again: %v", err)
	}
}
