package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
	"github.com/tidewaiter/tidewaiter/internal/localregistry"
)

// sampleTag is what the vulnerable image is pushed as.
const sampleTag = "demo/shop:1.0"

// quickstart is one run: what was asked for, and what is running so far.
type quickstart struct {
	options
	out *console.Console

	postgres *localpostgres.Server
	registry *localregistry.Registry
	service  *child
	program  string // the tidewaiter to run
	secret   string // what the registry proves itself with
	token    string // of the API
	port     int
	host     string // of the registry, as users write it
	note     string // what to say after a step, besides its outcome
}

// run is the whole story. What was started is stopped in any case, last first.
func run(ctx context.Context, o options, out *console.Console) (err error) {
	q := &quickstart{options: o, out: out}
	defer func() { err = errors.Join(err, q.stop()) }()
	for _, part := range []struct {
		name string
		work func(context.Context, func(string)) (string, error)
	}{
		{"postgres", q.startPostgres},
		{"tidewaiter", q.getProgram},
		{"settings", q.configure},
		{"vulnerabilities", q.getDatabase},
		{"serve", q.startService},
		{"registry", q.startRegistry},
		{"push", q.push},
		{"scan", q.waitForScan},
	} {
		work := func(report func(string)) (string, error) { return part.work(ctx, report) }
		if err := out.Step(part.name, work); err != nil {
			return err
		}
		if q.note != "" {
			out.Say("                          %s", q.note)
			q.note = ""
		}
	}
	if err := q.showFindings(ctx); err != nil || o.Exit {
		return err
	}
	q.showNext()
	return q.stay(ctx)
}

// startPostgres comes first: it fails at once, with the package to install,
// where the machine has no PostgreSQL and no network.
func (q *quickstart) startPostgres(ctx context.Context, report func(string)) (string, error) {
	if err := os.MkdirAll(q.Data, 0o755); err != nil {
		return "", errs.Op("make the data directory", err)
	}
	var err error
	q.postgres, err = localpostgres.Start(ctx, localpostgres.Config{
		DataDir: filepath.Join(q.Data, "postgres"), Durable: true, Progress: report,
	})
	if err != nil {
		return "", err
	}
	return "PostgreSQL " + q.postgres.Version() + ", private to this run", nil
}

func (q *quickstart) getProgram(ctx context.Context, report func(string)) (outcome string, err error) {
	q.program, outcome, err = program(ctx, q.Tidewaiter, q.Data, report)
	return outcome, err
}

// startRegistry comes after the service, so that no notification is lost.
func (q *quickstart) startRegistry(ctx context.Context, _ func(string)) (string, error) {
	var err error
	q.registry, err = localregistry.Start(ctx, localregistry.Config{
		Addr:       net.JoinHostPort("127.0.0.1", strconv.Itoa(q.RegistryPort)),
		StorageDir: filepath.Join(q.Data, "registry"),
		Notify:     q.base() + "/webhooks/local", NotifyHeaders: http.Header{"Authorization": {"Bearer " + q.secret}},
	})
	return "CNCF Distribution on " + q.host + ", every push is notified", err
}

// base is the address of the service.
func (q *quickstart) base() string { return "http://127.0.0.1:" + strconv.Itoa(q.port) }

func (q *quickstart) api() api { return api{base: q.base(), token: q.token} }

// stay keeps everything up until ctx ends or a part does.
func (q *quickstart) stay(ctx context.Context) error {
	select {
	case <-ctx.Done():
		q.out.Say("\nstopping")
		return nil
	case <-q.service.done:
		return errs.New(errs.Unavailable, "tidewaiter ended: %v\n%s", q.service.err, logEnd(q.logFile()))
	case <-q.postgres.Done():
		return errs.New(errs.Unavailable, "PostgreSQL ended").WithHint("see %s", filepath.Join(q.Data, "postgres", "postgres.log"))
	}
}

// stop ends what was started: the service before what it needs. The context of
// the run has usually ended by now.
func (q *quickstart) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var all []error
	if q.service != nil {
		all = append(all, q.service.stop(45*time.Second))
	}
	if q.registry != nil {
		all = append(all, q.registry.Close(ctx))
	}
	if q.postgres != nil {
		all = append(all, q.postgres.Stop(ctx))
	}
	return errors.Join(all...)
}
