package app

import (
	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/intake"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// catalogOptions translates the configuration for the room that config must not
// import, because it is heavy.
func catalogOptions(c config.Config, metrics *catalog.Metrics) catalog.Options {
	return catalog.Options{
		Metrics: metrics,
		TempDir: c.TempDir, CacheDir: c.LayerCacheDir(), CacheBytes: int64(c.Cache.MaxBytes), KeepFree: int64(c.Cache.KeepFree),
		MaxUncompressedBytes: int64(c.Limits.UnpackedBytes), MaxRatio: int64(c.Limits.UnpackedRatio), MaxEntries: int64(c.Limits.Files),
		MaxPackages: c.Limits.Packages, MaxDocumentBytes: int(c.Limits.DocumentBytes), MaxTime: c.Limits.ImageTime,
	}
}

// intakeSettings does the same for the room on the level of config.
func intakeSettings(c config.Config) intake.Settings {
	return intake.Settings{UntaggedHold: c.Receiver.UntaggedHold, Coalesce: c.Receiver.Coalesce}
}

// vulndbConfig does the same for the library of databases.
func vulndbConfig(c config.Config) vulndb.Config {
	ca := c.VulnDB.CAFile
	if ca == "" {
		ca = c.CAFile
	}
	return vulndb.Config{Dir: c.VulnDB.Dir, URL: c.VulnDB.URL.Reveal(), CAFile: ca}
}
