package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// yard is what all measured services share: a Postgres server, a registry with
// the images, and the vulnerability database.
type yard struct {
	dir      string
	program  string
	server   *localpostgres.Server
	admin    *pgxpool.Pool
	registry *localregistry.Registry
	library  *vulndb.Library
	services int
	closing  []func()
}

func newYard(ctx context.Context, database, program string) (*yard, error) {
	dir, err := os.MkdirTemp("", "tidewaiter-bench-")
	if err != nil {
		return nil, err
	}
	y := &yard{dir: dir, closing: []func(){func() { _ = os.RemoveAll(dir) }}}
	if err := y.build(ctx, database, program); err != nil {
		y.close()
		return nil, err
	}
	return y, nil
}

func (y *yard) build(ctx context.Context, database, program string) (err error) {
	if y.program, err = filepath.Abs(program); err != nil {
		return err
	}
	if err := os.Chmod(y.dir, 0o755); err != nil { // Postgres may run as another user
		return err
	}
	if y.server, err = localpostgres.Start(ctx, localpostgres.Config{DataDir: filepath.Join(y.dir, "postgres"), Durable: true}); err != nil {
		return err
	}
	y.later(func() { _ = y.server.Stop(context.Background()) })
	if y.admin, err = pgxpool.New(ctx, y.server.URL()); err != nil {
		return err
	}
	y.later(y.admin.Close)
	if y.registry, err = localregistry.Start(ctx, localregistry.Config{StorageDir: filepath.Join(y.dir, "registry")}); err != nil {
		return err
	}
	y.later(func() { _ = y.registry.Close(context.Background()) })
	if y.library, err = vulndb.Open(vulndb.Config{Dir: filepath.Join(y.dir, "vulndb")}); err != nil {
		return err
	}
	progress("importing the vulnerability database")
	_, err = y.library.Import(ctx, database, nil)
	return err
}

func (y *yard) later(f func()) { y.closing = append(y.closing, f) }

func (y *yard) close() {
	for _, f := range slices.Backward(y.closing) {
		f()
	}
}

// push writes an image to the registry, which tells nobody.
func (y *yard) push(ctx context.Context, img v1.Image, repository, tag string) (v1.Hash, error) {
	ref, err := name.NewTag(y.registry.Host()+"/"+repository+":"+tag, name.Insecure)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return v1.Hash{}, err
	}
	return img.Digest()
}

// berth is one service with a database and a cache of its own: it knows nothing.
type berth struct {
	*yard
	dir     string
	address string
	admin   string
	pool    *pgxpool.Pool
	process *exec.Cmd
	done    chan error
	client  *http.Client
}

// berth starts a service and lets it scan a trivial image, so that what it
// builds once is built.
func (y *yard) berth(ctx context.Context, workers int) (*berth, error) {
	y.services++
	name := fmt.Sprintf("bench_%d", y.services)
	b := &berth{yard: y, dir: filepath.Join(y.dir, name), done: make(chan error, 1), client: &http.Client{}}
	if err := b.prepare(ctx, name, workers); err != nil {
		b.stop()
		return nil, err
	}
	return b, nil
}

func (b *berth) prepare(ctx context.Context, name string, workers int) error {
	if err := os.MkdirAll(filepath.Join(b.dir, "tmp"), 0o755); err != nil {
		return err
	}
	if _, err := b.yard.admin.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
		return err
	}
	database, err := url.Parse(b.server.URL())
	if err != nil {
		return err
	}
	database.Path = "/" + name
	if b.pool, err = pgxpool.New(ctx, database.String()); err != nil {
		return err
	}
	if err := b.start(ctx, database.String(), workers); err != nil {
		return err
	}
	trivial, err := sampleimage.Build(sampleimage.Content{Distro: sampleimage.Alpine("3.18.4")})
	if err != nil {
		return err
	}
	return b.scan(ctx, trivial, "bench/trivial", "warm")
}

func (b *berth) start(ctx context.Context, database string, workers int) (err error) {
	if b.address, err = freeAddress(); err != nil {
		return err
	}
	if b.admin, err = freeAddress(); err != nil {
		return err
	}
	path := filepath.Join(b.dir, "config.yaml")
	text := fmt.Sprintf(`
database: {url: %q, max_conns: 20}
listen: %q
admin_listen: %q
log: {level: warn, format: text}
temp_dir: %q
vulndb: {dir: %q, auto_update: false}
workers: {enabled: true, count: %d}
registries:
  - name: local
    host: %q
    plain_http: true
    webhook: {format: distribution, auth: {kind: bearer, secrets: [%q]}}
    reconcile: {lister: none} # it would find the images before they are told of
`, database, b.address, b.admin, filepath.Join(b.dir, "tmp"), filepath.Join(b.yard.dir, "vulndb"), workers, b.registry.Host(), secret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	b.process = exec.Command(b.program, "serve", "--config", path)
	b.process.Stdout, b.process.Stderr = os.Stderr, os.Stderr
	if err := b.process.Start(); err != nil {
		return err
	}
	go func() { b.done <- b.process.Wait() }()
	return b.until(ctx, func(ctx context.Context) (bool, error) {
		resp, err := b.client.Get("http://" + b.address + "/readyz")
		if err != nil {
			return false, nil
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.StatusCode == http.StatusOK, nil
	})
}

// pid is that of the service.
func (b *berth) pid() int { return b.process.Process.Pid }

var errEnded = errors.New("the service ended")

// until waits for a condition; it is an error when the service ends before.
func (b *berth) until(ctx context.Context, condition func(context.Context) (bool, error)) error {
	const pause = 25 * time.Millisecond // each look takes a little of the machine
	for {
		if ok, err := condition(ctx); err != nil || ok {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-b.done:
			b.done <- err
			return errors.Join(errEnded, err)
		case <-time.After(pause):
		}
	}
}

// stop ends the service and removes what it wrote.
func (b *berth) stop() {
	if b.process != nil && b.process.Process != nil {
		_ = b.process.Process.Signal(syscall.SIGTERM)
		select {
		case <-b.done:
		case <-time.After(20 * time.Second):
			_ = b.process.Process.Kill()
			<-b.done
		}
	}
	if b.pool != nil {
		database := b.pool.Config().ConnConfig.Database
		b.pool.Close()
		_, _ = b.yard.admin.Exec(context.Background(), "DROP DATABASE "+pgx.Identifier{database}.Sanitize()+" WITH (FORCE)")
	}
	_ = os.RemoveAll(b.dir)
}
