package postgres_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func TestAcceptCountsARepeatedDeliveryAndQueuesOnce(t *testing.T) {
	f := newFixture(t)
	if got := f.push("id:1", "team/app", "1.0", ""); got != (postgres.Accepted{Scans: 1}) {
		t.Fatalf("first: %+v", got)
	}
	if got := f.push("id:1", "team/app", "1.0", ""); got != (postgres.Accepted{Duplicates: 1}) {
		t.Fatalf("repeated: %+v", got)
	}
	if got := f.push("id:2", "team/app", "1.0", ""); got != (postgres.Accepted{Joined: 1}) {
		t.Fatalf("same target: %+v", got)
	}
	if n := f.count("scan"); n != 1 {
		t.Errorf("%d scans, want 1", n)
	}
	if n := f.count("delivery WHERE scan_id IS NOT NULL"); n != 2 {
		t.Errorf("%d deliveries lead to the scan, want 2", n)
	}
}

func TestAPushDuringAScanQueuesAnother(t *testing.T) {
	f := newFixture(t)
	f.push("id:1", "team/app", "1.0", "")
	running := f.claim()
	if got := f.push("id:2", "team/app", "1.0", ""); got.Scans != 1 {
		t.Fatalf("the push was not queued: %+v", got)
	}
	if next, err := f.store.ClaimScan(t.Context()); err != nil || next != nil {
		t.Fatalf("claimed %+v, %v while the same tag is being scanned", next, err)
	}
	f.ok(f.store.FinishScan(t.Context(), running, scan.Result{}, nil))
	if next := f.claim(); next.ID == running.ID {
		t.Error("the second scan is the first")
	}
}

func TestIgnoredDeliveryIsKeptWithItsReason(t *testing.T) {
	f := newFixture(t)
	done, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: "k", Ignored: "pull"}}, noPermits)
	f.ok(err)
	if done.Ignored != 1 || f.count("delivery WHERE verdict = 'ignored' AND reason = 'pull'") != 1 || f.count("scan") != 0 {
		t.Errorf("got %+v", done)
	}
}

func TestClaimPrefersPriorityThenTheQuietRepository(t *testing.T) {
	f := newFixture(t)
	for _, tag := range []string{"a", "b", "c"} {
		f.push("busy"+tag, "busy/app", tag, "")
	}
	f.push("quiet", "quiet/app", "a", "")
	_, err := f.store.RequestScan(t.Context(), "prod", image.Reference{Repository: "asked/app", Tag: "x"}, noPermits)
	f.ok(err)
	var order []string
	for range 4 {
		order = append(order, f.claim().Ref.Repository)
	}
	want := []string{"asked/app", "busy/app", "quiet/app", "busy/app"}
	if diff := cmp.Diff(want, order); diff != "" {
		t.Error(diff)
	}
}

func TestAStaleLeaseIsRefusedEverywhere(t *testing.T) {
	f := newFixture(t)
	f.push("id:1", "team/app", "1.0", "")
	stale := f.claim()
	f.exec(`UPDATE scan SET lease_until = now() - interval '1 second'`)
	revived, err := f.store.SweepScans(t.Context(), 6, noPermits)
	f.ok(err)
	if revived != 1 {
		t.Fatalf("%d scans revived", revived)
	}
	current := f.claim()
	if current.Attempt != 2 {
		t.Errorf("attempt %d, want 2", current.Attempt)
	}
	ctx := t.Context()
	for name, err := range map[string]error{
		"renew":    f.store.RenewLease(ctx, stale),
		"manifest": f.store.SaveManifest(ctx, stale, imageManifest("x")),
		"reserve":  f.store.Reserve(ctx, stale, digestOf("x")),
		"answer":   f.store.SaveAnswer(ctx, stale, answer("x", nil, npm("a", "1"))),
		"failure":  f.store.SaveFailure(ctx, stale, digestOf("x"), errors.New("no")),
		"finish":   f.store.FinishScan(ctx, stale, scan.Result{}, nil),
		"retry":    f.store.RetryScan(ctx, stale, scan.Result{}, errors.New("no"), time.Second, true),
		"gone":     f.store.SaveGone(ctx, stale),
	} {
		if !errs.Is(err, errs.Canceled) {
			t.Errorf("%s with a stale lease: %v", name, err)
		}
	}
	f.ok(f.store.RenewLease(ctx, current))
}

func TestSweepFailsAScanWhoseWorkersAlwaysVanish(t *testing.T) {
	f := newFixture(t)
	f.push("id:1", "team/app", "1.0", "")
	for range 2 {
		f.claim()
		f.exec(`UPDATE scan SET lease_until = now() - interval '1 second'`)
		_, err := f.store.SweepScans(t.Context(), 2, noPermits)
		f.ok(err)
	}
	if f.count("scan WHERE state = 'failed' AND reason = 'timeout' AND finished_at IS NOT NULL") != 1 {
		t.Error("the scan is not failed")
	}
}

func TestRetryWaitsAndGivesWayToANewerPush(t *testing.T) {
	f := newFixture(t)
	f.push("id:1", "team/app", "1.0", "")
	job := f.claim()
	f.ok(f.store.RetryScan(t.Context(), job, scan.Result{}, errs.New(errs.RateLimited, "slow down"), time.Hour, true))
	if next, err := f.store.ClaimScan(t.Context()); err != nil || next != nil {
		t.Fatalf("claimed %+v, %v before its time", next, err)
	}
	if f.count("scan WHERE state = 'queued' AND reason = 'rate_limited' AND attempt = 1") != 1 {
		t.Error("the reason of the retry is not kept")
	}
	f.push("id:2", "team/app", "1.0", "") // joins, and is due at once
	job = f.claim()
	f.push("id:3", "team/app", "1.0", "")
	f.ok(f.store.RetryScan(t.Context(), job, scan.Result{}, errs.New(errs.Unavailable, "down"), time.Hour, true))
	if f.count("scan WHERE state = 'canceled'") != 1 || f.count("scan WHERE state = 'queued'") != 1 {
		t.Error("the older scan did not give way to the newer")
	}
}

// What a scan had found before it gave way is not found again under its tag.
func TestAScanThatGivesWayHandsOnWhatItFound(t *testing.T) {
	for name, end := range map[string]func(*fixture, scan.Job){
		"it failed": func(f *fixture, job scan.Job) {
			f.ok(f.store.RetryScan(f.t.Context(), job, scan.Result{Digest: digestOf("one")}, errs.New(errs.Unavailable, "down"), time.Hour, true))
		},
		"its worker vanished": func(f *fixture, _ scan.Job) {
			f.exec(`UPDATE scan SET lease_until = now() - interval '1 second' WHERE state = 'running'`)
			_, err := f.store.SweepScans(f.t.Context(), 6, noPermits)
			f.ok(err)
		},
	} {
		for tag, digest := range map[string]image.Digest{"moved": digestOf("two"), "the same": digestOf("one")} {
			t.Run(name+", "+tag, func(t *testing.T) {
				f := newFixture(t)
				f.push("id:1", "team/app", "1.0", digestOf("one"))
				job := f.claim()
				f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("one")))
				f.ok(f.store.Reserve(t.Context(), job, digestOf("one")))
				f.push("id:2", "team/app", "1.0", digest)
				end(f, job)
				f.release()
				want := []scan.Job{{Ref: image.Reference{Tag: "1.0", Digest: digest}, Cause: scan.CausePush}}
				if digest != digestOf("one") {
					want = append(want, scan.Job{Ref: image.Reference{Digest: digestOf("one")}, Cause: scan.CauseReconcile})
				}
				var got []scan.Job
				for range want {
					next := f.claim()
					got = append(got, scan.Job{Ref: image.Reference{Tag: next.Ref.Tag, Digest: next.Ref.Digest}, Cause: next.Cause})
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if n := f.count("scan WHERE state = 'queued'"); n != 0 {
					t.Errorf("%d scans more", n)
				}
			})
		}
	}
}

// Pushes of one tag that wait together are one scan, which finds the last of them.
func TestWhatATagLeadToWhileItWaitedIsAskedFor(t *testing.T) {
	f := newFixture(t)
	f.push("id:1", "team/app", "1.0", digestOf("one"))
	f.push("id:2", "team/app", "1.0", digestOf("two"))
	f.push("id:3", "team/app", "1.0", digestOf("three"))
	f.push("id:4", "team/app", "other", digestOf("one"))
	_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{
		{DedupeKey: "id:5", Action: "push", Repository: "team/app", Tag: "1.0", Digest: digestOf("sig"), Ignored: "signature"},
		{DedupeKey: "id:6", Action: "push", Repository: "team/app", Tag: "1.0"},
	}, noPermits)
	f.ok(err)
	for range 2 {
		job := f.claim()
		name := map[string]string{"1.0": "three", "other": "one"}[job.Ref.Tag]
		f.ok(f.store.SaveManifest(t.Context(), job, imageManifest(name)))
		f.ok(f.store.FinishScan(t.Context(), job, scan.Result{Digest: digestOf(name)}, nil))
	}
	var asked []image.Digest
	for f.release(); f.count("scan WHERE state = 'queued'") > 0; {
		job := f.claim()
		if job.Cause != scan.CauseDelete || job.Ref.Tag != "" {
			t.Errorf("queued %+v", job)
		}
		asked = append(asked, job.Ref.Digest)
		f.ok(f.store.FinishScan(t.Context(), job, scan.Result{}, nil))
	}
	// The first push of 1.0 is asked for, as its scan ended before that of the other tag.
	want := []image.Digest{digestOf("one"), digestOf("two")}
	slices.Sort(want)
	slices.Sort(asked)
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
}

func TestReserveExcludesASecondScanOfTheSameDigest(t *testing.T) {
	f := newFixture(t)
	f.push("1", "team/app", "a", "")
	f.push("2", "team/other", "b", "")
	first, second := f.claim(), f.claim()
	f.ok(f.store.SaveManifest(t.Context(), first, imageManifest("x")))
	f.ok(f.store.SaveManifest(t.Context(), second, imageManifest("x")))
	f.ok(f.store.Reserve(t.Context(), first, digestOf("x")))
	f.ok(f.store.Reserve(t.Context(), first, digestOf("x")))
	if err := f.store.Reserve(t.Context(), second, digestOf("x")); !errs.Is(err, errs.Conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	f.ok(f.store.FinishScan(t.Context(), first, scan.Result{}, nil))
	f.ok(f.store.Reserve(t.Context(), second, digestOf("x")))
}

func TestTheSameImageAgainWritesNothing(t *testing.T) {
	f := newFixture(t)
	a := answer("img", map[string][]vuln.Match{"lodash": {finding("GHSA-1", "CVE-1")}}, npm("lodash", "4.17.15"), npm("left-pad", "1.0.0"))
	f.scanned("team/app", "1.0", "img", a)
	before := f.rowVersions()
	known, err := f.store.Known(t.Context(), digestOf("img"), "v1")
	f.ok(err)
	if known != (scan.Known{Catalogued: true, Current: true}) {
		t.Fatalf("known: %+v", known)
	}
	for _, tag := range []string{"1.0", "latest"} { // as Scan does for a known manifest
		f.push("again"+tag, "team/app", tag, "")
		job := f.claim()
		f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("img")))
		f.ok(f.store.SaveFindings(t.Context(), job))
		f.ok(f.store.FinishScan(t.Context(), job, scan.Result{Digest: digestOf("img")}, nil))
	}
	if diff := cmp.Diff(before, f.rowVersions()); diff != "" {
		t.Errorf("rows changed:\n%s", diff)
	}
	if n := f.count("tag"); n != 2 {
		t.Errorf("%d tags, want 2", n)
	}
}

// rowVersions counts, per table of facts and opinions, the rows and the
// transactions that wrote them: any write shows.
func (f *fixture) rowVersions() map[string]string {
	f.t.Helper()
	out := map[string]string{}
	for _, table := range []string{"manifest", "manifest_layer", "sbom", "package", "inventory", "inventory_package", "package_match",
		"package_ignore", "vulnerability", "vulnerability_rating", "inventory_summary", "repository_finding", "finding_event"} {
		var state string
		f.ok(f.pool.QueryRow(f.t.Context(), "SELECT count(*)::text || ' rows, ' || COALESCE(md5(string_agg(xmin::text, ',' ORDER BY xmin::text)), '') FROM "+table).Scan(&state))
		out[table] = state
	}
	return out
}

func (f *fixture) exec(query string, args ...any) {
	f.t.Helper()
	_, err := f.pool.Exec(f.t.Context(), query, args...)
	f.ok(err)
}

func TestImagesThatDifferInOnePackageShareTheOthers(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "one", answer("one", nil, npm("a", "1"), npm("b", "1"), npm("c", "1")))
	f.scanned("team/app", "2", "two", answer("two", nil, npm("a", "1"), npm("b", "1"), npm("c", "2")))
	if n := f.count("package"); n != 4 {
		t.Errorf("%d packages, want 4", n)
	}
	if n := f.count("inventory"); n != 2 {
		t.Errorf("%d inventories, want 2", n)
	}
	f.scanned("team/app", "3", "three", answer("three", nil, npm("c", "2"), npm("a", "1"), npm("b", "1")))
	if n := f.count("inventory"); n != 2 {
		t.Errorf("a rebuild with the same packages made inventory %d", n)
	}
}

func TestAnAnswerOfAnotherBuildIsRefused(t *testing.T) {
	f := newFixture(t)
	f.push("1", "team/app", "1", "")
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("x")))
	a := answer("x", nil, npm("a", "1"))
	a.Build.Checksum = "sha256:two"
	if err := f.store.SaveAnswer(t.Context(), job, a); !errs.Is(err, errs.Conflict) {
		t.Fatalf("got %v, want a conflict", err)
	}
	if n := f.count("package"); n != 0 {
		t.Errorf("%d packages were written", n)
	}
}

func TestAFailedSecondLookKeepsTheAnswer(t *testing.T) {
	f := newFixture(t)
	f.scanned("team/app", "1", "x", answer("x", nil, npm("a", "1")))
	f.push("again", "team/app", "1", "")
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("x")))
	f.ok(f.store.Reserve(t.Context(), job, digestOf("x")))
	f.ok(f.store.SaveFailure(t.Context(), job, digestOf("x"), errs.New(errs.Unavailable, "registry down")))
	if f.count("manifest WHERE state = 'done' AND inventory_id IS NOT NULL AND lease_token IS NULL") != 1 {
		t.Error("the answer is gone")
	}
}

// A manifest may be in several repositories; its words are read in all of them.
func TestTheFailureOfAManifestNamesNoRepository(t *testing.T) {
	cause := errs.New(errs.Malformed, "scan: open registry.example/secret/app@sha256:1: secret/app is damaged")
	for name, fail := range map[string]func(*fixture, scan.Job) error{
		"told of the manifest": func(f *fixture, job scan.Job) error {
			return f.store.SaveFailure(f.t.Context(), job, digestOf("x"), cause)
		},
		"told of the scan": func(f *fixture, job scan.Job) error {
			return f.store.FinishScan(f.t.Context(), job, scan.Result{}, cause)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.push("1", "secret/app", "1", "")
			job := f.claim()
			f.ok(f.store.SaveManifest(t.Context(), job, imageManifest("x")))
			f.ok(fail(f, job))
			var detail string
			f.ok(f.pool.QueryRow(t.Context(), `SELECT detail FROM manifest WHERE state = 'failed' AND reason = 'malformed'`).Scan(&detail))
			if want := "scan: open …@sha256:1: … is damaged"; detail != want {
				t.Errorf("told %q, want %q", detail, want)
			}
		})
	}
}

// Anybody can write an index that names a digest as something else, before what
// has the digest is pushed.
func TestWhatAnIndexSaysGivesWayToTheManifestItself(t *testing.T) {
	unread := errs.New(errs.NotFound, "registry: read host/secret/app@sha256:1: not there")
	digest := digestOf("x")
	for name, said := range map[string]scan.Manifest{
		"an attestation":   {Digest: digest, MediaType: image.MediaTypeOCIManifest, Kind: image.KindAttestation, Unread: unread},
		"unknown":          {Digest: digest, MediaType: "application/vnd.example+json", Kind: image.KindUnknown, Unread: unread},
		"a missing image":  {Digest: digest, MediaType: image.MediaTypeOCIManifest, Kind: image.KindImage, Unread: unread},
		"a missing index":  {Digest: digest, MediaType: image.MediaTypeOCIIndex, Kind: image.KindIndex, Unread: unread},
		"another platform": {Digest: digest, Kind: image.KindImage, Platform: image.Platform{OS: "plan9", Architecture: "mips"}, Unread: unread},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.push("1", "team/app", "1", "")
			job := f.claim()
			f.ok(f.store.SaveManifest(t.Context(), job, scan.Manifest{Digest: digestOf("index"), Kind: image.KindIndex, Children: []scan.Manifest{said}}))
			f.ok(f.store.FinishScan(t.Context(), job, scan.Result{}, nil))
			f.push("2", "team/app", "2", "")
			job = f.claim()
			read := imageManifest("x")
			read.ConfigDigest = digestOf("config")
			f.ok(f.store.SaveManifest(t.Context(), job, read))
			if f.count("manifest m JOIN manifest_layer l ON l.manifest_id = m.id WHERE m.digest = $1 AND kind = 'image' AND os = 'linux' AND state = 'queued' AND content_size = 1000", string(digest)) != 1 {
				t.Error("the manifest is not what it says itself")
			}
			f.ok(f.store.SaveManifest(t.Context(), job, scan.Manifest{Digest: digestOf("index"), Kind: image.KindIndex, Children: []scan.Manifest{said}}))
			if f.count("manifest WHERE digest = $1 AND kind = 'image' AND os = 'linux'", string(digest)) != 1 {
				t.Error("an index changed what the manifest says itself")
			}
		})
	}
}

func TestAnIndexThatCannotBeFollowedIsNotPassedOver(t *testing.T) {
	f := newFixture(t)
	nested := scan.Manifest{Digest: digestOf("nested"), Kind: image.KindIndex, Unread: errs.New(errs.NotFound, "registry: read %s@sha256:1: not there", "registry.example/team/app")}
	root := scan.Manifest{Digest: digestOf("root"), Kind: image.KindIndex, Children: []scan.Manifest{imageManifest("x"), nested}}
	f.push("1", "team/app", "1", "")
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, root))
	f.ok(f.store.SaveAnswer(t.Context(), job, answer("x", nil, npm("a", "1"))))
	states := func() (s string) {
		f.ok(f.pool.QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', state, reason, detail), '; ' ORDER BY id) FROM manifest WHERE kind = 'index'`).Scan(&s))
		return s
	}
	if got := states(); !strings.Contains(got, "failed platform_failed") || !strings.Contains(got, "failed not_found registry: read …@sha256:1: not there") {
		t.Errorf("the indexes are: %s", got)
	}
	root.Children[1].Unread = nil
	f.ok(f.store.SaveManifest(t.Context(), job, root))
	if got := states(); !strings.Contains(got, "done") || !strings.Contains(got, "unsupported nested_index") {
		t.Errorf("once it is there the indexes are: %s", got)
	}
}

func TestAnIndexIsDoneWhenItsImagesAreAndUnsupportedChildrenDoNotCount(t *testing.T) {
	f := newFixture(t)
	index := scan.Manifest{Digest: digestOf("index"), MediaType: image.MediaTypeOCIIndex, Kind: image.KindIndex, Children: []scan.Manifest{
		imageManifest("amd64"), imageManifest("arm64"), {Digest: digestOf("att"), Kind: image.KindAttestation},
	}}
	f.push("1", "team/app", "1", "")
	job := f.claim()
	f.ok(f.store.SaveManifest(t.Context(), job, index))
	state := func() (s string) {
		f.ok(f.pool.QueryRow(t.Context(), "SELECT state || ' ' || reason FROM manifest WHERE digest = $1", string(digestOf("index"))).Scan(&s))
		return s
	}
	f.ok(f.store.SaveAnswer(t.Context(), job, answer("amd64", nil, npm("a", "1"))))
	if got := state(); got != "queued " {
		t.Errorf("after one of two: %q", got)
	}
	f.ok(f.store.SaveFailure(t.Context(), job, digestOf("arm64"), errs.New(errs.Malformed, "broken layer")))
	if got := state(); got != "failed platform_failed" {
		t.Errorf("after a failure: %q", got)
	}
	f.ok(f.store.SaveAnswer(t.Context(), job, answer("arm64", nil, npm("a", "1"))))
	if got := state(); got != "done " {
		t.Errorf("after both: %q", got)
	}
	if f.count("manifest WHERE kind = 'attestation' AND state = 'unsupported' AND reason = 'attestation'") != 1 {
		t.Error("the attestation is not recorded as unsupported")
	}
}

// Not every sender tells of the tags that went with a manifest.
func TestAGoneDigestTakesEveryTagOnIt(t *testing.T) {
	f := newFixture(t)
	matches := map[string][]vuln.Match{"lodash": {finding("CVE-1")}, "minimist": {finding("CVE-2")}}
	f.scanned("team/app", "1", "x", answer("x", matches, npm("lodash", "4.17.15")))
	f.scanned("team/app", "latest", "x", answer("x", matches, npm("lodash", "4.17.15")))
	f.scanned("team/app", "2", "y", answer("y", matches, npm("minimist", "1.2.0")))
	f.scanned("team/other", "1", "x", answer("x", matches, npm("lodash", "4.17.15")))
	_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: "del", Action: "delete", Repository: "team/app", Digest: digestOf("x")}}, noPermits)
	f.ok(err)
	job := f.claim()
	f.ok(f.store.SaveGone(t.Context(), job))
	f.ok(f.store.SaveFindings(t.Context(), job))
	if f.count("tag") != 2 || f.count("tag_event WHERE action = 'deleted' AND tag IN ('1', 'latest')") != 2 {
		t.Error("the tags on it did not go, or others did")
	}
	if f.count("repository_finding WHERE vulnerability = 'CVE-1' AND closed_at IS NOT NULL") != 1 ||
		f.count("repository_finding WHERE closed_at IS NULL") != 2 {
		t.Error("the findings closed are not those of the gone digest in its repository")
	}
}

func TestGoneTagsCloseFindingsOnceNobodyElseHasThem(t *testing.T) {
	f := newFixture(t)
	matches := map[string][]vuln.Match{"lodash": {finding("CVE-1")}}
	f.scanned("team/app", "1", "x", answer("x", matches, npm("lodash", "4.17.15")))
	f.scanned("team/app", "2", "x", answer("x", matches, npm("lodash", "4.17.15")))
	remove := func(tag string) {
		_, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{DedupeKey: "del" + tag, Action: "delete", Repository: "team/app", Tag: tag}}, noPermits)
		f.ok(err)
		job := f.claim()
		f.ok(f.store.SaveGone(t.Context(), job))
		f.ok(f.store.SaveFindings(t.Context(), job))
		f.ok(f.store.FinishScan(t.Context(), job, scan.Result{}, nil))
	}
	remove("1")
	if f.count("finding_event WHERE kind = 'closed'") != 0 {
		t.Error("closed while another tag has it")
	}
	remove("2")
	if f.count("finding_event WHERE kind = 'closed' AND cause = 'delete'") != 1 {
		t.Error("not closed when the last tag went")
	}
	f.scanned("team/app", "3", "x", answer("x", matches, npm("lodash", "4.17.15")))
	if f.count("finding_event WHERE kind = 'reopened'") != 1 {
		t.Error("not reopened when it came back")
	}
	if f.count("finding_event WHERE kind = 'opened'") != 1 {
		t.Error("opened more than once")
	}
}

func TestSQLAndGoApplyTheSameContext(t *testing.T) {
	f := newFixture(t)
	b := inventory.NewBuilder(nil)
	owner := b.Add(inventory.Package{Type: "apk", Name: "py3-x", Version: "1"}, "", inventory.Occurrence{ID: "o"})
	owned := b.Add(inventory.Package{Type: "python", Name: "x", Version: "1"}, "", inventory.Occurrence{ID: "c1"})
	b.Add(inventory.Package{Type: "python", Name: "x", Version: "1"}, "", inventory.Occurrence{ID: "c2"})
	twin := b.Add(inventory.Package{Type: "python", Name: "y", Version: "1", PURL: "pkg:pypi/y@1"}, "", inventory.Occurrence{ID: "t1"})
	b.Add(inventory.Package{Type: "python", Name: "y", Version: "1"}, "", inventory.Occurrence{ID: "t2"})
	b.Add(inventory.Package{Type: "python", Name: "left-out", Version: "1"}, inventory.ExcludedOwned, inventory.Occurrence{ID: "e"})
	b.Own(owner, owned)
	_ = twin
	inv := b.Build()
	judged := map[int]inventory.Judgement{}
	list := make([]inventory.Judgement, len(inv.Packages))
	var records []vuln.Vulnerability
	for n, p := range inv.Packages {
		j := inventory.Judgement{}
		switch {
		case p.Name == "py3-x":
			j.Ignores = []vuln.Ignore{{Vulnerability: "CVE-1", Kind: vuln.IgnoreOwned, Reason: "fixed by the distro"}}
		case p.Name == "x":
			j.Matches = []vuln.Match{finding("GHSA-1", "CVE-1"), finding("GHSA-2")}
		case p.Name == "y" && p.PURL != "":
			j.Ignores = []vuln.Ignore{{Vulnerability: "GHSA-3", Kind: vuln.IgnoreSame, Reason: "unaffected"}}
		case p.Name == "y":
			own := finding("GHSA-4")
			own.Ignored = "built-in rule"
			j.Matches = []vuln.Match{finding("GHSA-3"), own}
		default:
			j.Matches = []vuln.Match{finding("GHSA-5")}
		}
		judged[n], list[n] = j, j
		for _, m := range j.Matches {
			records = append(records, vuln.Vulnerability{Ref: m.Ref, Severity: vuln.SeverityHigh})
		}
	}
	a := answer("x", nil)
	a.Inventory, a.Judged, a.Vulnerabilities = inv, judged, records
	f.scanned("team/app", "1", "x", a)

	want := map[string]string{}
	for _, v := range inv.Apply(list) {
		want[inv.Packages[inv.Members[v.Member].Package].Name+"/"+inv.Packages[inv.Members[v.Member].Package].PURL+"/"+v.Match.ID+"/"+string(rune('0'+v.Member))] = v.Ignored
	}
	rows, err := f.pool.Query(t.Context(), `
		SELECT p.name || '/' || p.purl || '/' || u.name || '/' || v.member, v.ignored
		  FROM inventory_verdicts((SELECT id FROM inventory), (SELECT id FROM vuln_build WHERE state = 'active')) v
		  JOIN package p ON p.id = v.package_id JOIN package_match m ON m.id = v.match_id JOIN vulnerability u ON u.id = m.vulnerability_id`)
	f.ok(err)
	got := map[string]string{}
	for rows.Next() {
		var key, ignored string
		f.ok(rows.Scan(&key, &ignored))
		got[key] = ignored
	}
	f.ok(rows.Err())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Go and SQL differ (-Go +SQL):\n%s", diff)
	}
	reasons := map[string]int{}
	for _, r := range got {
		reasons[r]++
	}
	if diff := cmp.Diff(map[string]int{"": 3, "fixed by the distro": 1, "unaffected": 1, "built-in rule": 1}, reasons); diff != "" {
		t.Errorf("the case does not cover the rule: %s", diff)
	}
}
