//go:build chaos

package app_test

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

// hostileSizes are real sizes, under the limits that people have who set none.
var hostileSizes = sizes{
	entries: 1_000_000, tooManyEntries: 2_500_000, packages: 50_000, tooManyPackages: 300_000, layers: 10_000,
	padding: 5 << 20, manifest: 5 << 20, config: 64 << 20, history: 1_000_000, images: 300, objects: 1_000_000, chain: 100_000, depth: 3_000_000,
	bomb: 10 << 30, archive: 4 << 30, archives: 3, text: 500 << 20, pax: 100 << 20, release: 500 << 20,
	bombs: "bomb", crowd: "memory", held: 3 << 30, wait: 40 * time.Minute,
	limits: func(*config.Config) {},
}
