package postgres_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

var team = report.Access{Prefixes: []string{postgrestest.Host + "/team/"}}

func TestRegistries(t *testing.T) {
	w := postgrestest.Harbour(t)
	count := func(access report.Access) map[string]int {
		found, err := w.Store.Registries(t.Context(), access)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]int{}
		for _, r := range found {
			out[r.Name] = r.Repositories
		}
		return out
	}
	if diff := cmp.Diff(map[string]int{"main": 7, "sboms": 1}, count(all)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"main": 4}, count(team)); diff != "" {
		t.Errorf("one team's (-want +got):\n%s", diff)
	}
}

func TestRepositories(t *testing.T) {
	w := postgrestest.Harbour(t)
	list := func(access report.Access, filter report.RepositoryFilter, limit int) []report.Repository {
		var out []report.Repository
		page := report.Page{Limit: limit}
		for {
			found, err := w.Store.Repositories(t.Context(), access, filter, page)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, found.Items...)
			if page.Cursor = found.NextCursor; page.Cursor == "" {
				return out
			}
		}
	}
	short := func(found []report.Repository) []string {
		out := []string{}
		for _, r := range found {
			total := -1
			if r.Counts != nil {
				total = r.Counts.Total
			}
			out = append(out, fmt.Sprintf("%s %s %v %d %v", r.Repository, r.Answer, r.Complete, total, r.NoData))
		}
		return out
	}
	h := postgrestest.Host
	want := []string{
		h + "/legacy/centos unknown false 0 [distro:centos:7]",
		h + "/legacy/mixed partial false 0 [ecosystem:gem]",
		h + "/other/secret findings true 4 []",
		h + "/team/app findings true 4 []",
		h + "/team/broken none false -1 []",
		h + "/team/chart none false -1 []",
		h + "/team/web clean true 0 []",
		"sboms/team/app findings true 1 []",
	}
	for _, limit := range []int{3, 100} {
		if diff := cmp.Diff(want, short(list(all, report.RepositoryFilter{}, limit))); diff != "" {
			t.Errorf("all, %d a page (-want +got):\n%s", limit, diff)
		}
	}
	if diff := cmp.Diff(want[3:7], short(list(team, report.RepositoryFilter{}, 100))); diff != "" {
		t.Errorf("one team's (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[7:], short(list(all, report.RepositoryFilter{Registry: "sboms"}, 100))); diff != "" {
		t.Errorf("of a registry (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[:2], short(list(all, report.RepositoryFilter{Prefix: h + "/legacy/"}, 100))); diff != "" {
		t.Errorf("under a prefix (-want +got):\n%s", diff)
	}
	app := list(all, report.RepositoryFilter{Prefix: h + "/team/app"}, 100)[0]
	wantApp := report.Repository{
		Registry: "main", Repository: h + "/team/app", Tags: 2, LastPushAt: app.LastPushAt, LastScan: app.LastScan,
		Images: report.Images{Total: 2, Done: 2, Complete: 2},
		Assessment: report.Assessment{Answer: report.Findings, Complete: true, NoData: []string{},
			Counts: &report.Counts{Total: 4, Critical: 1, High: 2, Negligible: 1, Fixable: 3, KnownExploited: 1}},
	}
	if diff := cmp.Diff(wantApp, app); diff != "" {
		t.Errorf("repository (-want +got):\n%s", diff)
	}
}

// Where all that was pushed failed, nothing was ever tagged for us: the row says
// that something happened, and what.
func TestRepositoriesTellWhatFailed(t *testing.T) {
	w := postgrestest.New(t)
	fail := func(tag string, failure error) {
		digest := postgrestest.Digest(tag)
		w.Deliver("main", postgres.Delivery{DedupeKey: tag + fmt.Sprint(failure), Action: "push", Repository: "team/app", Tag: tag, Digest: digest})
		if err := w.Store.FinishScan(t.Context(), *w.Claim(), scan.Result{}, failure); err != nil {
			t.Fatal(err)
		}
	}
	row := func() report.Repository {
		found, err := w.Store.Repositories(t.Context(), all, report.RepositoryFilter{}, report.Page{})
		if err != nil || len(found.Items) != 1 {
			t.Fatalf("repositories = %+v, %v", found.Items, err)
		}
		return found.Items[0]
	}
	denied := errs.New(errs.Forbidden, "registry: resolve: forbidden")
	fail("1", denied)
	fail("2", denied)
	got := row()
	if got.Scans.Failed != 2 || got.LastScan == nil || got.LastScan.State != report.RunFailed || got.LastScan.Reason != "forbidden" || got.Answer != report.None {
		t.Errorf("scans %+v, last %+v, answer %s; want two that failed, forbidden", got.Scans, got.LastScan, got.Answer)
	}
	w.Push("team/app", "2", postgrestest.Image{Name: "2"})
	if got := row(); got.Scans.Failed != 1 || got.LastScan.State != report.RunDone {
		t.Errorf("after one succeeded: scans %+v, last %+v; want one that failed", got.Scans, got.LastScan)
	}
	w.Deliver("main", postgres.Delivery{DedupeKey: "again", Action: "push", Repository: "team/app", Tag: "1", Digest: postgrestest.Digest("1")})
	if got := row(); got.Scans.Failed != 0 || got.Scans.Queued != 1 || got.LastScan.State != report.RunQueued {
		t.Errorf("tried again: scans %+v, last %+v; want one queued", got.Scans, got.LastScan)
	}
}

func TestRepositoriesTellWhatIsUnderWay(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "next", Action: "push", Repository: "team/web", Tag: "2", Digest: postgrestest.Digest("2")})
	slow := postgrestest.Image{Name: "slow", Pending: true}
	w.Deliver("main", postgres.Delivery{DedupeKey: "other", Action: "push", Repository: "team/chart", Tag: "2", Digest: slow.Manifest().Digest})
	job := w.Claim()
	if err := w.Store.SaveManifest(t.Context(), *job, slow.Manifest()); err != nil {
		t.Fatal(err)
	}
	found, err := w.Store.Repositories(t.Context(), team, report.RepositoryFilter{}, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]report.Repository{}
	for _, r := range found.Items {
		by[r.Repository] = r
	}
	busy, waits := by[postgrestest.Host+"/"+job.Ref.Repository], by[postgrestest.Host+"/team/chart"]
	if job.Ref.Repository == "team/chart" {
		waits = by[postgrestest.Host+"/team/web"]
	}
	if busy.Scans.Running != 1 || busy.Images.Pending != 1 || busy.Answer != report.Pending || busy.Complete {
		t.Errorf("busy repository = %+v", busy)
	}
	if waits.Scans.Queued != 1 {
		t.Errorf("waiting repository = %+v", waits)
	}
}

func TestScans(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "next", Action: "push", Repository: "team/web", Tag: "2", Digest: postgrestest.Digest("2")})
	list := func(access report.Access, filter report.ScanFilter, limit int) []report.Scan {
		var out []report.Scan
		page := report.Page{Limit: limit}
		for {
			found, err := w.Store.Scans(t.Context(), access, filter, page)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, found.Items...)
			if page.Cursor = found.NextCursor; page.Cursor == "" {
				return out
			}
		}
	}
	every := list(all, report.ScanFilter{}, 4)
	if len(every) != 10 || every[0].State != report.RunQueued || every[0].Repository != postgrestest.Host+"/team/web" {
		t.Fatalf("%d scans, the newest %+v; want 10, the newest queued", len(every), every[0])
	}
	for i, s := range every[1:] {
		if s.ID >= every[i].ID {
			t.Errorf("scan %d comes after %d", s.ID, every[i].ID)
		}
	}
	if got := list(team, report.ScanFilter{}, 100); len(got) != 6 {
		t.Errorf("one team's scans = %d, want 6", len(got))
	}
	if got := list(all, report.ScanFilter{State: report.RunQueued}, 100); len(got) != 1 {
		t.Errorf("queued scans = %d, want 1", len(got))
	}
	ref := report.RepositoryRef{Registry: "main", Name: "team/app"}
	if got := list(all, report.ScanFilter{Repository: &ref, State: report.RunDone}, 1); len(got) != 2 {
		t.Errorf("finished scans of a repository = %d, want 2", len(got))
	}
	if _, err := w.Store.Scans(t.Context(), report.Access{Prefixes: []string{"x/"}}, report.ScanFilter{Repository: &ref}, report.Page{}); !errs.Is(err, errs.NotFound) {
		t.Errorf("scans of a hidden repository: %v, want not found", err)
	}
	done := list(all, report.ScanFilter{Repository: &ref}, 100)[0]
	if done.Cause != "push" || done.Attempt != 1 || done.Tag != "multi" || done.Resolved == "" || done.FinishedAt == nil || done.PulledBytes != 1000 {
		t.Errorf("scan = %+v", done)
	}
	if diff := cmp.Diff([]report.Phase{{Name: "resolve", Seconds: 1.5, Bytes: 500}}, done.Phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	one, err := w.Store.Scan(t.Context(), team, done.ID)
	if diff := cmp.Diff(done, one); diff != "" || err != nil {
		t.Errorf("the same scan by its number: %v (-want +got):\n%s", err, diff)
	}
	for _, hidden := range []struct {
		access report.Access
		id     int64
	}{{all, 999999}, {report.Access{Prefixes: []string{"x/"}}, done.ID}} {
		if _, err := w.Store.Scan(t.Context(), hidden.access, hidden.id); !errs.Is(err, errs.NotFound) {
			t.Errorf("scan %d: %v, want not found", hidden.id, err)
		}
	}
}

func TestDeliveries(t *testing.T) {
	w := postgrestest.Harbour(t)
	list := func(access report.Access, filter report.DeliveryFilter, limit int) []report.Delivery {
		var out []report.Delivery
		page := report.Page{Limit: limit}
		for {
			found, err := w.Store.Deliveries(t.Context(), access, filter, page)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, found.Items...)
			if page.Cursor = found.NextCursor; page.Cursor == "" {
				return out
			}
		}
	}
	if got := list(all, report.DeliveryFilter{}, 3); len(got) != 10 || got[0].Reason != "unknown event" || got[0].Repository != "" {
		t.Errorf("%d deliveries, the newest %+v", len(got), got[0])
	}
	ignored := list(all, report.DeliveryFilter{Verdict: "ignored", Registry: "main"}, 100)
	if len(ignored) != 2 || ignored[1].Reason != "pull" || ignored[1].Actor != "ci" || ignored[1].ScanID != nil {
		t.Errorf("ignored deliveries = %+v", ignored)
	}
	if got := list(all, report.DeliveryFilter{Registry: "sboms"}, 100); len(got) != 0 {
		t.Errorf("deliveries of uploads = %d, want none", len(got))
	}
	limited := list(team, report.DeliveryFilter{}, 100)
	if len(limited) != 6 {
		t.Errorf("one team's deliveries = %d, want 6", len(limited))
	}
	for _, d := range limited {
		if !team.Sees(d.Repository) {
			t.Errorf("a limited reader sees %q", d.Repository)
		}
	}
	if accepted := list(all, report.DeliveryFilter{Verdict: "accepted"}, 1)[0]; accepted.ScanID == nil || accepted.Repository != postgrestest.Host+"/other/secret" {
		t.Errorf("accepted delivery = %+v, want its scan", accepted)
	}
}

func TestDeliveriesKeepTheHostThatWasNamed(t *testing.T) {
	w := postgrestest.New(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "alias", Action: "push", Host: "alias:5000", Repository: "team/app", Tag: "1"})
	w.Deliver("main", postgres.Delivery{DedupeKey: "foreign", Ignored: "other_registry", Action: "push", Host: "ghcr.io", Repository: "team/app", Tag: "1"})
	named := func(access report.Access) []string {
		found, err := w.Store.Deliveries(t.Context(), access, report.DeliveryFilter{Registry: "main"}, report.Page{})
		if err != nil {
			t.Fatal(err)
		}
		out := []string{}
		for _, d := range found.Items {
			out = append(out, d.NamedHost+" "+d.Repository)
		}
		return out
	}
	own := "alias:5000 " + postgrestest.Host + "/team/app"
	if diff := cmp.Diff([]string{"ghcr.io ghcr.io/team/app", own}, named(all)); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{own}, named(team)); diff != "" {
		t.Errorf("one team's: an event of another registry is not of its repositories (-want +got):\n%s", diff)
	}
}

func TestBuilds(t *testing.T) {
	w := postgrestest.New(t)
	w.Switch(postgrestest.NewBuild("two"))
	got, err := w.Store.Builds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Active == nil || got.Active.Checksum != "sha256:two" || got.Active.AgeSeconds < 3600 || len(got.Recent) != 2 || got.Recent[1].State != "retired" {
		t.Errorf("builds = %+v", got)
	}
	if want := "https://mirror.example.com/db.tar.gz"; got.Active.Source != want {
		t.Errorf("source = %q, want %q without credentials", got.Active.Source, want)
	}
}

func TestReadersBeforeTheFirstBuild(t *testing.T) {
	f := newFixture(t)
	f.exec(`DELETE FROM vuln_build`)
	f.push("1", "team/app", "1", digestOf("a"))
	got, err := f.store.Repositories(t.Context(), all, report.RepositoryFilter{}, report.Page{})
	if err != nil || got.Build != nil || len(got.Items) != 1 || got.Items[0].Counts != nil || got.Items[0].Answer != report.None {
		t.Errorf("repositories = %+v, %v; want one without counts", got.Items, err)
	}
	builds, err := f.store.Builds(t.Context())
	if err != nil || builds.Active != nil || len(builds.Recent) != 0 {
		t.Errorf("builds = %+v, %v; want none", builds, err)
	}
}
