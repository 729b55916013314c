package postgres_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

var all report.Access

func targetTag(repository, tag string) report.Target {
	return report.Target{RepositoryRef: report.RepositoryRef{Registry: "main", Name: repository}, Tag: tag}
}

func targetDigest(repository string, digest image.Digest) report.Target {
	return report.Target{RepositoryRef: report.RepositoryRef{Registry: "main", Name: repository}, Digest: digest}
}

func ptr[T any](v T) *T { return &v }

func TestImageAnswers(t *testing.T) {
	w := postgrestest.Harbour(t)
	app := report.Counts{Total: 4, Critical: 1, High: 2, Negligible: 1, Fixable: 3, KnownExploited: 1, Ignored: ptr(0)}
	none := report.Counts{Ignored: ptr(0)}
	tests := []struct {
		name       string
		target     report.Target
		state      report.State
		reason     string
		assessment report.Assessment
	}{
		{"one image", targetTag("team/app", "1.0"), "done", "", report.Assessment{Answer: report.Findings, Complete: true, NoData: []string{}, Counts: &app}},
		// The same packages on two platforms count once.
		{"an index", targetTag("team/app", "multi"), "done", "", report.Assessment{Answer: report.Findings, Complete: true, NoData: []string{}, Counts: &app}},
		{"clean", targetTag("team/web", "1"), "done", "", report.Assessment{Answer: report.Clean, Complete: true, NoData: []string{}, Counts: &none}},
		{"nothing covered", targetTag("legacy/centos", "7"), "done", "", report.Assessment{Answer: report.Unknown, NoData: []string{"distro:centos:7"}, Counts: &none}},
		{"something covered", targetTag("legacy/mixed", "1"), "done", "", report.Assessment{Answer: report.Partial, NoData: []string{"ecosystem:gem"}, Counts: &none}},
		{"a chart", targetTag("team/chart", "1"), "unsupported", "helm_chart", report.Assessment{Answer: report.None, NoData: []string{}}},
		{"a failure", targetTag("team/broken", "1"), "failed", "malformed", report.Assessment{Answer: report.None, NoData: []string{}}},
		{"an upload", report.Target{RepositoryRef: report.RepositoryRef{Registry: "sboms", Name: "team/app"}, Tag: "ci"}, "done", "",
			report.Assessment{Answer: report.Findings, Complete: true, NoData: []string{}, Counts: &report.Counts{Total: 1, Critical: 1, Fixable: 1, KnownExploited: 1, Ignored: ptr(0)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := w.Store.Image(t.Context(), all, tt.target)
			if err != nil {
				t.Fatal(err)
			}
			if got.State != tt.state || got.Reason != tt.reason {
				t.Errorf("state = %s (%s), want %s (%s)", got.State, got.Reason, tt.state, tt.reason)
			}
			if diff := cmp.Diff(tt.assessment, got.Assessment); diff != "" {
				t.Errorf("assessment (-want +got):\n%s", diff)
			}
			if got.Build == nil || got.Build.Checksum != w.Build.Checksum || got.Build.AgeSeconds < 3600 {
				t.Errorf("build = %+v, want the active one with its age", got.Build)
			}
		})
	}
}

func TestImageShowsEveryChildOfAnIndex(t *testing.T) {
	w := postgrestest.Harbour(t)
	got, err := w.Store.Image(t.Context(), all, targetTag("team/app", "multi"))
	if err != nil {
		t.Fatal(err)
	}
	type part struct {
		Platform string
		Kind     image.Kind
		State    report.State
		Presence report.Presence
		Answer   report.Answer
	}
	var parts []part
	for _, p := range got.Platforms {
		parts = append(parts, part{p.Platform, p.Kind, p.State, p.Presence, p.Answer})
	}
	want := []part{
		{"linux/amd64", image.KindImage, "done", "present", report.Findings},
		{"linux/arm64/v8", image.KindImage, "done", "present", report.Findings},
		{"unknown/unknown", image.KindAttestation, "unsupported", "present", report.None},
		{"linux/s390x", image.KindImage, "queued", "excluded", report.None},
	}
	if diff := cmp.Diff(want, parts); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	if p := got.Platforms[0]; p.Distro != "debian:12" || p.Packages != 6 || p.Tool != "syft" || p.ScannedAt == nil || p.ContentSize != 1000 {
		t.Errorf("platform is not described: %+v", p)
	}
	if !got.Settled() || got.LastScan == nil || got.LastScan.State != report.RunDone {
		t.Errorf("last scan = %+v, want a finished one", got.LastScan)
	}
}

func TestImageTellsTheEndOfLifeOfADistro(t *testing.T) {
	w := postgrestest.Harbour(t)
	got, err := w.Store.Image(t.Context(), all, targetTag("legacy/centos", "7"))
	if err != nil {
		t.Fatal(err)
	}
	want := time.Date(2024, 6, 30, 0, 0, 0, 0, time.UTC)
	if p := got.Platforms[0]; p.EndOfLife == nil || !p.EndOfLife.Equal(want) || !p.EndOfLifePassed {
		t.Errorf("end of life = %v, passed %v; want %v, passed", p.EndOfLife, p.EndOfLifePassed, want)
	}
}

// A digest is told only where the repository served it, and only to those who
// may see that repository: outside, it is as if there were none.
func TestImageIsReadThroughItsRepository(t *testing.T) {
	w := postgrestest.Harbour(t)
	digest := postgrestest.App("app-amd64", "linux/amd64").Manifest().Digest
	team := report.Access{Prefixes: []string{postgrestest.Host + "/team/"}}
	tests := []struct {
		name   string
		access report.Access
		target report.Target
		want   errs.Kind
	}{
		{"by digest where it was served", all, targetDigest("team/app", digest), ""},
		{"by digest where it was not", all, targetDigest("team/web", digest), errs.NotFound},
		{"by the digest of an index's child", all, targetDigest("team/app", postgrestest.App("app-arm64", "linux/arm64/v8").Manifest().Digest), ""},
		{"within the prefix", team, targetTag("team/app", "1.0"), ""},
		{"outside the prefix", team, targetTag("other/secret", "1"), errs.NotFound},
		{"a prefix is no part of a name", report.Access{Prefixes: []string{postgrestest.Host + "/te"}}, targetTag("team/app", "1.0"), errs.NotFound},
		{"a prefix may name a repository", report.Access{Prefixes: []string{postgrestest.Host + "/team/app"}}, targetTag("team/app", "1.0"), ""},
		{"of a repository nobody knows", all, targetTag("nobody/knows", "1"), errs.NotFound},
		{"of a tag nobody knows", all, targetTag("team/app", "9"), errs.NotFound},
		{"of a registry nobody knows", all, report.Target{RepositoryRef: report.RepositoryRef{Registry: "x", Name: "team/app"}, Tag: "1.0"}, errs.NotFound},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := w.Store.Image(t.Context(), tt.access, tt.target)
			if errs.KindOf(err) != tt.want {
				t.Errorf("error = %v, want kind %q", err, tt.want)
			}
		})
	}
}

func TestImageBeforeItsScanIsPending(t *testing.T) {
	w := postgrestest.New(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "1", Action: "push", Repository: "team/new", Tag: "1", Digest: postgrestest.Digest("new")})
	for _, target := range []report.Target{targetTag("team/new", "1"), targetDigest("team/new", postgrestest.Digest("new"))} {
		got, err := w.Store.Image(t.Context(), all, target)
		if err != nil {
			t.Fatal(err)
		}
		if got.State != report.StateQueued || got.Answer != report.Pending || got.Counts != nil || got.Settled() {
			t.Errorf("%s: state %s, answer %s, counts %v; want it queued and pending", got.Reference, got.State, got.Answer, got.Counts)
		}
	}
	job := w.Claim()
	if err := w.Store.FinishScan(t.Context(), *job, scanResult(), errs.New(errs.NotFound, "registry: no such manifest")); err != nil {
		t.Fatal(err)
	}
	got, err := w.Store.Image(t.Context(), all, targetTag("team/new", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if got.State != report.StateFailed || got.Reason != "not_found" || got.Answer != report.None || !got.Settled() {
		t.Errorf("state %s (%s), answer %s; want it failed with the scan's reason", got.State, got.Reason, got.Answer)
	}
}

// The last good answer stands while a newer push waits, and the reader can see
// that it does.
func TestImageKeepsItsAnswerWhileANewPushWaits(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.Deliver("main", postgres.Delivery{DedupeKey: "again", Action: "push", Repository: "team/app", Tag: "1.0", Digest: postgrestest.Digest("next")})
	got, err := w.Store.Image(t.Context(), all, targetTag("team/app", "1.0"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Answer != report.Findings || got.State != report.StateDone {
		t.Errorf("answer = %s, state %s; want the one before", got.Answer, got.State)
	}
	if got.LastScan == nil || got.LastScan.State != report.RunQueued || got.Settled() {
		t.Errorf("last scan = %+v; want a queued one, not settled", got.LastScan)
	}
}

// An index is as far as its slowest image.
func TestImageOfAHalfScannedIndexIsPending(t *testing.T) {
	w := postgrestest.New(t)
	slow := postgrestest.App("app-arm64", "linux/arm64/v8")
	slow.Pending = true
	w.PushIndex("team/app", "multi", postgrestest.App("app-amd64", "linux/amd64"), slow)
	got, err := w.Store.Image(t.Context(), all, targetTag("team/app", "multi"))
	if err != nil {
		t.Fatal(err)
	}
	if got.State != report.StateQueued || got.Answer != report.Pending || got.Complete || got.Counts == nil || got.Counts.Total != 4 {
		t.Errorf("state %s, answer %s, complete %v, counts %+v; want what is known so far, pending", got.State, got.Answer, got.Complete, got.Counts)
	}
}

func TestImageOfAPartlyFailedIndexIsPartial(t *testing.T) {
	w := postgrestest.New(t)
	bad := postgrestest.App("app-arm64", "linux/arm64/v8")
	bad.Failure = errs.New(errs.TooLarge, "scan: too many bytes")
	w.PushIndex("team/app", "multi", postgrestest.App("app-amd64", "linux/amd64"), bad)
	got, err := w.Store.Image(t.Context(), all, targetTag("team/app", "multi"))
	if err != nil {
		t.Fatal(err)
	}
	if got.State != report.StateTooLarge || got.Reason != "too_large" || got.Answer != report.Partial || got.Complete {
		t.Errorf("state %s (%s), answer %s, complete %v; want the failure to show", got.State, got.Reason, got.Answer, got.Complete)
	}
}

// An index may name a child that only another repository served. Nothing of
// that image is told.
func TestImageHidesChildrenTheRepositoryNeverServed(t *testing.T) {
	w := postgrestest.Harbour(t)
	w.PushIndex("thief/app", "1", postgrestest.Image{Name: "own"}, postgrestest.App("app-amd64", "linux/amd64"))
	if _, err := w.Pool.Exec(t.Context(), `
		DELETE FROM repository_manifest rm USING repository r, manifest m
		 WHERE r.id = rm.repository_id AND m.id = rm.manifest_id AND r.name = 'thief/app' AND m.digest = $1`,
		postgrestest.App("app-amd64", "linux/amd64").Manifest().Digest); err != nil {
		t.Fatal(err)
	}
	got, err := w.Store.Image(t.Context(), all, targetTag("thief/app", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if p := got.Platforms[1]; p.Presence != report.Unseen || p.Counts != nil || p.Distro != "" || p.Packages != 0 {
		t.Errorf("child = %+v, want nothing told", p)
	}
	if got.Answer != report.Clean || got.Counts.Total != 0 {
		t.Errorf("answer = %s, counts %+v; want those of its own image", got.Answer, got.Counts)
	}
	found, err := w.Store.Findings(t.Context(), all, report.FindingScope{Target: targetTag("thief/app", "1")}, report.FindingFilter{}, report.Page{})
	if err != nil || len(found.Items) != 0 {
		t.Errorf("findings = %d, %v; want none", len(found.Items), err)
	}
}

func TestTags(t *testing.T) {
	w := postgrestest.Harbour(t)
	first, err := w.Store.Tags(t.Context(), all, report.RepositoryRef{Registry: "main", Name: "team/app"}, report.Page{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.Store.Tags(t.Context(), all, report.RepositoryRef{Registry: "main", Name: "team/app"}, report.Page{Limit: 1, Cursor: first.NextCursor})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Items) != 1 || first.Items[0].Name != "1.0" || len(second.Items) != 1 || second.Items[0].Name != "multi" || second.NextCursor != "" {
		t.Fatalf("pages = %+v, %+v; want 1.0, then multi, then no more", first, second)
	}
	multi := second.Items[0]
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64/v8"}, multi.Platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
	if multi.Answer != report.Findings || multi.Counts.Total != 4 || multi.Reference != postgrestest.Host+"/team/app:multi" || multi.State != "done" {
		t.Errorf("tag = %+v, counts %+v", multi, multi.Counts)
	}
	hidden := report.Access{Prefixes: []string{"elsewhere/"}}
	if _, err := w.Store.Tags(t.Context(), hidden, report.RepositoryRef{Registry: "main", Name: "team/app"}, report.Page{}); !errs.Is(err, errs.NotFound) {
		t.Errorf("outside the prefix: %v, want not found", err)
	}
}
