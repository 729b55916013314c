// Package localregistry starts a real CNCF Distribution registry inside this
// process, for the quickstart and for tests.
//
// It is responsible for the registry's configuration, its life and what it
// leaves behind. It must not be used to serve anything but a try-out or a test,
// must not know Tidewaiter's webhooks (it is told a URL) and must not import
// testing.
package localregistry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	"github.com/sirupsen/logrus"

	// Distribution finds its drivers and access controllers by name.
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Config says what the registry is like. The zero value is a registry in
// memory on a free loopback port that tells nobody and lets everybody in.
type Config struct {
	// Addr is the address to listen on; empty means 127.0.0.1:0.
	Addr string
	// StorageDir keeps blobs and manifests on disk; empty means in memory.
	StorageDir string
	// Notify is the URL that push and delete events are posted to; empty means
	// none.
	Notify string
	// NotifyHeaders go with every event, as an Authorization does.
	NotifyHeaders http.Header
	// NotifyAll also sends what says nothing about what a tag holds: blobs, mounts
	// and pulls.
	NotifyAll bool
	// Username and Password are asked of every client when both are set.
	Username, Password string
	// PageSize is the most names one page of a list may have; 0 means 1,000, as
	// Distribution has it.
	PageSize int
}

// Registry is a running registry.
type Registry struct {
	app    *handlers.App
	server *http.Server
	host   string
	secret string // directory of the password file; empty when there is none
	done   chan error
	closed sync.Once
	ended  error // how Close went
}

// Start brings a registry up; it answers when Start returns. Stop it with
// Close, which ctx's end does not do. Distribution logs through a logger of the
// whole process, which Start turns down to fatal errors.
//
// Distribution offers no way to end its event queue: one idle goroutine stays
// behind for every registry with a Notify URL.
func Start(ctx context.Context, c Config) (*Registry, error) {
	logrus.SetLevel(logrus.FatalLevel)
	r := &Registry{done: make(chan error, 1)}
	settings, err := r.settings(c)
	if err == nil {
		err = r.serve(ctx, c.Addr, settings)
	}
	if err != nil {
		return nil, errors.Join(errs.Op("localregistry: start", err), r.removeSecret())
	}
	return r, nil
}

// Host returns the registry's host and port, as in an image reference.
func (r *Registry) Host() string { return r.host }

// Close stops serving, waiting for requests under way until ctx ends, and
// removes what Start wrote, but not StorageDir. Closing again does nothing and
// answers the same.
func (r *Registry) Close(ctx context.Context) error {
	r.closed.Do(func() { r.ended = r.close(ctx) })
	return r.ended
}

func (r *Registry) close(ctx context.Context) error {
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, r.server.Close())
	}
	if serveErr := <-r.done; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return errs.Op("localregistry: close", errors.Join(err, r.app.Shutdown(), r.removeSecret()))
}

func (r *Registry) serve(ctx context.Context, addr string, settings *configuration.Configuration) error {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return errs.Wrap(errs.Unavailable, "listen on "+addr, err)
	}
	r.host = listener.Addr().String()
	settings.HTTP.Addr = r.host
	// The registry outlives the call that starts it; Close ends it.
	if r.app, err = newApp(context.WithoutCancel(ctx), settings); err != nil {
		return errors.Join(err, listener.Close())
	}
	r.server = &http.Server{Handler: r.app, ReadHeaderTimeout: 10 * time.Second}
	go func() { r.done <- r.server.Serve(listener) }()
	return nil
}

// newApp builds the registry. Distribution panics on settings it cannot use.
func newApp(ctx context.Context, settings *configuration.Configuration) (app *handlers.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errs.New(errs.Invalid, "distribution registry: %v", p)
		}
	}()
	return handlers.NewApp(ctx, settings), nil
}

func (r *Registry) removeSecret() error {
	if r.secret == "" {
		return nil
	}
	if err := os.RemoveAll(r.secret); err != nil {
		return fmt.Errorf("remove password file: %w", err)
	}
	return nil
}
