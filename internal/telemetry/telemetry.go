// Package telemetry sets up what tells people how the service is doing: the
// log handler with ids from the context, the metric registry with build
// information, traces, and the check that holds docs/metrics.md to the metrics
// there are.
//
// It is responsible for form, not content: it must not know any other room but
// errs, and holds no logger, registry or tracer of its own. Only it and its
// back room otlp, which sends traces, know OpenTelemetry: others begin and end
// spans with StartSpan, which does nothing where there are no traces.
package telemetry

import (
	"runtime/debug"
	"time"
)

// Build describes the running program.
type Build struct {
	Version  string    // "v1.2.3", "devel" when built from a checkout without a tag
	Revision string    // commit, with "-dirty" when files were changed; may be empty
	Time     time.Time // of the commit; zero when unknown
	Go       string    // "go1.26.8"
}

// ReadBuild returns what the linker recorded. version, when not empty, wins over
// the recorded version; releases set it.
func ReadBuild(version string) Build {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: firstOf(version, "devel")}
	}
	return buildOf(info, version)
}

func buildOf(info *debug.BuildInfo, version string) Build {
	b := Build{Version: version, Go: info.GoVersion}
	if b.Version == "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	b.Version = firstOf(b.Version, "devel")
	dirty := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			// An unreadable time stays unknown.
			b.Time, _ = time.Parse(time.RFC3339, s.Value)
		case "vcs.modified":
			dirty = s.Value == "true"
		}
	}
	if dirty && b.Revision != "" {
		b.Revision += "-dirty"
	}
	return b
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
