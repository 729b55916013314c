package config

import (
	"os"
	"path/filepath"
)

// Cache keeps what was read of image layers, so that each layer is read once
// whatever images it is in.
type Cache struct {
	// Whether layers that were read are kept.
	Enabled bool `yaml:"enabled" default:"true" env:"TIDEWAITER_CACHE_ENABLED"`
	// Directory for layers that were read. Processes on one machine may share it. Only this service should be able to write there. When empty, `layers` in `temp_dir`, and without that `tidewaiter/layers` in the user's cache directory; where there is neither, nothing is kept.
	Dir string `yaml:"dir" path:"true" env:"TIDEWAITER_CACHE_DIR" flag:"cache-dir"`
	// Most bytes to keep there; the layers that were used longest ago make room.
	MaxBytes Size `yaml:"max_bytes" default:"10GiB" env:"TIDEWAITER_CACHE_MAX_BYTES"`
	// Room on the disk that stays free, of `dir` and of `temp_dir`: kept layers are thrown away for it, and then scans wait. `0B` for none.
	KeepFree Size `yaml:"keep_free" default:"1GiB"`
}

// LayerCacheDir is the directory that layers are kept in; empty when they are
// not.
func (c Config) LayerCacheDir() string {
	switch {
	case !c.Cache.Enabled:
		return ""
	case c.Cache.Dir != "":
		return c.Cache.Dir
	case c.TempDir != "":
		return filepath.Join(c.TempDir, "layers")
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(user, "tidewaiter", "layers")
}

func (c Config) checkCache(ps *Problems) {
	ps.sizes("cache.max_bytes", c.Cache.MaxBytes, 1<<20, 1<<50)
	ps.sizes("cache.keep_free", c.Cache.KeepFree, 0, 1<<50)
}
