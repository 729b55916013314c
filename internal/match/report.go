package match

import (
	"context"
	"io"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Result is what one session said of one image. Reports are made from it.
type Result struct {
	// Reference is what was asked for, in the words of whoever asked.
	Reference string
	Manifest  scan.Manifest
	Document  sbom.Document
	Inventory *inventory.Inventory
	// Judgements are at the index of Inventory.Packages.
	Judgements      []inventory.Judgement
	Vulnerabilities []vuln.Vulnerability
	NoData          []string
	EndOfLife       time.Time // zero when unknown
	Partial         string    // why the catalogue cannot be whole; empty otherwise
	// ShowIgnored has JSON and Table list findings that do not count.
	ShowIgnored bool
	// Tool is the version of Tidewaiter.
	Tool string
	// Now is when the report is made.
	Now time.Time
}

// Format names a report format.
type Format string

// The formats. All but JSON and Table are those other tools read.
const (
	Table     Format = "table"
	JSON      Format = "json"
	GrypeJSON Format = "grype-json"
	SARIF     Format = "sarif"
	CycloneDX Format = "cyclonedx-json"
)

// Report writes what the session found in an image. The error is of kind
// Invalid for an unknown format.
func (s *Session) Report(ctx context.Context, w io.Writer, format Format, r Result) error {
	write, ok := map[Format]func(context.Context, io.Writer, Result) error{
		Table: s.writeTable, JSON: s.writeJSON, GrypeJSON: s.writeGrypeJSON, SARIF: s.writeSARIF, CycloneDX: s.writeCycloneDX,
	}[format]
	if !ok {
		return errs.New(errs.Invalid, "match: unknown report format %.40q", format)
	}
	return errs.Op("match: report "+string(format), write(ctx, w, r))
}

// JudgeImage judges everything in an inventory and describes what it found. Of
// the result only what the session says is filled in.
func (s *Session) JudgeImage(ctx context.Context, inv *inventory.Inventory) (Result, error) {
	r := Result{Inventory: inv, Now: time.Now()}
	var err error
	if r.Judgements, err = s.Judge(ctx, inv.Packages); err != nil {
		return Result{}, err
	}
	var refs []vuln.Ref
	seen := map[vuln.Ref]bool{}
	for _, j := range r.Judgements {
		for _, m := range j.Matches {
			if !seen[m.Ref] {
				seen[m.Ref] = true
				refs = append(refs, m.Ref)
			}
		}
	}
	if r.Vulnerabilities, err = s.Vulnerabilities(ctx, refs); err != nil {
		return Result{}, err
	}
	r.NoData, r.EndOfLife, err = s.Coverage(ctx, inv)
	return r, err
}
