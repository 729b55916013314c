package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Images that went long ago come back while they are being collected, time and
// again: whichever comes first, no scan fails, and each answer is whole.
func TestScansStoreWhileCollectionRuns(t *testing.T) {
	f := newFixture(t)
	const images, rounds, scanners = 12, 16, 3
	for n := range images {
		f.scanned("team/app", fmt.Sprint("v", n), fmt.Sprint("image", n), returning(n))
	}
	for round := range rounds {
		f.exec(`INSERT INTO tag_event (repository_id, tag, action, manifest_id, occurred_at)
		        SELECT repository_id, name, 'deleted', manifest_id, now() FROM tag`)
		f.exec(`DELETE FROM tag`)
		f.exec(`DELETE FROM repository_inventory`) // as the next comparison would
		f.exec(`UPDATE repository SET compared = ''`)
		f.age(400 * day)
		f.exec(`UPDATE repository_manifest SET unneeded_since = now() - interval '300 days'`)
		back := rand.Perm(images)[:1+round%images]
		jobs := make(chan comingBack, len(back))
		for _, n := range back {
			name := fmt.Sprint("image", n)
			f.push(fmt.Sprint(round, name), "team/app", fmt.Sprint("v", n), "")
			jobs <- comingBack{job: f.claim(), number: n}
		}
		close(jobs)
		var all sync.WaitGroup
		failures := make(chan error, len(back)+1)
		all.Go(func() {
			_, err := f.store.Collect(t.Context(), shortLived, postgres.CollectOptions{})
			failures <- err
		})
		for range scanners {
			all.Go(func() {
				for b := range jobs {
					time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond) // at any stage of the collection
					failures <- b.scan(t.Context(), f.store)
				}
			})
		}
		all.Wait()
		close(failures)
		for err := range failures {
			f.ok(err)
		}
		for _, n := range back {
			f.checkWhole(fmt.Sprint("image", n))
		}
		if t.Failed() {
			return
		}
	}
}

// returning is the answer of an image; images share packages and records.
func returning(n int) scan.Answer {
	matches := map[string][]vuln.Match{}
	packages := []inventory.Package{}
	for p := range 12 {
		if (p+n)%3 != 0 {
			continue
		}
		name := fmt.Sprint("p", p)
		matches[name] = []vuln.Match{finding(fmt.Sprint("CVE-", p/2))}
		packages = append(packages, npm(name, "1"))
	}
	matches["only"] = []vuln.Match{finding(fmt.Sprint("CVE-only-", n/2))}
	return answer(fmt.Sprint("image", n), matches, append(packages, npm("only", fmt.Sprint(n)))...)
}

// comingBack is a scan of an image that was there before.
type comingBack struct {
	job    scan.Job
	number int
}

// scan takes the steps of scan.Scanner, which knows from the store what there is
// left to do.
func (b comingBack) scan(ctx context.Context, store *postgres.Store) error {
	name := fmt.Sprint("image", b.number)
	if err := store.SaveManifest(ctx, b.job, imageManifest(name)); err != nil {
		return err
	}
	known, err := store.Known(ctx, digestOf(name), "v1")
	if err != nil {
		return err
	}
	if !known.Catalogued || !known.Current {
		if err := store.Reserve(ctx, b.job, digestOf(name)); err != nil {
			return err
		}
		if err := b.save(ctx, store, known.Catalogued); err != nil {
			return err
		}
	}
	err = store.SaveFindings(ctx, b.job)
	return errors.Join(err, store.FinishScan(ctx, b.job, scan.Result{Digest: digestOf(name)}, nil))
}

// save judges what nobody has judged and stores the answer, again while what it
// counted on was collected.
func (b comingBack) save(ctx context.Context, store *postgres.Store, catalogued bool) error {
	for {
		a := returning(b.number)
		if catalogued {
			inv, err := store.Inventory(ctx, a.Manifest)
			if err != nil {
				return err
			}
			a.Inventory, a.Document = inv, nil
		}
		missing, err := store.Unjudged(ctx, build1, a.Inventory.Fingerprints)
		if err != nil {
			return err
		}
		all := a.Judged
		a.Judged = map[int]inventory.Judgement{}
		for _, n := range missing {
			a.Judged[n] = all[n]
		}
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) // judging takes a while: others come in between
		if err := store.SaveAnswer(ctx, b.job, a); !errs.Is(err, errs.Conflict) {
			return err
		}
	}
}

// checkWhole holds what is stored of an image against what was answered.
func (f *fixture) checkWhole(name string) {
	f.t.Helper()
	var number int
	_, err := fmt.Sscanf(name, "image%d", &number)
	f.ok(err)
	want := returning(number)
	const held = `manifest m JOIN repository_manifest rm ON rm.manifest_id = m.id AND rm.presence = 'present'
		JOIN tag t ON t.manifest_id = m.id JOIN sbom b ON b.manifest_id = m.id
		JOIN inventory_summary s ON s.inventory_id = m.inventory_id
		JOIN inventory_package ip ON ip.inventory_id = m.inventory_id
		JOIN package p ON p.id = ip.package_id AND p.judged_build IS NOT NULL
		JOIN package_match pm ON pm.package_id = p.id AND pm.closed_build IS NULL
		JOIN vulnerability v ON v.id = pm.vulnerability_id
		JOIN vulnerability_rating r ON r.vulnerability_id = v.id AND r.closed_build IS NULL
		WHERE m.digest = $1 AND m.state = 'done' AND m.catalog_version = 'v1'`
	if n := f.count(held, string(digestOf(name))); n != len(want.Inventory.Members) {
		f.t.Errorf("%s came back with %d of %d packages that are judged", name, n, len(want.Inventory.Members))
	}
	const layers = `manifest_layer l JOIN manifest m ON m.id = l.manifest_id WHERE m.digest = $1`
	if n := f.count(layers, string(digestOf(name))); n != 1 {
		f.t.Errorf("%s has %d layers, want 1", name, n)
	}
}

// An upload that comes again while its document is collected is not lost.
func TestUploadsComeBackWhileCollectionRuns(t *testing.T) {
	f := newFixture(t)
	digest := image.DigestOf([]byte("document"))
	for round := range 30 {
		f.exec(`DELETE FROM scan`)
		f.exec(`INSERT INTO sbom_upload (digest, document, created_at) VALUES ($1, 'x', now() - interval '1 day') ON CONFLICT DO NOTHING`, string(digest))
		f.age(2 * time.Hour)
		var both sync.WaitGroup
		failures := make(chan error, 2)
		both.Go(func() {
			_, err := f.store.Collect(t.Context(), postgres.Retention{}, postgres.CollectOptions{})
			failures <- err
		})
		both.Go(func() {
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			_, err := f.store.SaveUpload(t.Context(), "sboms", "ci", "1", digest, []byte(`{}`), noPermits)
			failures <- err
		})
		both.Wait()
		f.ok(errors.Join(<-failures, <-failures))
		if n := f.count("sbom_upload"); n != 1 {
			t.Fatalf("round %d: the document is lost", round)
		}
	}
}
