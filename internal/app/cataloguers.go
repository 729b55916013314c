package app

import (
	"context"
	"log/slog"
	"os"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
)

// CatalogWorker is the argument that makes a program a worker process.
const CatalogWorker = "catalog-worker"

// Catalogue does what a worker process does: it reads images that the service
// sends, as long as the service lives. It returns only when it could not begin.
func Catalogue() error {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	peer, err := sandbox.Join()
	if err != nil {
		return err
	}
	// It has no database; inventories need none.
	return catalog.Work(peer, match.NewEngine(match.Options{}).Inventory)
}

// newCataloger makes the cataloger, with the processes that it reads images in
// where this process scans.
func (a *App) newCataloger() *catalog.Cataloger {
	var cataloger *catalog.Cataloger
	options := catalogOptions(a.config, catalog.NewMetrics(a.metrics))
	if a.config.Workers.Enabled && a.config.Workers.Isolation == config.IsolationProcess {
		o := workerOptions(a.config)
		o.Logger, o.Metrics = a.logger, sandbox.NewMetrics(a.metrics)
		o.Guard = func() error { return cataloger.Room() }
		sandbox.Hide()
		a.workers = sandbox.New(o)
		options.Workers = a.workers
	}
	cataloger = catalog.New(options)
	return cataloger
}

// workerOptions say what processes that read images may take and reach.
func workerOptions(c config.Config) sandbox.Options {
	temp, stage := absolute(c.TempDir), absolute(c.LayerCacheDir())
	var readable []string
	if stage != "" {
		readable = append(readable, stage)
	} else {
		stage = temp
	}
	return sandbox.Options{
		Args: []string{CatalogWorker}, Count: c.Workers.Count, Jobs: c.Workers.ImagesPerProcess, Memory: int64(c.Limits.Memory),
		Private: []sandbox.Room{
			{Parent: temp, Bytes: int64(c.Limits.TempBytes)},
			// With the indexes, and room for a layer that is read again.
			{Parent: stage, Bytes: 2 * int64(c.Limits.UnpackedBytes)},
		},
		Readable: readable,
	}
}

// TryWorker starts one process that images are read in, with the limits of the
// configuration, and ends it. It returns what this system has no means to keep it
// from; see sandbox.Pool.Try.
func TryWorker(ctx context.Context, c config.Config) (missing []string, err error) {
	o := workerOptions(c)
	o.Count = 1
	for i := range o.Private {
		o.Private[i].Parent = absolute(c.TempDir)
	}
	pool := sandbox.New(o)
	defer pool.Close()
	return pool.Try(ctx)
}
