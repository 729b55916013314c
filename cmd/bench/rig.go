package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

const secret = "bench-secret"

// rig is a Postgres that keeps its word (fsync on), a registry that notifies,
// and a Tidewaiter with the sample database or a given one.
type rig struct {
	address  string
	registry *localregistry.Registry
	pool     *pgxpool.Pool
	library  *vulndb.Library
	closing  []func()
}

// newRig starts everything in a directory that close removes. database is an
// archive or directory to import; empty for the sample.
func newRig(ctx context.Context, database string, workers bool) (r *rig, err error) {
	dir, err := os.MkdirTemp("", "tidewaiter-bench-")
	if err != nil {
		return nil, err
	}
	r = &rig{closing: []func(){func() { _ = os.RemoveAll(dir) }}}
	defer func(started *rig) { // r is nil where an error is returned
		if err != nil {
			started.close()
		}
	}(r)
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres may run as another user
		return nil, err
	}
	server, err := localpostgres.Start(ctx, localpostgres.Config{DataDir: filepath.Join(dir, "postgres"), Durable: true})
	if err != nil {
		return nil, err
	}
	r.later(func() { _ = server.Stop(context.Background()) })
	if r.address, err = freeAddress(); err != nil {
		return nil, err
	}
	notify := http.Header{"Authorization": {"Bearer " + secret}}
	if r.registry, err = localregistry.Start(ctx, localregistry.Config{Notify: "http://" + r.address + "/webhooks/local", NotifyHeaders: notify}); err != nil {
		return nil, err
	}
	r.later(func() { _ = r.registry.Close(context.Background()) })
	if err := r.importDatabase(ctx, dir, database); err != nil {
		return nil, err
	}
	if r.pool, err = pgxpool.New(ctx, server.URL()); err != nil {
		return nil, err
	}
	r.later(r.pool.Close)
	return r, r.serve(ctx, dir, server.URL(), workers)
}

func (r *rig) later(f func()) { r.closing = append(r.closing, f) }

func (r *rig) close() {
	for _, f := range slices.Backward(r.closing) {
		f()
	}
}

func (r *rig) importDatabase(ctx context.Context, dir, database string) (err error) {
	if r.library, err = vulndb.Open(vulndb.Config{Dir: filepath.Join(dir, "vulndb")}); err != nil {
		return err
	}
	if database == "" {
		built, err := r.library.Build(ctx, vulndb.BuildOptions{Sample: true, Out: filepath.Join(dir, "sample")}, nil)
		if err != nil {
			return err
		}
		database = built.Archive
	}
	_, err = r.library.Import(ctx, database, nil)
	return err
}

func (r *rig) serve(ctx context.Context, dir, database string, workers bool) error {
	path := filepath.Join(dir, "config.yaml")
	text := fmt.Sprintf(`
database: {url: %q, max_conns: 20}
listen: %q
vulndb: {dir: %q, auto_update: false}
cache: {dir: %q}
workers: {enabled: %v, count: 1}
registries:
  - name: local
    host: %q
    plain_http: true
    webhook: {format: distribution, auth: {kind: bearer, secrets: [%q]}}
`, database, r.address, filepath.Join(dir, "vulndb"), filepath.Join(dir, "layers"), workers, r.registry.Host(), secret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	c, err := config.Load(path, os.LookupEnv)
	if err != nil {
		return err
	}
	service, err := app.New(ctx, app.Options{Config: c, Catalogues: true})
	if err != nil {
		return err
	}
	if err := service.Listen(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = service.Run(ctx) }()
	r.later(func() { stop(); <-done })
	return nil
}

// until polls a condition of the database every few milliseconds.
func (r *rig) until(ctx context.Context, condition string, args ...any) error {
	for {
		var ok bool
		if err := r.pool.QueryRow(ctx, "SELECT "+condition, args...).Scan(&ok); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// quantile returns the value below which the share q of the values lie.
func quantile(values []time.Duration, q float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
