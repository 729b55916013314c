package match

import (
	"context"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// answer is the JSON report: the same words as the API's.
type answer struct {
	Reference string           `json:"reference"`
	Image     report.Platform  `json:"image"`
	Build     report.Build     `json:"build"`
	Caveats   []string         `json:"caveats"`
	Findings  []report.Finding `json:"findings"`
}

func (s *Session) writeJSON(_ context.Context, w io.Writer, r Result) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(s.answer(r))
}

func (s *Session) answer(r Result) answer {
	findings := r.Findings()
	b := s.Build()
	return answer{
		Reference: r.Reference,
		Image:     r.platform(findings),
		Build: report.Build{
			Checksum: b.Checksum, SchemaVersion: b.SchemaVersion, Engine: b.Engine, EngineVersion: b.EngineVersion,
			Built: b.Built, AgeSeconds: int64(r.Now.Sub(b.Built) / time.Second), Sample: b.Sample,
		},
		Caveats:  append([]string{}, s.Caveats(r)...),
		Findings: r.listed(findings),
	}
}

// listed leaves out what does not count, unless it is asked for.
func (r Result) listed(findings []report.Finding) []report.Finding {
	if r.ShowIgnored {
		return findings
	}
	return slices.DeleteFunc(slices.Clone(findings), func(f report.Finding) bool { return f.Ignored })
}

func (r Result) platform(findings []report.Finding) report.Platform {
	now := r.Now.UTC().Truncate(time.Second)
	p := report.Platform{
		Digest: r.Manifest.Digest, Kind: r.Manifest.Kind, Platform: r.Manifest.Platform.String(), OSVersion: r.Manifest.Platform.OSVersion,
		State: report.StateDone, Presence: report.Present, Partial: r.Partial,
		Assessment: r.Assess(findings),
		Distro:     r.Inventory.Distro.String(), Packages: len(r.Inventory.Occurrences), ContentSize: r.Manifest.ContentSize,
		Tool: r.Document.Tool, ToolVersion: r.Document.ToolVersion, ScannedAt: &now,
	}
	if !r.EndOfLife.IsZero() {
		p.EndOfLife, p.EndOfLifePassed = &r.EndOfLife, r.EndOfLife.Before(r.Now)
	}
	return p
}

// Assess says what the findings of the image amount to, and what they leave
// out.
func (r Result) Assess(findings []report.Finding) report.Assessment {
	classes := map[string]bool{}
	for _, m := range r.Inventory.Members {
		if name := className(r.Inventory.Packages[m.Package], m); name != "" {
			classes[name] = true
		}
	}
	for _, name := range r.NoData {
		delete(classes, name)
	}
	empty := len(r.Inventory.Members) == 0
	return report.Assess(report.StateDone, &report.Judgement{
		Counts: Count(findings), NoData: r.NoData, Partial: r.Partial, Covered: len(classes) > 0 || empty,
	})
}
