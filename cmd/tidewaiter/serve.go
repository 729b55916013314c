package main

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// serveCmd is tidewaiter serve. Flags with the tag setting:"yes" override a key of
// the configuration; config.Keys names their variables and defaults, and a test
// holds the two together.
type serveCmd struct {
	configFile
	DatabaseURL string `name:"database-url" setting:"yes" placeholder:"URL" help:"Postgres, as postgres://user@host:5432/tidewaiter. A flag can be seen in the list of processes, so prefer the variable for one with a password."`
	Listen      string `setting:"yes" placeholder:"ADDR" help:"Address for webhooks, API and health checks."`
	AdminListen string `setting:"yes" placeholder:"ADDR" help:"Second address, for operators only: metrics and profiles."`
	Receiver    *bool  `setting:"yes" negatable:"" help:"Take webhooks."`
	Workers     *bool  `setting:"yes" negatable:"" help:"Scan images."`
	WorkerCount *int   `setting:"yes" placeholder:"N" help:"Scans at a time."`
	API         *bool  `name:"api" setting:"yes" negatable:"" help:"Serve the JSON API."`
	VulndbDir   string `setting:"yes" placeholder:"DIR" help:"Directory of vulnerability databases."`
	TempDir     string `setting:"yes" placeholder:"DIR" help:"Directory for files a scan needs while it runs."`
	CacheDir    string `setting:"yes" placeholder:"DIR" help:"Directory for image layers that were read."`
	LogLevel    string `setting:"yes" placeholder:"LEVEL" help:"Least level that is logged: debug, info, warn or error."`
	LogFormat   string `setting:"yes" placeholder:"FORM" help:"Form of log lines: text, json, or auto for text on a terminal."`
}

// Help is shown by --help.
func (serveCmd) Help() string {
	return `One process receives webhooks, scans and answers. To scale out, run more of them on the same Postgres, or receivers and workers apart. The schema is brought up to date at the start. The first SIGTERM or Ctrl-C stops in order: no more requests, running scans finish or are queued again; the second stops at once.

    tidewaiter serve --config tidewaiter.yaml

    tidewaiter serve --no-workers                  # receiver and API only

    tidewaiter serve --no-receiver --no-api --worker-count 8`
}

// Run is called by kong.
func (c *serveCmd) Run(ctx context.Context, out *output) error {
	loaded, err := c.load(c.overrides())
	if err != nil {
		return err
	}
	logger, err := telemetry.NewLogger(out.Stderr.raw, loaded.Log.Level, loaded.Log.Format)
	if err != nil {
		return err
	}
	slog.SetDefault(logger)
	build := telemetry.ReadBuild(version)
	logger.InfoContext(ctx, "starting", "version", build.Version, "revision", build.Revision)
	if share := limitMemory(loaded.Workers); share != 0 {
		logger.InfoContext(ctx, "keeping within the memory of this container", "bytes", share)
	}
	service, err := app.New(ctx, app.Options{Config: loaded, Logger: logger, Registry: telemetry.NewRegistry(build), Build: build, Catalogues: true, Console: out.Stderr})
	if err != nil {
		return databaseError(err)
	}
	defer service.Close()
	if err := service.Listen(ctx); err != nil {
		return err
	}
	err = service.Run(ctx)
	logger.InfoContext(ctx, "stopped")
	return err
}

// overrides are the flags that were given, by the variable they stand for.
func (c *serveCmd) overrides() map[string]string {
	byFlag := map[string]string{
		"database-url": c.DatabaseURL, "listen": c.Listen, "admin-listen": c.AdminListen,
		"receiver": boolText(c.Receiver), "workers": boolText(c.Workers), "api": boolText(c.API),
		"vulndb-dir": c.VulndbDir, "temp-dir": c.TempDir, "cache-dir": c.CacheDir, "log-level": c.LogLevel, "log-format": c.LogFormat,
	}
	if c.WorkerCount != nil {
		byFlag["worker-count"] = strconv.Itoa(*c.WorkerCount)
	}
	byVariable := map[string]string{}
	for _, key := range config.Keys() {
		if key.Flag != "" {
			byVariable[key.Env] = byFlag[key.Flag]
		}
	}
	return byVariable
}

// boolText is empty for a flag that was not given.
func boolText(b *bool) string {
	if b == nil {
		return ""
	}
	return strconv.FormatBool(*b)
}
