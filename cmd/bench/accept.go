package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// acceptCmd measures the receiver alone: the answer comes after the commit, so
// what is counted is durable.
type acceptCmd struct {
	Events      int   `default:"4000" help:"Events for each line of the table."`
	Concurrency []int `default:"1,4,16" help:"Senders at once, a line for each."`
}

// Run is called by kong.
func (c *acceptCmd) Run(ctx context.Context) error {
	r, err := newRig(ctx, "", false)
	if err != nil {
		return err
	}
	defer r.close()
	fmt.Println("| senders | events | p50 | p99 | events/s durable |")
	fmt.Println("|---:|---:|---:|---:|---:|")
	if _, _, err := c.load(ctx, r, 2, 200, "warm"); err != nil {
		return err
	}
	for _, n := range c.Concurrency {
		took, all, err := c.load(ctx, r, n, c.Events, fmt.Sprint("run", n))
		if err != nil {
			return err
		}
		fmt.Printf("| %d | %d | %.1f ms | %.1f ms | %.0f |\n", n, len(took), ms(quantile(took, .5)), ms(quantile(took, .99)), float64(len(took))/all.Seconds())
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// load sends events from several senders at once; each is a push of another tag.
func (c *acceptCmd) load(ctx context.Context, r *rig, senders, events int, prefix string) (took []time.Duration, all time.Duration, err error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: senders}}
	defer client.CloseIdleConnections()
	took = make([]time.Duration, events)
	failures := make(chan error, senders)
	var next atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for range senders {
		group.Go(func() {
			for n := int(next.Add(1)) - 1; n < events; n = int(next.Add(1)) - 1 {
				begin := time.Now()
				if err := deliver(ctx, client, "http://"+r.address+"/webhooks/local", r.registry.Host(), fmt.Sprintf("%s-%d", prefix, n)); err != nil {
					failures <- err
					return
				}
				took[n] = time.Since(begin)
			}
		})
	}
	group.Wait()
	close(failures)
	return took, time.Since(start), <-failures
}
