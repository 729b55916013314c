package queue_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/queue"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

var candidate = vuln.Build{Checksum: "sha256:two", Engine: "grype", EngineVersion: "v1", Config: "1-x"}

func shards(n int) (all []scan.Shard) {
	for i := range n {
		all = append(all, scan.Shard{Build: 2, From: int64(100 * i), To: int64(100*i + 99), Packages: 100})
	}
	return all
}

// tally counts how often each shard was judged.
type tally struct {
	mu   sync.Mutex
	seen map[int64]int
}

func (y *tally) count(s scan.Shard) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.seen == nil {
		y.seen = map[int64]int{}
	}
	y.seen[s.From]++
}

// judges is a process whose scans never come.
func judges(shard func(context.Context, vuln.Build, scan.Shard) error, unclaimed, silent time.Duration) queue.Options {
	return queue.Options{
		Workers: 1, Run: func(context.Context, scan.Job) (scan.Result, error) { return scan.Result{}, nil },
		Judging: queue.Judging{Shard: shard, Unclaimed: unclaimed, Silent: silent},
	}
}

func TestShardsAreJudgedByAllProcesses(t *testing.T) {
	r := newRig(t)
	const n = 12
	var done tally
	var both [2]atomic.Int32
	met := make(chan struct{})
	var leader *queue.Queue
	for i := range both {
		leader = r.start(judges(func(ctx context.Context, b vuln.Build, s scan.Shard) error {
			if b != candidate {
				t.Errorf("judged with %+v", b)
			}
			if both[i].Add(1) == 1 && both[1-i].Load() > 0 {
				close(met)
			}
			select { // nobody gets ahead before both have one
			case <-met:
			case <-ctx.Done():
			}
			done.count(s)
			return nil
		}, time.Minute, time.Minute))
	}
	if err := leader.Distribute(t.Context(), candidate, shards(n)); err != nil {
		t.Fatal(err)
	}
	if len(done.seen) != n || both[0].Load()+both[1].Load() != n {
		t.Errorf("%d shards in %d and %d runs, want %d", len(done.seen), both[0].Load(), both[1].Load(), n)
	}
}

func TestAProcessThatCannotJudgeLeavesShardsToOthers(t *testing.T) {
	r := newRig(t)
	var refused atomic.Int32
	r.start(judges(func(context.Context, vuln.Build, scan.Shard) error {
		refused.Add(1)
		return errs.New(errs.Conflict, "another engine")
	}, time.Minute, time.Minute))
	var done tally
	able := r.queue(judges(func(_ context.Context, _ vuln.Build, s scan.Shard) error { done.count(s); return nil }, time.Minute, time.Minute))
	ended := make(chan error, 1)
	go func() { ended <- able.Distribute(t.Context(), candidate, shards(3)) }()
	r.until(`count(*) > 0 FROM river_job WHERE kind = 'judge_shard' AND metadata ? 'snoozes'`)
	if err := able.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = able.Stop(context.Background()) })
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(done.seen) != 3 || refused.Load() == 0 {
		t.Errorf("%d shards judged, %d refused", len(done.seen), refused.Load())
	}
}

func TestShardsThatNobodyEndsComeBackToTheCaller(t *testing.T) {
	for _, c := range []struct {
		name    string
		workers bool
		state   string // of what is left
	}{{"nobody takes them", false, "cancelled"}, {"their worker hangs", true, "cancelled"}} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			stopped := make(chan struct{}, 3)
			o := judges(func(ctx context.Context, _ vuln.Build, _ scan.Shard) error {
				<-ctx.Done()
				stopped <- struct{}{}
				return ctx.Err()
			}, 50*time.Millisecond, 200*time.Millisecond)
			o.Judging.Workers = 3
			leader := r.queue(o)
			if c.workers {
				r.start(o)
			}
			if err := leader.Distribute(t.Context(), candidate, shards(3)); err != nil {
				t.Fatal(err)
			}
			r.until(`count(*) = 3 FROM river_job WHERE kind = 'judge_shard' AND state = '` + c.state + `'`)
			if c.workers {
				<-stopped // what hangs is told to stop
			}
		})
	}
}

func TestShardsOfABuildThatIsNotWantedEnd(t *testing.T) {
	r := newRig(t)
	q := r.start(judges(func(context.Context, vuln.Build, scan.Shard) error {
		return errs.New(errs.Canceled, "no longer the candidate")
	}, time.Minute, time.Minute))
	if err := q.Distribute(t.Context(), candidate, shards(2)); err != nil {
		t.Fatal(err)
	}
	r.until(`count(*) = 2 FROM river_job WHERE kind = 'judge_shard' AND state = 'cancelled'`)
}
