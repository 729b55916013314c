package app

import (
	"cmp"
	"runtime/debug"

	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// program is what the API says of this program.
func program(b telemetry.Build) report.Version {
	v := report.Version{
		Version: b.Version, Revision: b.Revision, Go: b.Go,
		Engine:    report.ToolVersion{Name: "grype", Version: moduleVersion("github.com/anchore/grype")},
		Cataloger: report.ToolVersion{Name: "syft", Version: moduleVersion("github.com/anchore/syft")},
	}
	if !b.Time.IsZero() {
		v.Time = &b.Time
	}
	return v
}

// moduleVersion is the version of a module that is linked in.
func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Replace != nil {
				m.Version = cmp.Or(m.Replace.Version, m.Version)
			}
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown"
}
