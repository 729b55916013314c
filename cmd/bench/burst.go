package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// burstCmd measures a burst of deliveries as it comes: events arrive at a pace
// of their own, whether or not the ones before are answered. Beside it stands the
// least any durable receiver does: one INSERT and one commit.
type burstCmd struct {
	Events int           `default:"5000" help:"Events of the burst."`
	Over   time.Duration `default:"10s" help:"Time over which they arrive."`
	Runs   int           `default:"3" help:"Runs; the median of each figure is printed."`
}

// target is an endpoint that a burst goes to.
type target struct {
	name    string
	url     string
	durable string // query that counts what is stored under a prefix, $1
}

// Run is called by kong.
func (c *burstCmd) Run(ctx context.Context) error {
	r, err := newRig(ctx, "", false)
	if err != nil {
		return err
	}
	defer r.close()
	// As many connections as the service has.
	config := r.pool.Config()
	config.MaxConns = 20
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	bare, stop, err := bareInsert(ctx, pool)
	if err != nil {
		return err
	}
	defer stop()
	targets := []target{
		{"bare INSERT", bare, `SELECT count(*) FROM bench_bare WHERE body LIKE '%"' || $1 || '-%'`},
		{"tidewaiter", "http://" + r.address + "/webhooks/local", `SELECT count(*) FROM delivery WHERE event_id LIKE $1 || '-%' AND scan_id IS NOT NULL`},
	}
	fmt.Println("| endpoint | events | over | p50 | p99 | most | durable before their answer |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|")
	results := map[string][]burst{}
	for run := range c.Runs {
		for _, t := range targets {
			b, err := c.send(ctx, r, t, fmt.Sprintf("burst%d", run))
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			results[t.name] = append(results[t.name], b)
		}
	}
	for _, t := range targets {
		printBurst(t.name, c, results[t.name])
	}
	return nil
}

// burst is how one run went.
type burst struct {
	p50, p99, most, all time.Duration
	stored              int
}

func printBurst(name string, c *burstCmd, runs []burst) {
	median := func(of func(burst) time.Duration) time.Duration {
		var all []time.Duration
		for _, r := range runs {
			all = append(all, of(r))
		}
		return quantile(all, .5)
	}
	stored := runs[0].stored
	for _, r := range runs {
		stored = min(stored, r.stored)
	}
	fmt.Printf("| %s | %d | %.1f s | %.1f ms | %.1f ms | %.1f ms | %d |\n", name, c.Events,
		median(func(b burst) time.Duration { return b.all }).Seconds(),
		ms(median(func(b burst) time.Duration { return b.p50 })), ms(median(func(b burst) time.Duration { return b.p99 })),
		ms(median(func(b burst) time.Duration { return b.most })), stored)
}

// send lets the events loose at even pace and measures each from the moment it
// was due, so that a receiver that falls behind cannot hide it.
func (c *burstCmd) send(ctx context.Context, r *rig, t target, prefix string) (burst, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 512, MaxConnsPerHost: 512}}
	defer client.CloseIdleConnections()
	took := make([]time.Duration, c.Events)
	failures := make(chan error, c.Events)
	var group sync.WaitGroup
	start := time.Now()
	for n := range c.Events {
		due := start.Add(c.Over * time.Duration(n) / time.Duration(c.Events))
		time.Sleep(time.Until(due))
		group.Go(func() {
			if err := deliver(ctx, client, t.url, r.registry.Host(), fmt.Sprintf("%s-%d", prefix, n)); err != nil {
				failures <- err
				return
			}
			took[n] = time.Since(due)
		})
	}
	group.Wait()
	b := burst{all: time.Since(start), p50: quantile(took, .5), p99: quantile(took, .99), most: quantile(took, 1)}
	close(failures)
	if err := <-failures; err != nil {
		return b, err
	}
	return b, r.pool.QueryRow(ctx, t.durable, prefix).Scan(&b.stored)
}

// deliver posts a push of a tag of its own.
func deliver(ctx context.Context, client *http.Client, url, host, id string) error {
	body := fmt.Sprintf(`{"events":[{"id":%q,"timestamp":%q,"action":"push","target":{"mediaType":%q,"digest":%q,"repository":"team/app","tag":%q},"request":{"host":%q}}]}`,
		id, time.Now().UTC().Format(time.RFC3339Nano), image.MediaTypeOCIManifest, image.DigestOf([]byte(id)), id, host)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/vnd.docker.distribution.events.v2+json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("answered %d: %s", resp.StatusCode, answer)
	}
	return nil
}

// bareInsert serves an endpoint that stores the body in one statement and knows
// nothing else.
func bareInsert(ctx context.Context, pool *pgxpool.Pool) (url string, stop func(), err error) {
	const create = `CREATE TABLE bench_bare (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL)`
	const insert = `INSERT INTO bench_bare (body) VALUES ($1)`
	if _, err := pool.Exec(ctx, create); err != nil {
		return "", nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			_, err = pool.Exec(r.Context(), insert, string(body))
		}
		if err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})}
	go func() { _ = server.Serve(listener) }()
	return "http://" + listener.Addr().String(), func() { _ = server.Close() }, nil
}
