// Package localpostgres runs a private PostgreSQL server on this machine, for
// trying Tidewaiter out and for its tests.
//
// It is responsible for finding (or fetching) the server's programs, for
// creating a cluster in a directory of its own, for starting it on a free
// loopback port under an account Postgres accepts (it refuses root), and for
// leaving no process behind. It must not know Tidewaiter's schema, and it is
// not meant for production: there the database is the operator's.
package localpostgres

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Config says where and how the server runs.
type Config struct {
	// DataDir holds the cluster, its password and its log. It is created when
	// missing and used again when it exists. Required.
	DataDir string
	// Durable keeps what is committed through a crash of the machine. Without
	// it the server is faster and fit for tests only.
	Durable bool
	// Log receives a copy of the server's log when it does not start; nil
	// means the end of the log is only part of the error.
	Log io.Writer
	// Progress is told each step in a few words; nil means silent.
	Progress func(string)
}

// Server is a running PostgreSQL server.
type Server struct {
	root    string
	port    int
	version string
	secret  string
	process *process
	lock    *os.File
}

// Start brings the server up and returns when it accepts connections. On a
// directory that holds a cluster already it starts that cluster; the program
// of the same major version is then needed. A directory in use by another
// process is a Conflict; no program and no network is NotFound with a hint.
//
// On Linux the server ends with this process however that ends. Elsewhere a
// server left behind is taken down by the next Start on its directory.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.DataDir == "" {
		return nil, errs.New(errs.Invalid, "localpostgres: DataDir is empty")
	}
	root, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, errs.Op("localpostgres: data directory", err)
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string) {}
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, errs.Op("localpostgres: data directory", err)
	}
	lock, err := lockDirectory(root)
	if err != nil {
		return nil, err
	}
	s := &Server{root: root, lock: lock}
	if err := s.start(ctx, cfg); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return s, nil
}

// start finds the programs, creates the cluster when there is none, clears
// away what an earlier run left, and runs the server.
func (s *Server) start(ctx context.Context, cfg Config) error {
	c := &cluster{dir: filepath.Join(s.root, "pgdata"), secretFile: filepath.Join(s.root, "password")}
	bin, err := findVersion(ctx, c.major(), cfg.Progress)
	if err != nil {
		return err
	}
	if c.account, err = serverAccount(); err != nil {
		return err
	}
	if s.secret, err = c.create(ctx, bin, cfg.Progress); err != nil {
		return err
	}
	if err := c.clearPrevious(ctx); err != nil {
		return err
	}
	cfg.Progress("starting " + bin.String())
	s.version = bin.version
	s.process, s.port, err = c.run(ctx, bin, cfg, s.urlFor)
	return err
}

// URL returns the connection string of the server's own database, for the
// superuser, with the password.
func (s *Server) URL() string { return s.urlFor(s.port) }

func (s *Server) urlFor(port int) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.secret),
		Host:     fmt.Sprintf("127.0.0.1:%d", port),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Version returns the version of the server, such as "15.12".
func (s *Server) Version() string { return s.version }

// PID returns the process id of the server.
func (s *Server) PID() int { return s.process.pid() }

// Done is closed when the server's process has ended, asked to or not.
func (s *Server) Done() <-chan struct{} { return s.process.done }

// Stop takes the server down, open connections included, and waits for its
// process. When ctx ends first the server is ended without a checkpoint, which
// loses nothing committed but makes the next start slower. Calling it again is
// harmless.
func (s *Server) Stop(ctx context.Context) error {
	defer s.lock.Close()
	if s.process.stop(ctx, signalFast) {
		return nil
	}
	if s.process.end(context.WithoutCancel(ctx)) {
		return errs.New(errs.Timeout, "localpostgres: the server did not stop and was killed")
	}
	return nil
}
