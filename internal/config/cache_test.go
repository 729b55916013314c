package config

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLayerCacheDir(t *testing.T) {
	t.Setenv("HOME", "/home/tidewaiter")
	t.Setenv("XDG_CACHE_HOME", "/home/tidewaiter/.cache")
	for name, tt := range map[string]struct {
		change func(c *Config)
		want   string
	}{
		"of the user":    {func(*Config) {}, filepath.Join("tidewaiter", "layers")},
		"under temp_dir": {func(c *Config) { c.TempDir = "/scratch" }, filepath.FromSlash("/scratch/layers")},
		"its own":        {func(c *Config) { c.TempDir, c.Cache.Dir = "/scratch", "/layers" }, "/layers"},
		"switched off":   {func(c *Config) { c.Cache.Dir, c.Cache.Enabled = "/layers", false }, ""},
	} {
		c := Default()
		tt.change(&c)
		if got := c.LayerCacheDir(); !strings.HasSuffix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	if got := Default().LayerCacheDir(); got != "" {
		t.Errorf("without a home: %q", got)
	}
}
