package app

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// thresholds translates the configuration; nil when builds are never held.
func thresholds(c config.Hold) *scan.Thresholds {
	if !c.Enabled {
		return nil
	}
	return &scan.Thresholds{
		Closed: c.ClosedPercent, ScopeClosed: c.ScopeClosedPercent, MinMatches: c.MinMatches,
		Records: c.RecordsPercent, MinRecords: c.MinRecords,
	}
}

// breaker looks at what a build would change; nil where nothing can be wrong with
// that: for the very first one, and for one that takes the place of a sample.
func (k *keeper) breaker(active vuln.Build) func(context.Context, scan.BuildReport) (string, error) {
	if k.hold == nil || active.Checksum == "" || active.Sample {
		return nil
	}
	return func(_ context.Context, r scan.BuildReport) (string, error) { return k.hold.Hold(r), nil }
}

// tellHeld raises the alarm about a build that waits for a person.
func (k *keeper) tellHeld(ctx context.Context, in vulndb.Installed, why string) {
	k.logger.ErrorContext(ctx, "vulnerability database held: it waits for a person, answers stay with the one in force",
		"checksum", in.Checksum, "built", in.Built, "reason", why,
		"hint", "look at it with `tidewaiter vulndb diff`, then `tidewaiter vulndb release` or `tidewaiter vulndb discard`")
}
