package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"golang.org/x/mod/semver"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// version is set by the linker in releases: -X main.version=v1.2.3.
var version string

// versionCmd is tidewaiter version. It asks a service only when one is named: its
// version is to be had without.
type versionCmd struct {
	Output string `short:"o" enum:"text,json" default:"text" help:"Form of the answer: text or json."`
	Server string `placeholder:"URL" help:"Tell the version of the service at this address, too."`
	Token  string `placeholder:"TOKEN" env:"TIDEWAITER_TOKEN" help:"API token for that; file:PATH reads it from a file."`
	CAFile string `name:"ca-file" placeholder:"FILE" env:"TIDEWAITER_CA_FILE" help:"PEM file of certificate authorities to trust besides the system's."`
}

// Run is called by kong.
func (c *versionCmd) Run(ctx context.Context, out *output) error {
	b := telemetry.ReadBuild(version)
	answer := versionAnswer{Version: b.Version, Revision: b.Revision, Time: timeText(b.Time), Go: b.Go}
	var server report.Version
	if c.Server != "" {
		var err error
		if server, answer.Server, err = c.ask(ctx); err != nil {
			return err
		}
	}
	var err error
	if c.Output == "json" {
		err = json.NewEncoder(out.Stdout).Encode(answer)
	} else {
		err = answer.write(out.Stdout, server)
	}
	if err == nil && apart(b.Version, server.Version) {
		_, err = fmt.Fprintf(out.Stderr, "note: this program is %s and the service %s: use the same for both\n", line(b.Version), line(server.Version))
	}
	return err
}

func (c *versionCmd) ask(ctx context.Context) (v report.Version, raw json.RawMessage, err error) {
	asked, err := serverFlags{Server: c.Server, Token: c.Token, CAFile: c.CAFile}.client()
	if err != nil {
		return v, nil, err
	}
	if err := asked.get(ctx, "/version", nil, &raw); err != nil {
		return v, nil, err
	}
	if err := json.Unmarshal(raw, &v); err != nil || v.Version == "" {
		return v, nil, errs.New(errs.Malformed, "the answer of %s is no version", asked.base.Host).WithHint(otherServer)
	}
	return v, raw, nil
}

// apart reports whether two releases differ by more than what is repaired in them.
func apart(client, server string) bool {
	return semver.IsValid(client) && semver.IsValid(server) && semver.MajorMinor(client) != semver.MajorMinor(server)
}

// versionAnswer is the JSON form.
type versionAnswer struct {
	Version  string          `json:"version"`
	Revision string          `json:"revision,omitempty"`
	Time     string          `json:"time,omitempty"`
	Go       string          `json:"go"`
	Server   json.RawMessage `json:"server,omitempty"` // as the API answers it
}

func (a versionAnswer) write(w io.Writer, server report.Version) error {
	if _, err := fmt.Fprintf(w, "tidewaiter %s %s\n", named(a.Version, a.Revision, a.Time), a.Go); err != nil || a.Server == nil {
		return err
	}
	at := ""
	if server.Time != nil {
		at = timeText(*server.Time)
	}
	database := "no vulnerability database yet"
	if b := server.Build; b != nil {
		database = fmt.Sprintf("database %s of %s", shortDigest(b.Checksum), b.Built.UTC().Format(time.DateOnly))
		if b.Sample {
			database += " (SAMPLE)"
		}
	}
	text := fmt.Sprintf("service %s %s, %s %s, %s %s, schema %d, %s", named(server.Version, server.Revision, at), server.Go,
		server.Engine.Name, server.Engine.Version, server.Cataloger.Name, server.Cataloger.Version, server.Schema, database)
	_, err := fmt.Fprintln(w, line(text))
	return err
}

// named is a version with what it was made of.
func named(version, revision, at string) string {
	if revision == "" {
		return version
	}
	return fmt.Sprintf("%s (%s, %s)", version, revision, at)
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
