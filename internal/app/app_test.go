package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/api/apitest"
	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

const secret = "test-secret"

// service is a whole Tidewaiter on real parts: a Postgres, a Distribution
// registry whose notifications reach it, the sample database.
type service struct {
	t        *testing.T
	registry *localregistry.Registry
	pool     *pgxpool.Pool
	url      string // http://host:port
	token    string
}

// sampleDB is the directory of a library with the sample database, made once.
var sampleDB string

func TestMain(m *testing.M) {
	// The service under test starts this program to read images in.
	if len(os.Args) > 1 && os.Args[1] == app.CatalogWorker {
		fmt.Fprintln(os.Stderr, app.Catalogue())
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "tidewaiter-app-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	sampleDB = filepath.Join(dir, "vulndb")
	if err := installSample(context.Background(), sampleDB, dir); err != nil {
		fmt.Fprintln(os.Stderr, "sample database:", err)
		return 1
	}
	return m.Run()
}

func installSample(ctx context.Context, library, scratch string) error {
	l, err := vulndb.Open(vulndb.Config{Dir: library})
	if err != nil {
		return err
	}
	built, err := l.Build(ctx, vulndb.BuildOptions{Sample: true, Out: filepath.Join(scratch, "archive")}, nil)
	if err != nil {
		return err
	}
	_, err = l.Import(ctx, built.Archive, nil)
	return err
}

// option changes the configuration of a test's service.
type option func(*config.Config)

// start runs a service on a fresh database until the test ends.
func start(t *testing.T, options ...option) *service {
	t.Helper()
	return startOn(t, pgtest.URL(t), options...)
}

// startOn runs a service on a database until the test ends.
func startOn(t *testing.T, url string, options ...option) *service {
	t.Helper()
	s := &service{t: t}
	c := s.config(url)
	for _, o := range options {
		o(&c)
	}
	s.run(c)
	return s
}

// run runs the service until the test ends and expects a clean stop.
func (s *service) run(c config.Config) {
	s.t.Helper()
	end := s.runUntil(c)
	s.t.Cleanup(func() {
		if err := end(); err != nil {
			s.t.Errorf("the service stopped with %v", err)
		}
	})
}

// runUntil runs the service until the function it returns is called, which tells
// how that went.
func (s *service) runUntil(c config.Config) (end func() error) {
	s.t.Helper()
	a, err := app.New(s.t.Context(), app.Options{Config: c, Logger: testLogger(s.t), Catalogues: true})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := a.Listen(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	s.t.Cleanup(stop)
	s.meet("http://"+a.Addr(), c.Database.URL.Reveal())
	return func() error {
		stop()
		return <-done
	}
}

// meet makes a token for the service at an address.
func (s *service) meet(url, database string) {
	s.t.Helper()
	s.url = url
	var err error
	if s.pool, err = pgxpool.New(s.t.Context(), database); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(s.pool.Close)
	name := "test"
	if n := s.count(`api_token WHERE name LIKE 'test%'`); n > 0 {
		name += strconv.Itoa(n + 1)
	}
	if s.token, err = postgres.New(s.pool).CreateToken(s.t.Context(), name, "admin", nil, time.Time{}); err != nil {
		s.t.Fatal(err)
	}
}

// runUntilCleanup runs the app until the test ends and expects a clean stop.
func (s *service) runUntilCleanup(a *app.App) {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Errorf("the service stopped with %v", err)
		}
	})
}

// config starts a registry that notifies an address, and is the configuration of
// a service on that address.
func (s *service) config(database string) config.Config {
	s.t.Helper()
	address := freeAddress(s.t)
	registry, err := localregistry.Start(s.t.Context(), localregistry.Config{
		Notify: "http://" + address + "/webhooks/local", NotifyHeaders: http.Header{"Authorization": {"Bearer " + secret}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = registry.Close(context.Background()) })
	s.registry = registry
	path := filepath.Join(s.t.TempDir(), "config.yaml")
	text := fmt.Sprintf(`
database: {url: %q}
listen: %q
vulndb: {dir: %q, auto_update: false}
cache: {dir: %q}
workers: {count: 2}
receiver: {untagged_hold: 300ms, coalesce: 100ms}
registries:
  - name: local
    host: %q
    aliases: [registry.alias.example]
    plain_http: true
    reconcile: {interval: 0s}
    webhook: {format: distribution, auth: {kind: bearer, secrets: [%q]}}
`, database, address, sampleDB, s.t.TempDir(), registry.Host(), secret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	c, err := config.Load(path, os.LookupEnv)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// push pushes an image or index and returns its digest.
func (s *service) push(what any, ref string) v1.Hash {
	s.t.Helper()
	r, err := name.ParseReference(s.registry.Host()+"/"+ref, name.Insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	var digest v1.Hash
	switch x := what.(type) {
	case v1.Image:
		if err = remote.Write(r, x); err == nil {
			digest, err = x.Digest()
		}
	case v1.ImageIndex:
		if err = remote.WriteIndex(r, x); err == nil {
			digest, err = x.Digest()
		}
	}
	if err != nil {
		s.t.Fatalf("push %s: %v", ref, err)
	}
	return digest
}

// until waits for a condition of the database.
func (s *service) until(condition string, args ...any) {
	s.t.Helper()
	s.untilWithin(3*time.Minute, condition, args...)
}

func (s *service) untilWithin(limit time.Duration, condition string, args ...any) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), limit)
	defer cancel()
	for {
		var ok bool
		if err := s.pool.QueryRow(ctx, "SELECT "+condition, args...).Scan(&ok); err != nil {
			s.t.Fatalf("waiting for %s: %v\nscans: %s", condition, err, s.scans())
		}
		if ok {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *service) scans() (state string) {
	_ = s.pool.QueryRow(context.Background(), `SELECT COALESCE(string_agg(concat_ws(' ', tag, digest, state, reason, detail), E'\n'), 'none') FROM scan`).Scan(&state)
	return state
}

func (s *service) count(query string, args ...any) (n int) {
	s.t.Helper()
	if err := s.pool.QueryRow(s.t.Context(), "SELECT count(*) FROM "+query, args...).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// get reads a path of the API into v and returns the status.
func (s *service) get(path string, v any) int {
	s.t.Helper()
	return s.call(http.MethodGet, path, v)
}

// call is get with another method.
func (s *service) call(method, path string, v any) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	apitest.Check(s.t, req, resp, body)
	if v != nil {
		if err := json.Unmarshal(body, v); err != nil {
			s.t.Fatalf("%s: %v in %s", path, err, body)
		}
	}
	return resp.StatusCode
}

// freeAddress is a loopback address nobody listens on: a registry has to know
// where to send its notifications before the service listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
