package queue

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// shardQueue is a line of its own: scans and shards never wait for each other's
// places.
const shardQueue = "shards"

// Judging is how shards of a candidate build are judged. The zero value judges
// none.
type Judging struct {
	// Shard judges a shard with a build. Errors of kind NotFound and Conflict say
	// that this process cannot, Canceled that nobody is to do it any more. It may be
	// called twice for the same shard.
	Shard func(ctx context.Context, build vuln.Build, shard scan.Shard) error
	// Workers is how many shards are judged at once in this process; default 2. They
	// run beside scans.
	Workers int
	// Unclaimed is how long Distribute waits for the first worker to come, Silent
	// how long while shards are being judged and none ends: their worker may be
	// dead. Default 5 and 30 seconds.
	Unclaimed, Silent time.Duration
}

func (j Judging) withDefaults() Judging {
	if j.Workers == 0 {
		j.Workers = 2
	}
	if j.Unclaimed == 0 {
		j.Unclaimed = 5 * time.Second
	}
	if j.Silent == 0 {
		j.Silent = 30 * time.Second
	}
	return j
}

// shardJob is one shard. Its kind and form are stored; they never change.
type shardJob struct {
	Build vuln.Build `json:"build"`
	Shard scan.Shard `json:"shard"`
}

// Kind names the job to River.
func (shardJob) Kind() string { return "judge_shard" }

// shardWorker judges shards.
type shardWorker struct {
	river.WorkerDefaults[shardJob]
	judge func(ctx context.Context, build vuln.Build, shard scan.Shard) error
}

// Work judges one shard. A process that cannot leaves it to another. How long it
// does is by chance: after the second that processes wait between two looks, the
// same one would come first again and again.
func (w *shardWorker) Work(ctx context.Context, job *river.Job[shardJob]) error {
	const longest = 10 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	err := w.judge(ctx, job.Args.Build, job.Args.Shard)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case errs.Is(err, errs.NotFound), errs.Is(err, errs.Conflict):
		return river.JobSnooze(time.Second + rand.N(2*time.Second))
	case errs.Is(err, errs.Canceled):
		return river.JobCancel(err)
	}
	return err
}

// Distribute hands shards to the workers of all processes and returns when all
// have ended, or when nobody takes them, or a worker seems to be dead: what is
// left is then for the caller to judge.
func (q *Queue) Distribute(ctx context.Context, build vuln.Build, shards []scan.Shard) error {
	const attempts = 3
	params := make([]river.InsertManyParams, len(shards))
	for i, s := range shards {
		params[i] = river.InsertManyParams{Args: shardJob{build, s}, InsertOpts: &river.InsertOpts{Queue: shardQueue, MaxAttempts: attempts}}
	}
	inserted, err := q.client.InsertMany(ctx, params)
	if err != nil {
		return errs.Wrap(errs.Unavailable, "queue: distribute shards", err)
	}
	ids := make([]int64, len(inserted))
	for i, one := range inserted {
		ids[i] = one.Job.ID
	}
	defer q.withdraw(ctx, ids)
	return q.await(ctx, ids)
}

// await looks until the jobs are over or waiting is not worth it.
func (q *Queue) await(ctx context.Context, ids []int64) error {
	const every = 100 * time.Millisecond
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	before, news := -1, time.Now()
	for {
		left, running, err := q.open(ctx, ids)
		if err != nil || left == 0 {
			return err
		}
		if left != before {
			before, news = left, time.Now()
		}
		patience := q.options.Judging.Unclaimed
		if running > 0 {
			patience = q.options.Judging.Silent
		}
		if time.Since(news) > patience {
			q.options.Logger.WarnContext(ctx, "shards are not judged by others; doing it here", "shards", left, "taken", running)
			return nil
		}
		select {
		case <-ctx.Done():
			return errs.Op("queue: wait for shards", ctx.Err())
		case <-ticker.C:
		}
	}
}

// open counts the jobs that are not over, and those of them that run.
func (q *Queue) open(ctx context.Context, ids []int64) (left, running int, err error) {
	const query = `
		SELECT count(*), count(*) FILTER (WHERE state = 'running') FROM river_job
		 WHERE id = ANY ($1) AND state NOT IN ('completed', 'cancelled', 'discarded')`
	err = q.options.Pool.QueryRow(ctx, query, ids).Scan(&left, &running)
	return left, running, errs.Wrap(errs.Unavailable, "queue: look at shards", err)
}

// withdraw ends what is left of jobs: the caller does their work.
func (q *Queue) withdraw(ctx context.Context, ids []int64) {
	const query = `SELECT id FROM river_job WHERE id = ANY ($1) AND state NOT IN ('completed', 'cancelled', 'discarded')`
	const deadline = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	found, err := q.options.Pool.Query(ctx, query, ids)
	if err != nil {
		return // they find nothing to do
	}
	var id int64
	var left []int64
	for found.Next() {
		if found.Scan(&id) == nil {
			left = append(left, id)
		}
	}
	found.Close()
	for _, id := range left {
		_, _ = q.client.JobCancel(ctx, id)
	}
}
