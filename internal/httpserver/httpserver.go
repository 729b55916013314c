// Package httpserver is the plumbing every HTTP face of Tidewaiter stands on: a
// server that drains before it stops, middlewares for request ids, logs,
// metrics, panics and security headers, problem answers, and health.
//
// It must not know any route or any other room of the project but errs: what
// is served is handed to it.
package httpserver

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Options say how to serve. Only Handler is required; zero values stand for the
// defaults named at the fields.
type Options struct {
	// Addr is host:port as net.Listen takes it. Port 0 picks a free one; see
	// Server.Addr. Empty means ":8080".
	Addr    string
	Handler http.Handler
	// TLS serves HTTPS when set; see TLSFiles.
	TLS *tls.Config
	// Logger receives what net/http itself has to say; nil discards it.
	Logger *slog.Logger

	ReadHeaderTimeout time.Duration // 10 s
	BodyTimeout       time.Duration // 60 s to send the whole body
	WriteTimeout      time.Duration // 5 min from header to the end of the answer
	IdleTimeout       time.Duration // 2 min between requests of a connection
	MaxHeaderBytes    int           // 64 KiB
	// DrainTimeout is how long running requests may go on after the stop
	// signal; 20 s.
	DrainTimeout time.Duration
}

func (o Options) withDefaults() Options {
	o.Addr = cmp.Or(o.Addr, ":8080")
	o.ReadHeaderTimeout = cmp.Or(o.ReadHeaderTimeout, 10*time.Second)
	o.BodyTimeout = cmp.Or(o.BodyTimeout, time.Minute)
	o.WriteTimeout = cmp.Or(o.WriteTimeout, 5*time.Minute)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 2*time.Minute)
	o.MaxHeaderBytes = cmp.Or(o.MaxHeaderBytes, 64<<10)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 20*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server serves one address. Make it with New.
type Server struct {
	options  Options
	listener net.Listener
	draining atomic.Bool
}

// New prepares a server; nothing listens yet.
func New(o Options) *Server { return &Server{options: o.withDefaults()} }

// Listen opens the address, so that Addr is known and a taken port is an early
// error. Run calls it when nobody did. The error is of kind Unavailable.
func (s *Server) Listen(ctx context.Context) error {
	if s.listener != nil {
		return nil
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", s.options.Addr)
	if err != nil {
		return &errs.Error{
			Kind: errs.Unavailable, Op: "httpserver: listen on " + s.options.Addr, Err: err,
			Hint: "choose another address with --listen, or stop the program that uses this one",
		}
	}
	if s.options.TLS != nil {
		l = tls.NewListener(l, s.options.TLS)
	}
	s.listener = l
	return nil
}

// Addr returns the address listened on as host:port, "" before Listen.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Handler returns what is served, for tests that need no listener.
func (s *Server) Handler() http.Handler { return s.options.Handler }

// Draining reports whether the server was told to stop.
func (s *Server) Draining() bool { return s.draining.Load() }

// Run serves until ctx ends, then stops accepting and lets running requests
// finish within DrainTimeout. Requests keep the values of ctx and not its end:
// a stop signal does not cut them. What still runs after DrainTimeout is
// canceled and cut off, and Run returns an error of kind Timeout. Run may be
// called once.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := s.httpServer(requests)
	served := make(chan error, 1)
	go func() { served <- server.Serve(s.listener) }()
	select {
	case err := <-served:
		return errs.Wrap(errs.Unavailable, "httpserver: serve "+s.Addr(), err)
	case <-ctx.Done():
	}
	s.draining.Store(true)
	err := drain(requests, server, s.options.DrainTimeout)
	cancel()
	_ = server.Close()
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

func drain(ctx context.Context, server *http.Server, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		return errs.Wrap(errs.Timeout, "httpserver: drain requests", err)
	}
	return nil
}

func (s *Server) httpServer(base context.Context) *http.Server {
	o := s.options
	return &http.Server{
		Handler:           limitBodyTime(o.Handler, o.BodyTimeout),
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		WriteTimeout:      o.WriteTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    o.MaxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
}
