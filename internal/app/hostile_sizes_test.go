//go:build !chaos

package app_test

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

// hostileSizes are how large hostile images are, and the limits they meet: small
// ones here, real ones with the tag chaos.
var hostileSizes = sizes{
	entries: 5_000, tooManyEntries: 20_000, packages: 500, tooManyPackages: 2_000, layers: 100,
	padding: 900 << 10, manifest: 3 << 20, config: 2 << 20, history: 60_000, images: 300, objects: 100_000, chain: 2_000, depth: 100_000,
	bomb: 200 << 20, archive: 20 << 20, archives: 5, text: 20 << 20, pax: 3 << 20, release: 1 << 20,
	bombs: "too_large", crowd: "packages", held: 1 << 30, wait: 10 * time.Minute,
	limits: func(c *config.Config) {
		c.Limits.ImageBytes, c.Limits.UnpackedBytes, c.Limits.ManifestBytes = 8<<20, 128<<20, 1<<20
		c.Limits.Layers, c.Limits.Files, c.Limits.Packages = 50, 10_000, 1_000
	},
}
