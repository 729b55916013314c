package postgres_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// killed fails each step of a change in turn, before it or, every other time, when
// it is done and nobody was told, until all were killed.
type killed struct {
	*postgres.Store
	steps, at int
}

// die counts a step; the one whose turn it is fails.
func (k *killed) die() error {
	if k.steps++; k.steps == k.at {
		return context.Canceled
	}
	return nil
}

func (k *killed) SelectPackages(ctx context.Context, build int64, change scan.Change) ([]scan.Shard, error) {
	if err := k.die(); err != nil {
		return nil, err
	}
	shards, err := k.Store.SelectPackages(ctx, build, change)
	if dead := k.die(); dead != nil {
		return nil, dead
	}
	return shards, err
}

func (k *killed) PackagesOf(ctx context.Context, shard scan.Shard, after int64, limit int) ([]scan.Stored, error) {
	if err := k.die(); err != nil {
		return nil, err
	}
	return k.Store.PackagesOf(ctx, shard, after, min(limit, 3)) // more steps
}

func (k *killed) HoldBuild(ctx context.Context, build int64, reason string) error {
	if err := k.die(); err != nil {
		return err
	}
	return k.Store.HoldBuild(ctx, build, reason)
}

func (k *killed) StageBuild(ctx context.Context, build int64, session scan.Session) error {
	if err := k.die(); err != nil {
		return err
	}
	err := k.Store.StageBuild(ctx, build, session)
	if dead := k.die(); dead != nil {
		return dead
	}
	return err
}

func (k *killed) SwitchBuild(ctx context.Context, build int64, session scan.Session) error {
	if err := k.die(); err != nil {
		return err
	}
	err := k.Store.SwitchBuild(ctx, build, session)
	if dead := k.die(); dead != nil {
		return dead
	}
	return err
}

// fill pushes what random says, the same for the same random.
func fill(t *testing.T, w *postgrestest.World, random *rand.Rand) oracle {
	t.Helper()
	now := firstOracle(random, w.Build)
	now.rule(w)
	for range 15 {
		meddle(t, w, random, now)
	}
	return now
}

func TestAChangeThatIsKilledAtEachStepEndsAsIfItWereNot(t *testing.T) {
	calm, hunted := postgrestest.New(t), postgrestest.New(t)
	build := calm.Build
	hunted.Build = build
	random := rand.New(rand.NewPCG(11, 12))
	next, change := fill(t, calm, random).next(random, postgrestest.NewBuild("two"))
	fill(t, hunted, rand.New(rand.NewPCG(11, 12)))
	if _, err := (&scan.Rejudger{Store: calm.Store, Change: &change}).Rejudge(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for at := 1; ; at++ {
		store := &killed{Store: hunted.Store, at: at}
		done, err := (&scan.Rejudger{Store: store, Change: &change, Parallel: 1}).Rejudge(t.Context(), next)
		if err == nil && (done.Switched || kills > 0 && done.Packages == 0) {
			break
		}
		if kills++; kills > 100 {
			t.Fatalf("still not done: %+v, %v", done, err)
		}
	}
	if kills < 5 {
		t.Errorf("only %d steps were killed", kills)
	}
	if diff := cmp.Diff(everything(t, calm), everything(t, hunted)); diff != "" {
		t.Errorf("(-undisturbed +killed %d times) %s", kills, diff)
	}
	checkWorld(t, hunted, next)
}

// TestReadersSeeOneBuildWhileAChangeIsKilledAtAnyMoment cuts changes off after
// random times, in the middle of statements, while readers ask all the time.
func TestReadersSeeOneBuildWhileAChangeIsKilledAtAnyMoment(t *testing.T) {
	w := postgrestest.New(t)
	random := rand.New(rand.NewPCG(13, 14))
	now := fill(t, w, random)
	const changes = 4
	for n := range changes {
		next, change := now.next(random, postgrestest.NewBuild(fmt.Sprint("build", n)))
		if n == changes-1 {
			change.Everything = "a test"
		}
		before := answersOf(t.Context(), t, w.Store)
		var readers sync.WaitGroup
		stop, cancel := context.WithCancel(t.Context())
		seen := make(chan map[string]string, 1)
		readers.Go(func() { seen <- poll(stop, t, w.Store) })
		kills := killUntilDone(t, w.Store, random, next, change)
		after := answersOf(t.Context(), t, w.Store)
		cancel()
		readers.Wait()
		if before.build == after.build || kills == 0 {
			t.Fatalf("%d kills, from %s to %s", kills, before.build, after.build)
		}
		for answer, build := range <-seen {
			if want := map[string]string{before.build: before.answer, after.build: after.answer}[build]; answer != want {
				t.Fatalf("a reader saw a mix under %s: %s", build, cmp.Diff(want, answer))
			}
		}
		now = next
		now.rule(w)
		checkWorld(t, w, now)
	}
}

// killUntilDone cuts a change off again and again, each time a little later.
func killUntilDone(t *testing.T, store *postgres.Store, random *rand.Rand, next oracle, change scan.Change) (kills int) {
	t.Helper()
	for limit := 2 * time.Millisecond; ; limit += time.Duration(random.IntN(12)) * time.Millisecond {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		done, err := (&scan.Rejudger{Store: store, Change: &change}).Rejudge(ctx, next)
		cancel()
		if err == nil && done.Build != 0 {
			return kills
		}
		kills++
	}
}

// answers is what readers are told at one moment, and under which build.
type answers struct{ build, answer string }

// poll asks until it is told to stop, and returns the build of each answer that
// was given.
func poll(ctx context.Context, t *testing.T, store *postgres.Store) map[string]string {
	seen := map[string]string{}
	for ctx.Err() == nil {
		if a := answersOf(ctx, t, store); a.build != "" {
			seen[a.answer] = a.build
		}
	}
	return seen
}

// answersOf asks for repositories, tags and findings, once more when the build
// changed in between.
func answersOf(ctx context.Context, t *testing.T, store *postgres.Store) answers {
	for ctx.Err() == nil {
		repositories, err := store.Repositories(ctx, all, report.RepositoryFilter{}, report.Page{})
		parts := []any{repositories.Items}
		builds := map[string]bool{}
		name := func(b *report.Build) {
			if b != nil {
				builds[b.Checksum] = true
			}
		}
		name(repositories.Build)
		for _, r := range repositories.Items {
			if err != nil {
				break
			}
			ref := report.RepositoryRef{Registry: r.Registry, Name: r.Repository[len(postgrestest.Host)+1:]}
			var tags report.Judged[report.Tag]
			if tags, err = store.Tags(ctx, all, ref, report.Page{}); err != nil {
				break
			}
			name(tags.Build)
			parts = append(parts, tags.Items)
			for _, tag := range tags.Items {
				var found report.FindingPage
				found, err = store.Findings(ctx, all, report.FindingScope{Target: report.Target{RepositoryRef: ref, Tag: tag.Name}}, report.FindingFilter{}, report.Page{})
				if err != nil {
					break
				}
				name(found.Build)
				found.Build = nil
				parts = append(parts, found)
			}
		}
		if err != nil && ctx.Err() == nil {
			t.Errorf("a reader got no answer: %v", err)
			return answers{}
		}
		if err == nil && len(builds) == 1 {
			encoded, err := json.Marshal(parts)
			if err != nil {
				t.Error(err)
			}
			for b := range builds {
				return answers{build: b, answer: string(encoded)}
			}
		}
	}
	return answers{}
}
