package app

import (
	"context"
	"path/filepath"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/intake"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/outbound"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
	"github.com/tidewaiter/tidewaiter/internal/telemetry/otlp"
)

// catalogOptions translates the configuration for the room that config must not
// import, because it is heavy.
func catalogOptions(c config.Config, metrics *catalog.Metrics) catalog.Options {
	return catalog.Options{
		Metrics: metrics,
		TempDir: absolute(c.TempDir), CacheDir: absolute(c.LayerCacheDir()), CacheBytes: int64(c.Cache.MaxBytes), KeepFree: int64(c.Cache.KeepFree),
		MaxUncompressedBytes: int64(c.Limits.UnpackedBytes), MaxRatio: int64(c.Limits.UnpackedRatio), MaxEntries: int64(c.Limits.Files),
		MaxPackages: c.Limits.Packages, MaxDocumentBytes: int(c.Limits.DocumentBytes), MaxTime: c.Limits.ImageTime,
	}
}

// absolute is a path that means the same in a process with another working
// directory, as those that read images have. Empty stays empty.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// intakeSettings does the same for the room on the level of config.
func intakeSettings(c config.Config) intake.Settings {
	return intake.Settings{UntaggedHold: c.Receiver.UntaggedHold, Coalesce: c.Receiver.Coalesce}
}

// VulnDBConfig does the same for the library of databases.
func VulnDBConfig(c config.Config) vulndb.Config {
	ca := c.VulnDB.CAFile
	if ca == "" {
		ca = c.CAFile
	}
	return vulndb.Config{Dir: c.VulnDB.Dir, URL: c.VulnDB.URL.Reveal(), CAFile: ca}
}

// newTracer makes what sends traces; nil where none are wanted.
func newTracer(ctx context.Context, o Options) (*telemetry.Tracer, error) {
	t := o.Config.Telemetry
	if t.OTLPEndpoint == "" {
		return nil, nil
	}
	headers, err := t.Headers()
	if err != nil {
		return nil, errs.Op("app: telemetry.otlp_headers", err)
	}
	ca := t.CAFile
	if ca == "" {
		ca = o.Config.CAFile
	}
	roots, err := outbound.Roots(ca)
	if err != nil {
		return nil, errs.Op("app: telemetry.ca_file", err)
	}
	return otlp.New(ctx, otlp.Settings{
		Endpoint: t.OTLPEndpoint.Reveal(), Headers: headers, Roots: roots, Share: float64(t.SamplePercent) / 100,
		Service: t.ServiceName, Build: o.Build, Logger: o.Logger,
	})
}
