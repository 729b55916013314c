package report_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

var (
	noon    = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	digestA = image.Digest("sha256:" + strings.Repeat("a", 64))
	digestB = image.Digest("sha256:" + strings.Repeat("b", 64))
)

func before(d time.Duration) *time.Time {
	t := noon.Add(-d)
	return &t
}

// facts are those of team/app:1 in a registry whose endpoint is well and that
// knows nothing of it.
func facts() report.TraceFacts {
	return report.TraceFacts{
		Now: noon, Host: "registry.example", Configured: true, Build: &report.Build{Built: noon.Add(-48 * time.Hour)},
		Target:   report.Target{RepositoryRef: report.RepositoryRef{Registry: "main", Name: "team/app"}, Tag: "1"},
		Endpoint: &report.Contact{Configured: true, LastDeliveryAt: before(3 * time.Minute), Silence: report.SilenceUsual},
	}
}

func pushOf(tag string, ago time.Duration) report.Delivery {
	return report.Delivery{ID: 5, Registry: "main", ReceivedAt: *before(ago), Verdict: "accepted", Action: "push", Tag: tag, Digest: digestA, Actor: "ci"}
}

func scanOf(state report.RunState) *report.Scan {
	return &report.Scan{ScanState: report.ScanState{ID: 7, State: state, CreatedAt: *before(time.Minute)}, Cause: "push", RunAfter: *before(time.Minute)}
}

func canceledScan(ago time.Duration) *report.Scan {
	s := scanOf(report.RunCanceled)
	s.Reason, s.Detail, s.CanceledBy, s.FinishedAt = "canceled", "canceled by ci", "ci", before(ago)
	return s
}

func imageOf(state report.State, reason string) *report.Image {
	return &report.Image{Digest: digestA, Kind: image.KindImage, State: state, Reason: reason, Presence: report.Present, FirstSeen: before(time.Minute),
		Platforms: []report.Platform{{Kind: image.KindImage, Platform: "linux/amd64", Presence: report.Present, State: state}}}
}

func answered(total int) *report.Image {
	i := imageOf(report.StateDone, "")
	i.Assessment = report.Assessment{Answer: report.Clean, Complete: true, NoData: []string{}, Counts: &report.Counts{Total: total}}
	if total > 0 {
		i.Answer, i.Counts.Critical, i.Counts.Fixable = report.Findings, total, 1
	}
	i.Platforms[0].Counts, i.Platforms[0].ScannedAt = i.Counts, before(time.Minute)
	i.Build = &report.Build{Built: noon.Add(-48 * time.Hour)}
	return i
}

// Each case changes the facts; steps lists "mood what: text" of every step.
func TestTraceTells(t *testing.T) {
	heardFine := "fine endpoint: the endpoint last heard from its registry 3 min ago"
	never := "note reconcile: the registry was never compared as a whole"
	tests := []struct {
		name       string
		change     func(*report.TraceFacts)
		outcome    report.Outcome
		conclusion string
		next       string // part of
		steps      []string
	}{
		{"no registry", func(f *report.TraceFacts) { f.Configured, f.Endpoint, f.Target.Registry = false, nil, "" },
			report.OutcomeNoRegistry, "No configured registry has the host registry.example.", "aliases",
			[]string{"trouble registry: no registry is configured for host registry.example"}},
		{"nobody told", func(*report.TraceFacts) {}, report.OutcomeUnknown, "Nothing is known of it.", "POST /api/v1/scans",
			[]string{heardFine, "trouble delivery: no webhook told of this repository", never}},
		{"another tag", func(f *report.TraceFacts) { d := pushOf("2", 3*time.Hour); f.Neighbour, f.Known = &d, true },
			report.OutcomeUnknown, "Nothing is known of it.", "",
			[]string{heardFine, "trouble delivery: no webhook told of tag 1; the last about this repository was of 2 at sha256:aaaaaaaaaaaa, 3 h ago", never}},
		{"no webhook", func(f *report.TraceFacts) { f.Endpoint = &report.Contact{} }, report.OutcomeUnknown,
			"Nothing is known of it, and the registry has no webhook.", "set up the webhook",
			[]string{"trouble endpoint: registry main has no webhook in the configuration, so nobody tells of its pushes",
				"trouble delivery: no webhook told of this repository", never}},
		{"never heard", func(f *report.TraceFacts) { f.Endpoint.LastDeliveryAt = nil }, report.OutcomeUnknown,
			"Nothing is known of it, and the endpoint was never heard.", "point the registry to /webhooks/main",
			[]string{"trouble endpoint: the endpoint /webhooks/main has never heard from its registry", "trouble delivery: no webhook told of this repository", never}},
		{"silent", func(f *report.TraceFacts) {
			f.Endpoint.LastDeliveryAt, f.Endpoint.Silence, f.Reconciled = before(72*time.Hour), report.SilenceAlarm, before(5*time.Hour)
		}, report.OutcomeUnknown, "Nothing is known of it, and the endpoint is silent.", "still sends",
			[]string{"trouble endpoint: the endpoint last heard from its registry 3 days ago, which is far longer than usual",
				"trouble delivery: no webhook told of this repository", "fine reconcile: the registry was last compared as a whole 5 h ago"}},
		{"refused", func(f *report.TraceFacts) {
			f.Endpoint.LastDeliveryAt = before(2 * time.Hour)
			for n := range 3 {
				f.Endpoint.Rejected = append(f.Endpoint.Rejected, report.Rejection{At: *before(time.Duration(n+1) * time.Minute), Status: 401, Reason: "unauthorized"})
			}
			f.Endpoint.Rejected = append(f.Endpoint.Rejected, report.Rejection{At: *before(5 * time.Hour), Status: 413, Reason: "too_large"})
		}, report.OutcomeUnknown, "Nothing is known of it, and requests to the endpoint were refused.", "mend",
			[]string{"fine endpoint: the endpoint last heard from its registry 2 h ago",
				"trouble rejected: 3 requests to the endpoint were refused with 401 in the last hour: the secret may be wrong",
				"trouble delivery: no webhook told of this repository", never}},
		{"refused before it was mended", func(f *report.TraceFacts) {
			f.Endpoint.Rejected = []report.Rejection{{At: *before(2 * time.Hour), Status: 401, Reason: "unauthorized"}}
		}, report.OutcomeUnknown, "Nothing is known of it.", "",
			[]string{heardFine, "note rejected: 1 request to the endpoint was refused with 401 in the last 24 hours: the secret may be wrong",
				"trouble delivery: no webhook told of this repository", never}},
		{"misspelt address", func(f *report.TraceFacts) { f.Endpoint.NoEndpoint = 4 }, report.OutcomeUnknown, "Nothing is known of it.", "",
			[]string{heardFine, "note rejected: in the last 24 hours 4 requests were sent to addresses below /webhooks/ that are no endpoint: the URL of a sender may be misspelt",
				"trouble delivery: no webhook told of this repository", never}},
		{"the wrong endpoint", func(f *report.TraceFacts) {
			d := pushOf("1", time.Minute)
			d.Registry, d.Verdict, d.Reason = "other", "ignored", "other_registry"
			f.Elsewhere = &d
		},
			report.OutcomeUnknown, "Nothing is known of it: its event came to the endpoint of registry other.", "/webhooks/main",
			[]string{heardFine, "trouble delivery: no webhook told of this repository",
				"trouble delivery: an event that names this repository came to the endpoint of registry other and was ignored: that registry has no such host", never}},
		{"another name of the registry", func(f *report.TraceFacts) {
			d := pushOf("1", time.Minute)
			d.Verdict, d.Reason, d.NamedHost = "ignored", "other_registry", "inner.example:5000"
			f.Deliveries = []report.Delivery{d}
		},
			report.OutcomeIgnored, "The webhook told of it and the event was ignored: it names the host inner.example:5000, which is not one of this registry's.", "add inner.example:5000 to the aliases of registry main",
			[]string{heardFine, "trouble delivery: the webhook told of an event that was ignored: it names the host inner.example:5000, which is not one of this registry's, by ci", never}},
		{"ignored", func(f *report.TraceFacts) {
			d := pushOf("1", time.Minute)
			d.Verdict, d.Reason, d.Duplicates = "ignored", "signature", 1
			f.Deliveries = []report.Delivery{d}
		}, report.OutcomeIgnored, "The webhook told of it and the event was ignored: it tells of a signature.", "",
			[]string{heardFine, "trouble delivery: the webhook told of an event that was ignored: it tells of a signature, by ci; it came again once", never}},
		{"queued", func(f *report.TraceFacts) {
			most := 4
			f.Known, f.Deliveries, f.Scan = true, []report.Delivery{pushOf("1", time.Minute)}, scanOf(report.RunQueued)
			f.Queue = &report.QueuePlace{InLine: true, Before: 12, Running: 4, MaxRunning: &most}
		}, report.OutcomePending, "It is queued.", "",
			[]string{heardFine, "fine delivery: the webhook told of a push of 1 at sha256:aaaaaaaaaaaa, by ci",
				"waiting scan: scan 7 for the push is queued: in the line of its registry 12 are before it, and 4 scans of at most 4 run", never}},
		{"queued and nobody works", func(f *report.TraceFacts) {
			f.Scan, f.Queue = scanOf(report.RunQueued), &report.QueuePlace{InLine: true, LastStarted: before(3 * time.Hour)}
			f.Scan.RunAfter = *before(time.Hour)
		}, report.OutcomePending, "It is queued, and nobody seems to take scans.", "workers.enabled",
			[]string{heardFine, "note delivery: no webhook told of this repository",
				"trouble scan: scan 7 for the push is queued: in the line of its registry none is before it, and 0 scans run; the last scan of this registry began 3 h ago", never}},
		{"held", func(f *report.TraceFacts) {
			f.Scan = scanOf(report.RunQueued)
			f.Scan.RunAfter = noon.Add(8 * time.Second)
		},
			report.OutcomePending, "It is held and due in 8 s.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository",
				"waiting scan: scan 7 for the push is held and due in 8 s: more of the same push may come", never}},
		{"tried again later", func(f *report.TraceFacts) {
			f.Scan = scanOf(report.RunQueued)
			f.Scan.Attempt, f.Scan.Reason, f.Scan.Detail, f.Scan.RunAfter = 2, "unauthorized", "registry: 401", noon.Add(90*time.Second)
		}, report.OutcomePending, "The last attempt failed: the registry refused the credential. The next is due in 90 s.", "check auth",
			[]string{heardFine, "note delivery: no webhook told of this repository",
				"trouble scan: attempt 2 of scan 7 for the push failed: the registry refused the credential: registry: 401; the next is due in 90 s", never}},
		{"no database", func(f *report.TraceFacts) { f.Scan, f.Build = scanOf(report.RunQueued), nil }, report.OutcomePending,
			"It is queued, and no scan can begin: there is no vulnerability database yet.", "vulndb import",
			[]string{heardFine, "note delivery: no webhook told of this repository", "trouble scan: scan 7 for the push waits: there is no vulnerability database yet", never}},
		{"running, newer than the answer", func(f *report.TraceFacts) {
			f.Scan, f.Image, f.TagNow = scanOf(report.RunRunning), answered(0), &report.TagPointer{Digest: digestA, MovedAt: *before(time.Hour), LastSeen: *before(time.Hour)}
			f.Scan.StartedAt, f.Scan.Attempt, f.Scan.Resolved = before(12*time.Second), 1, digestB
			f.Queue = &report.QueuePlace{Cataloguing: []string{"linux/amd64", "linux/arm64"}}
		}, report.OutcomePending, "It is being scanned. The answer that stands is of the push before.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository",
				"waiting scan: scan 7 for the push began 12 s ago, attempt 1: it pulls and catalogues the image for linux/amd64, linux/arm64",
				"fine manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and catalogued", "fine tag: tag 1 points to sha256:aaaaaaaaaaaa, set 60 min ago",
				"fine answer: no known vulnerability; judged with the database of 2026-11-21", never + "; the tag was last seen there 60 min ago"}},
		{"running, with its progress", func(f *report.TraceFacts) {
			f.Scan = scanOf(report.RunRunning)
			f.Scan.StartedAt, f.Scan.Attempt = before(12*time.Second), 1
			f.Scan.Progress = &report.Progress{Phase: "pull", Platform: "linux/amd64", Image: 1, Images: 1, Bytes: 12_345_678, BytesOf: 300_000_000, Layers: 2, LayersOf: 5}
		}, report.OutcomePending, "It is being scanned.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository",
				"waiting scan: scan 7 for the push began 12 s ago, attempt 1: it pulls the image for linux/amd64: 12.3 of 300.0 MB, 2 of 5 layers", never}},
		{"canceled before it was looked at", func(f *report.TraceFacts) { f.Scan = canceledScan(time.Minute) }, report.OutcomeCanceled,
			"Its scan was canceled by ci, and nobody is going to look at it.", "push it again",
			[]string{heardFine, "note delivery: no webhook told of this repository", "trouble scan: scan 7 for the push was canceled by ci 60 s ago", never}},
		{"canceled while it ran", func(f *report.TraceFacts) {
			f.Scan, f.Image = canceledScan(time.Minute), imageOf(report.StateCanceled, "canceled")
			f.Scan.Resolved, f.Image.Detail = digestA, "canceled by ci"
			f.Scan.Progress = &report.Progress{Phase: "match", Image: 2, Images: 3, Packages: 412}
		}, report.OutcomeCanceled, "Its scan was canceled by ci, and nobody is going to look at it.", "POST /api/v1/scans",
			[]string{heardFine, "note delivery: no webhook told of this repository",
				"trouble scan: scan 7 for the push was canceled by ci 60 s ago; last heard: it judges the image, 2 of 3: 412 packages",
				"trouble manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and not catalogued: canceled by ci", never}},
		{"canceled, with an answer of before", func(f *report.TraceFacts) {
			f.Scan, f.Image = canceledScan(time.Minute), answered(0)
			f.TagNow = &report.TagPointer{Digest: digestA, MovedAt: *before(time.Hour), LastSeen: *before(time.Hour)}
		}, report.OutcomeCanceled, "Its scan was canceled by ci, and nobody is going to look at it. The answer that stands is of the push before.", "push it again",
			[]string{heardFine, "note delivery: no webhook told of this repository", "trouble scan: scan 7 for the push was canceled by ci 60 s ago",
				"fine manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and catalogued", "fine tag: tag 1 points to sha256:aaaaaaaaaaaa, set 60 min ago",
				"fine answer: no known vulnerability; judged with the database of 2026-11-21", never + "; the tag was last seen there 60 min ago"}},
		{"canceled, and seen unchanged since", func(f *report.TraceFacts) {
			f.Scan, f.Image = canceledScan(time.Hour), answered(0)
			f.TagNow = &report.TagPointer{Digest: digestA, MovedAt: *before(2 * time.Hour), LastSeen: *before(time.Minute)}
		}, report.OutcomeAnswered, "It is answered: no known vulnerability.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository", "trouble scan: scan 7 for the push was canceled by ci 60 min ago",
				"fine manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and catalogued", "fine tag: tag 1 points to sha256:aaaaaaaaaaaa, set 2 h ago",
				"fine answer: no known vulnerability; judged with the database of 2026-11-21", never + "; the tag was last seen there 60 s ago"}},
		{"left to a newer scan", func(f *report.TraceFacts) {
			f.Scan, f.Image = scanOf(report.RunCanceled), answered(0)
			f.Scan.Detail = "scan 9 looks at it"
		}, report.OutcomeAnswered, "It is answered: no known vulnerability.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository", "note scan: scan 7 for the push was left to another: scan 9 looks at it",
				"fine manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and catalogued", "fine answer: no known vulnerability; judged with the database of 2026-11-21", never}},
		{"never resolved", func(f *report.TraceFacts) {
			f.Scan = scanOf(report.RunFailed)
			f.Scan.Attempt, f.Scan.Reason = 6, "unauthorized"
		}, report.OutcomeFailed, "The last push could not be looked at: the registry refused the credential.", "check auth",
			[]string{heardFine, "note delivery: no webhook told of this repository", "trouble scan: scan 7 for the push failed after 6 attempts: the registry refused the credential", never}},
		{"answered", func(f *report.TraceFacts) {
			f.Scan, f.Image = scanOf(report.RunDone), answered(3)
			f.Scan.StartedAt, f.Scan.FinishedAt, f.Scan.PulledBytes = before(14*time.Second), before(0), 12_300_000
			f.Scan.Phases = []report.Phase{{Name: "resolve", Seconds: 0.2}, {Name: "pull", Seconds: 1}, {Name: "pull", Seconds: 2}}
			f.TagNow = &report.TagPointer{Digest: digestA, MovedAt: *before(10 * time.Second), Before: digestB, LastSeen: *before(10 * time.Second)}
			f.Reconciling = true
		}, report.OutcomeAnswered, "It is answered: 3 vulnerabilities: 3 critical; 1 can be fixed.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository", "fine scan: scan 7 for the push is done after 14.0 s (resolve 200 ms, pull 3.0 s); 12.3 MB were pulled",
				"fine manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and catalogued",
				"fine tag: tag 1 points to sha256:aaaaaaaaaaaa, moved 10 s ago from sha256:bbbbbbbbbbbb",
				"fine answer: 3 vulnerabilities: 3 critical; 1 can be fixed; judged with the database of 2026-11-21",
				"waiting reconcile: the registry was never compared as a whole; it is being compared now; the tag was last seen there 10 s ago"}},
		{"a digest the tag has left", func(f *report.TraceFacts) {
			f.Target.Digest, f.Image, f.TagNow = digestA, answered(0), &report.TagPointer{Digest: digestB, MovedAt: *before(time.Hour), LastSeen: noon}
		}, report.OutcomeAnswered, "It is answered: no known vulnerability. The tag points to another digest by now.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository", "fine manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and catalogued",
				"note tag: tag 1 points to sha256:bbbbbbbbbbbb, set 60 min ago; sha256:aaaaaaaaaaaa is not what it points to",
				"fine answer: no known vulnerability; judged with the database of 2026-11-21", never + "; the tag was last seen there just now"}},
		{"partly answered", func(f *report.TraceFacts) {
			f.Image = answered(0)
			f.Image.Answer, f.Image.Complete, f.Image.NoData, f.Image.Build.Sample = report.Unknown, false, []string{"distro:centos:7"}, true
		}, report.OutcomeAnswered, "It is answered: the database has data for nothing in it, so no findings mean nothing.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository", "fine manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and catalogued",
				"note answer: no known vulnerability; that is not all: the database has nothing for distro:centos:7; judged with the database of 2026-11-21, a sample that is not for decisions", never}},
		{"failed", func(f *report.TraceFacts) {
			f.Image = imageOf(report.StateFailed, "malformed")
			f.Image.Detail = "layer 3"
		},
			report.OutcomeFailed, "It could not be scanned: its content is damaged.", "push it again",
			[]string{heardFine, "note delivery: no webhook told of this repository",
				"trouble manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64 and could not be scanned: its content is damaged: layer 3", never}},
		{"a chart", func(f *report.TraceFacts) {
			f.Image = imageOf(report.StateUnsupported, "helm_chart")
			f.Image.Kind = image.KindHelmChart
		}, report.OutcomeUnsupported, "It is recorded and not scanned: it is a Helm chart.", "",
			[]string{heardFine, "note delivery: no webhook told of this repository", "note manifest: sha256:aaaaaaaaaaaa is a Helm chart, which has no packages to judge", never}},
		{"left out", func(f *report.TraceFacts) {
			f.Image, f.LeftOutBy = imageOf(report.StateQueued, ""), "nightly"
			f.Image.Presence = report.Excluded
		}, report.OutcomeExcluded, "The rule nightly leaves it out.", "change the rule",
			[]string{heardFine, "note delivery: no webhook told of this repository", "note manifest: sha256:aaaaaaaaaaaa is an image for linux/amd64",
				"note rule: the rule nightly leaves it out", never}},
		{"a repository left out", func(f *report.TraceFacts) { f.Known, f.ExcludedBy, f.ListedAt = true, "mirrors", before(time.Hour) }, report.OutcomeExcluded,
			"The rule mirrors leaves it out.", "change the rule",
			[]string{heardFine, "trouble delivery: no webhook told of this repository", "note rule: the rule mirrors leaves the whole repository out",
				never + ", this repository 60 min ago"}},
		{"a deleted tag", func(f *report.TraceFacts) {
			f.Known, f.TagGoneAt, f.Scan = true, before(time.Hour), scanOf(report.RunDone)
		}, report.OutcomeGone,
			"The tag is gone from the registry.", "push it again",
			[]string{heardFine, "note delivery: no webhook told of this repository", "fine scan: scan 7 for the push is done", "trouble tag: tag 1 was found deleted 60 min ago", never}},
		{"gone before it was looked at", func(f *report.TraceFacts) { f.Known, f.Scan = true, scanOf(report.RunDone) }, report.OutcomeGone,
			"The registry did not have it when it was asked.", "push it again",
			[]string{heardFine, "note delivery: no webhook told of this repository", "fine scan: scan 7 for the push is done", never}},
		{"a limited reader", func(f *report.TraceFacts) { f.Endpoint, f.Limited = nil, true }, report.OutcomeUnknown, "Nothing is known of it.", "check the name",
			[]string{"trouble delivery: no webhook told of this repository", never}},
		{"no upload", func(f *report.TraceFacts) {
			f.Endpoint, f.Target.Registry, f.Host = nil, report.UploadRegistry, report.UploadRegistry
		},
			report.OutcomeUnknown, "Nothing was uploaded under this name.", "POST /api/v1/sboms", []string{"trouble delivery: nothing was uploaded under this name"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := facts()
			tt.change(&f)
			got := f.Tell()
			steps := make([]string, len(got.Steps))
			for i, s := range got.Steps {
				steps[i] = string(s.Mood) + " " + string(s.What) + ": " + s.Text
			}
			if diff := cmp.Diff(tt.steps, steps); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if got.Outcome != tt.outcome || got.Conclusion != tt.conclusion || !strings.Contains(got.NextStep, tt.next) || got.Answered != (tt.outcome == report.OutcomeAnswered) {
				t.Errorf("outcome %s, conclusion %q, next %q; want %s, %q, %q", got.Outcome, got.Conclusion, got.NextStep, tt.outcome, tt.conclusion, tt.next)
			}
		})
	}
}
