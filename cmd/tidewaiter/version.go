package main

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// version is set by the linker in releases: -X main.version=v1.2.3.
var version string

// versionCmd is tidewaiter version.
type versionCmd struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"Form of the answer: text or json."`
}

// Run is called by kong.
func (c *versionCmd) Run(out *output) error {
	b := telemetry.ReadBuild(version)
	if c.Output == "json" {
		return json.NewEncoder(out.Stdout).Encode(versionAnswer{b.Version, b.Revision, timeText(b.Time), b.Go})
	}
	line := "tidewaiter " + b.Version
	if b.Revision != "" {
		line += fmt.Sprintf(" (%s, %s)", b.Revision, timeText(b.Time))
	}
	_, err := fmt.Fprintf(out.Stdout, "%s %s\n", line, b.Go)
	return err
}

// versionAnswer is the JSON form.
type versionAnswer struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"`
	Go       string `json:"go"`
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
