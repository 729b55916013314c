//go:build chaos

// Killing the service and the database while images are pushed: `make chaos`.
package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

const (
	chaosPushes  = 200
	chaosSecret  = "chaos-secret"
	chaosWorkers = 2
)

// chaos is a service in a process of its own that can be killed.
type chaos struct {
	t        *testing.T
	binary   string
	config   string
	address  string
	registry *localregistry.Registry
	pool     *pgxpool.Pool
	token    string // of the API, once asked for
	extra    string // another line of the registry's configuration

	mu      sync.Mutex
	process *exec.Cmd
	kills   int
}

func TestEveryPushEndsDoneOnceWhateverDies(t *testing.T) {
	for _, c := range []struct {
		name  string
		upset func(*chaos, context.Context)
	}{
		{"the service is killed at random", (*chaos).killService},
		{"the database crashes twice", (*chaos).crashDatabase},
	} {
		t.Run(c.name, func(t *testing.T) { newChaos(t).run(c.upset) })
	}
}

func (c *chaos) run(upset func(*chaos, context.Context)) {
	pushing, pushed := context.WithCancel(c.t.Context())
	upsetting := make(chan struct{})
	go func() {
		defer close(upsetting)
		upset(c, pushing)
	}()
	start := time.Now()
	c.pushAll()
	took := time.Since(start)
	pushed()
	<-upsetting
	c.restart() // the last word is a killed process and a new one
	settled := time.Now()
	c.until(3*time.Minute, fmt.Sprintf(`(SELECT count(*) FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.state = 'done') = %d
		AND NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`, chaosPushes))
	c.t.Logf("%d pushes in %.0f s, %d deaths; all done %.0f s after the last restart", chaosPushes, took.Seconds(), c.kills, time.Since(settled).Seconds())
	c.never("scan ended twice for one push", `SELECT count(*) FROM (SELECT repository_id, tag FROM scan WHERE state = 'done' GROUP BY 1, 2 HAVING count(*) > 1) x`)
	c.never("scan failed", `SELECT count(*) FROM scan WHERE state = 'failed'`)
	c.never("finding opened twice", `SELECT count(*) FROM (SELECT repository_id, package_type, package_name, vulnerability FROM finding_event WHERE kind = 'opened' GROUP BY 1, 2, 3, 4 HAVING count(*) > 1) x`)
	c.never("lease left behind", `SELECT count(*) FROM manifest WHERE lease_token IS NOT NULL`)
	var sboms, inventories, retried int
	c.scan(`SELECT (SELECT count(*) FROM sbom), (SELECT count(*) FROM inventory), (SELECT count(*) FROM scan WHERE attempt > 1)`, &sboms, &inventories, &retried)
	c.t.Logf("%d SBOMs, %d inventories, %d scans needed another attempt", sboms, inventories, retried)
	if sboms != chaosPushes || inventories != chaosPushes {
		c.t.Errorf("%d SBOMs and %d inventories for %d different images", sboms, inventories, chaosPushes)
	}
}

// killService kills the process at random moments and starts it again.
func (c *chaos) killService(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(2000+rand.IntN(8000)) * time.Millisecond):
			c.restart()
		}
	}
}

// crashDatabase kills a backend of Postgres, upon which it ends every
// connection and recovers.
func (c *chaos) crashDatabase(ctx context.Context) {
	for range 2 {
		select {
		case <-ctx.Done():
		case <-time.After(4 * time.Second):
		}
		var pid int
		c.scan(`SELECT pg_backend_pid()`, &pid)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			c.t.Error(err)
		}
		c.kills++
	}
}

// newChaos starts a service whose registry tells it of pushes.
func newChaos(t *testing.T) *chaos {
	address := freeAddress(t)
	registry, err := localregistry.Start(t.Context(), localregistry.Config{
		Notify: "http://" + address + "/webhooks/local", NotifyHeaders: http.Header{"Authorization": {"Bearer " + chaosSecret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close(context.Background()) })
	return newChaosAt(t, address, registry, "")
}

// newChaosAt starts a service at an address, beside a registry; extra is another
// line of that registry's configuration.
func newChaosAt(t *testing.T, address string, registry *localregistry.Registry, extra string) *chaos {
	c := prepareChaos(t, address, registry, extra)
	c.start()
	t.Cleanup(c.kill)
	return c
}

// prepareChaos makes everything ready for a service and starts none.
func prepareChaos(t *testing.T, address string, registry *localregistry.Registry, extra string) *chaos {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	c := &chaos{t: t, binary: filepath.Join(dir, "tidewaiter"), config: filepath.Join(dir, "config.yaml"), address: address, registry: registry, extra: extra}
	c.command("go", "build", "-o", c.binary, "../../cmd/tidewaiter")
	server, err := localpostgres.Start(t.Context(), localpostgres.Config{DataDir: filepath.Join(dir, "postgres"), Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	if c.pool, err = pgxpool.New(t.Context(), server.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.pool.Close)
	c.configure(dir, server.URL())
	return c
}

func (c *chaos) configure(dir, url string) {
	text := fmt.Sprintf(`
database: {url: %q}
listen: %q
vulndb: {dir: %q, auto_update: false}
cache: {dir: %q}
workers: {count: %d}
registries:
  - name: local
    host: %q
    plain_http: true
    webhook: {format: distribution, auth: {kind: bearer, secrets: [%q]}}
    %s
`, url, c.address, filepath.Join(dir, "vulndb"), filepath.Join(dir, "layers"), chaosWorkers, c.registry.Host(), chaosSecret, c.extra)
	if err := os.WriteFile(c.config, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	archive := filepath.Join(dir, "sample")
	c.command(c.binary, "vulndb", "build", "--sample", "--out", archive, "--vulndb-dir", filepath.Join(dir, "vulndb"))
	found, err := filepath.Glob(archive + "*")
	if err != nil || len(found) == 0 {
		c.t.Fatalf("no archive at %s: %v", archive, err)
	}
	c.command(c.binary, "vulndb", "import", found[0], "--vulndb-dir", filepath.Join(dir, "vulndb"))
}

func (c *chaos) command(name string, args ...string) {
	c.t.Helper()
	if out, err := exec.CommandContext(c.t.Context(), name, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func (c *chaos) start() {
	c.process = exec.Command(c.binary, "serve", "--config", c.config, "--log-level", "warn")
	c.process.Stderr = os.Stderr
	if err := c.process.Start(); err != nil {
		c.t.Error(err)
	}
}

func (c *chaos) kill() {
	_ = c.process.Process.Kill()
	_ = c.process.Wait()
}

func (c *chaos) restart() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kill()
	c.kills++
	c.start()
}

// pushAll pushes different images under different tags of eight repositories.
func (c *chaos) pushAll() {
	var pushers sync.WaitGroup
	next := make(chan int)
	for range 4 {
		pushers.Go(func() {
			for n := range next {
				c.push(n)
			}
		})
	}
	for n := range chaosPushes {
		next <- n
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
	}
	close(next)
	pushers.Wait()
}

func (c *chaos) push(n int) {
	img, err := sampleimage.Build(sampleimage.Content{
		Distro: sampleimage.Debian12(),
		NPM:    []sampleimage.Package{{Name: "lodash", Version: "4.17.15"}, {Name: "chaos", Version: fmt.Sprintf("1.0.%d", n)}},
	})
	if err == nil {
		var ref name.Reference
		ref, err = name.ParseReference(fmt.Sprintf("%s/team/app%d:v%d", c.registry.Host(), n%8, n), name.Insecure)
		if err == nil {
			err = remote.Write(ref, img, remote.WithContext(c.t.Context()))
		}
	}
	if err != nil {
		c.t.Errorf("push %d: %v", n, err)
	}
}

// scan runs a query, again while the database recovers.
func (c *chaos) scan(query string, into ...any) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := c.pool.QueryRow(context.Background(), query).Scan(into...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: %v", query, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *chaos) until(limit time.Duration, condition string) {
	c.t.Helper()
	deadline := time.Now().Add(limit)
	for {
		var ok bool
		c.scan("SELECT "+condition, &ok)
		if ok {
			return
		}
		if time.Now().After(deadline) {
			var state string
			c.scan(`SELECT COALESCE(string_agg(s, '; '), '') FROM (SELECT state || '/' || reason || ' ' || count(*) || ' ' || min(detail) AS s FROM scan GROUP BY state, reason) x`, &state)
			c.t.Fatalf("after %v not true: %s\nscans: %s", limit, condition, state)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *chaos) never(what, query string) {
	c.t.Helper()
	var n int
	c.scan(query, &n)
	if n != 0 {
		c.t.Errorf("%s: %d", what, n)
	}
}
