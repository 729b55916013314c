package app

import (
	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// catalogOptions translates the configuration for the room that config must not
// import, because it is heavy.
func catalogOptions(c config.Config) catalog.Options {
	return catalog.Options{TempDir: c.TempDir, MaxUncompressedBytes: int64(c.Limits.UnpackedBytes)}
}

// vulndbConfig does the same for the library of databases.
func vulndbConfig(c config.Config) vulndb.Config {
	ca := c.VulnDB.CAFile
	if ca == "" {
		ca = c.CAFile
	}
	return vulndb.Config{Dir: c.VulnDB.Dir, URL: c.VulnDB.URL.Reveal(), CAFile: ca}
}
