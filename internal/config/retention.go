package config

import "time"

// Retention says for how long what is over is kept. Zero keeps it for ever. What is
// still referred to is kept in any case.
type Retention struct {
	// Time between two collections, whichever process makes them; 0 for only on demand, with `tidewaiter collect`.
	Interval time.Duration `yaml:"interval" default:"6h"`
	// Images and other manifests that a repository still has and that no tag leads to, counted from when a collection first found them so. What a tag pointed to within `history` is kept as long as that.
	Untagged time.Duration `yaml:"untagged" default:"90d"`
	// The same for what a repository no longer has.
	Gone time.Duration `yaml:"gone" default:"30d"`
	// SBOMs of images that no tag leads to. Their findings stay; asked for again, such an image is catalogued anew.
	Documents time.Duration `yaml:"sboms" default:"30d"`
	// How far back the past can be asked for: where tags pointed, what was found then, findings that closed.
	History time.Duration `yaml:"history" default:"180d"`
	// Events of findings. They go by whole months.
	Events time.Duration `yaml:"events" default:"365d"`
	// Webhook deliveries, and what was refused.
	Deliveries time.Duration `yaml:"deliveries" default:"90d"`
	// Scans that ended, but for the newest of each tag.
	Scans time.Duration `yaml:"scans" default:"90d"`
	// Reconciliations that ended, but for the newest of each registry.
	Reconciliations time.Duration `yaml:"reconciliations" default:"90d"`
	// The audit log.
	Audit time.Duration `yaml:"audit" default:"365d"`
}

// Coverage counts deliveries up to thirty days back, and a sender is silent by what
// was usual in the weeks before.
const minDeliveries = 30 * 24 * time.Hour

func (c Config) checkRetention(ps *Problems) {
	const day = 24 * time.Hour
	r := c.Retention
	for _, age := range []struct {
		key          string
		value, least time.Duration
	}{
		{"interval", r.Interval, 10 * time.Minute}, {"untagged", r.Untagged, day}, {"gone", r.Gone, day}, {"sboms", r.Documents, day},
		{"history", r.History, day}, {"events", r.Events, day}, {"deliveries", r.Deliveries, minDeliveries}, {"scans", r.Scans, day},
		{"reconciliations", r.Reconciliations, day}, {"audit", r.Audit, day},
	} {
		if age.value != 0 {
			ps.atLeast("retention."+age.key, age.value, age.least)
		}
	}
}
