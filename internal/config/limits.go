package config

import "time"

// Limits bound what one webhook, image or document may cost.
type Limits struct {
	// Largest webhook body.
	WebhookBody Size `yaml:"webhook_body" default:"1MiB"`
	// Largest image: the sum of its compressed layers.
	ImageBytes Size `yaml:"image_bytes" default:"20GiB"`
	// Most layers of an image.
	Layers int `yaml:"layers" default:"512"`
	// Largest image once unpacked: the sum of its uncompressed layers.
	UnpackedBytes Size `yaml:"unpacked_bytes" default:"32GiB"`
	// Largest manifest, index or image config.
	ManifestBytes Size `yaml:"manifest_bytes" default:"8MiB"`
	// Most times its compressed size that a layer may unpack to, beyond its first GiB. What does is a bomb.
	UnpackedRatio int `yaml:"unpacked_ratio" default:"200"`
	// Most files of an image, all layers together. Paths that are very long or deep count more than once.
	Files int `yaml:"files" default:"2000000"`
	// Most packages of an image.
	Packages int `yaml:"packages" default:"200000"`
	// Largest SBOM that is made of an image.
	DocumentBytes Size `yaml:"document_bytes" default:"256MiB"`
	// Time one image may take to be pulled and catalogued.
	ImageTime time.Duration `yaml:"image_time" default:"20m"`
	// Memory that reading one image may take, with `workers.isolation: process` on Linux; `0B` for no limit.
	Memory Size `yaml:"memory" default:"1536MiB"`
	// Room in `temp_dir` that reading one image may take besides what is kept of its layers, with `workers.isolation: process`; `0B` for no limit.
	TempBytes Size `yaml:"temp_bytes" default:"4GiB"`
	// Largest uploaded SBOM.
	SBOMBytes Size `yaml:"sbom_bytes" default:"32MiB"`
}

func (c Config) checkLimits(ps *Problems) {
	l := c.Limits
	// The largest body any sender documents is GitHub's, 25 MiB.
	ps.sizes("limits.webhook_body", l.WebhookBody, 1<<10, 25<<20)
	ps.sizes("limits.image_bytes", l.ImageBytes, 1, 1<<50)
	ps.sizes("limits.unpacked_bytes", l.UnpackedBytes, 1, 1<<50)
	ps.sizes("limits.manifest_bytes", l.ManifestBytes, 1<<10, 64<<20)
	ps.sizes("limits.sbom_bytes", l.SBOMBytes, 1<<10, 1<<30)
	ps.sizes("limits.document_bytes", l.DocumentBytes, 1<<20, 2<<30)
	ps.between("limits.layers", l.Layers, 1, 100_000)
	ps.between("limits.unpacked_ratio", l.UnpackedRatio, 2, 1_000_000)
	ps.between("limits.files", l.Files, 1, 1_000_000_000)
	ps.between("limits.packages", l.Packages, 1, 10_000_000)
	ps.atLeast("limits.image_time", l.ImageTime, time.Second)
	// A process that has read nothing yet takes some 150 MiB.
	if l.Memory != 0 {
		ps.sizes("limits.memory", l.Memory, 256<<20, 1<<50)
	}
	if l.TempBytes != 0 {
		ps.sizes("limits.temp_bytes", l.TempBytes, 1<<20, 1<<50)
	}
}
