package postgres_test

import (
	"context"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// emptied is a registry that has nothing any more.
type emptied struct{ scan.Registry }

func (emptied) Resolve(context.Context, image.Reference) (scan.Manifest, error) {
	return scan.Manifest{}, errs.New(errs.NotFound, "not here")
}

// A delete that joins a scan somebody asked for is looked after by that: findings
// close by it, and the digest it named goes, under every tag. Who asked is told
// that there is nothing.
func TestADeleteThatJoinsARequestIsLookedAfter(t *testing.T) {
	f := newFixture(t)
	matches := map[string][]vuln.Match{"a": {finding("CVE-1")}}
	f.scanned("team/app", "1", "x", answer("x", matches, npm("a", "1")))
	f.scanned("team/app", "2", "x", answer("x", matches, npm("a", "1")))
	ref := image.Reference{Registry: "registry.example", Repository: "team/app", Tag: "1"}
	id, err := f.store.RequestScan(t.Context(), "prod", ref, noPermits)
	f.ok(err)
	done, err := f.store.Accept(t.Context(), "prod", []postgres.Delivery{{
		DedupeKey: "gone", Action: "delete", Repository: "team/app", Tag: "1", Digest: digestOf("x"),
	}}, noPermits)
	f.ok(err)
	job := f.claim()
	if done.Joined != 1 || job.ID != id {
		t.Fatalf("%+v, scan %d for %d", done, job.ID, id)
	}
	result, err := (&scan.Scanner{Registry: emptied{}, Store: f.store}).Scan(t.Context(), job)
	if !errs.Is(err, errs.NotFound) {
		t.Errorf("who asked is told %v", err)
	}
	f.ok(f.store.FinishScan(t.Context(), job, result, err))
	if n := f.count(`finding_event WHERE kind = 'closed' AND cause = 'delete'`); n != 1 {
		t.Errorf("%d findings closed by the deletion, want 1; by something else %d", n, f.count(`finding_event WHERE kind = 'closed' AND cause <> 'delete'`))
	}
	if tags, gone := f.count("tag"), f.count(`repository_manifest WHERE presence = 'gone'`); tags != 0 || gone != 1 {
		t.Errorf("%d tags are left, %d manifests gone", tags, gone)
	}
}
