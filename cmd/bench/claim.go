package main

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// claimCmd measures what it costs to find the scan whose turn it is.
type claimCmd struct {
	Queued       []int `default:"1000,100000" help:"Scans that wait, a line for each."`
	Repositories int   `default:"50" help:"Repositories they are spread over; the first has half of them."`
	Claims       int   `default:"300" help:"Claims for each line of the table."`
}

// Run is called by kong.
func (c *claimCmd) Run(ctx context.Context) error {
	fmt.Println("| queued | repositories | p50 | p99 | claims/s |")
	fmt.Println("|---:|---:|---:|---:|---:|")
	for _, queued := range c.Queued {
		if err := c.line(ctx, queued); err != nil {
			return err
		}
	}
	return nil
}

func (c *claimCmd) line(ctx context.Context, queued int) error {
	r, err := newRig(ctx, "", false)
	if err != nil {
		return err
	}
	defer r.close()
	store := postgres.New(r.pool)
	if err := c.fill(ctx, store, queued); err != nil {
		return err
	}
	if _, err := r.pool.Exec(ctx, `VACUUM ANALYZE`); err != nil {
		return err
	}
	took := make([]time.Duration, c.Claims)
	var all time.Duration
	for n := range took {
		start := time.Now()
		job, err := store.ClaimScan(ctx)
		took[n] = time.Since(start)
		all += took[n]
		if err != nil {
			return err
		}
		if job == nil {
			return errs.New(errs.Internal, "nothing is due after %d claims", n)
		}
		if err := store.FinishScan(ctx, *job, scan.Result{}, nil); err != nil {
			return err
		}
	}
	fmt.Printf("| %d | %d | %.2f ms | %.2f ms | %.0f |\n", queued, c.Repositories,
		ms(quantile(took, .5)), ms(quantile(took, .99)), float64(len(took))/all.Seconds())
	return nil
}

// fill accepts pushes in large requests: half of them of the first repository.
func (c *claimCmd) fill(ctx context.Context, store *postgres.Store, queued int) error {
	const most = 1000
	batch := make([]postgres.Delivery, 0, most)
	for n := range queued {
		repository := "team/app0"
		if n%2 == 1 {
			repository = fmt.Sprintf("team/app%d", n/2%c.Repositories)
		}
		tag := fmt.Sprint("t", n)
		batch = append(batch, postgres.Delivery{DedupeKey: tag, Action: "push", Repository: repository, Tag: tag, Digest: image.DigestOf([]byte(tag))})
		if len(batch) < most && n+1 < queued {
			continue
		}
		if _, err := store.Accept(ctx, "local", batch, func(context.Context, pgx.Tx, int) error { return nil }); err != nil {
			return err
		}
		batch = batch[:0]
	}
	return nil
}
