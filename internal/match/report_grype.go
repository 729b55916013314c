package match

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/anchore/clio"
	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	grypejson "github.com/anchore/grype/grype/presenter/json"
	"github.com/anchore/grype/grype/presenter/models"
	"github.com/anchore/grype/grype/vulnerability"
	syftsbom "github.com/anchore/syft/syft/sbom"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// writeGrypeJSON writes the document that the grype CLI writes with -o json and
// its internal suppressions shown.
func (s *Session) writeGrypeJSON(ctx context.Context, w io.Writer, r Result) error {
	doc, _, err := s.grypeDocument(ctx, r)
	if err != nil {
		return err
	}
	return grypejson.NewPresenter(models.PresenterConfig{Document: doc}).Present(w)
}

// grypeDocument builds grype's own report model from a result.
func (s *Session) grypeDocument(ctx context.Context, r Result) (models.Document, *syftsbom.SBOM, error) {
	c, err := read(ctx, r.Document)
	if err != nil {
		return models.Document{}, nil, err
	}
	matches, ignored := c.grypeMatches(r)
	id := clio.Identification{Name: engineName, Version: engineVersion[1:]}
	doc, err := models.NewDocument(id, c.judged, c.context, match.NewMatches(matches...), ignored, records{s}, s.configuration(r), s.status(), models.DefaultSortStrategy, true, c.alerts(r))
	if err != nil {
		return models.Document{}, nil, errs.Wrap(errs.Internal, "match: grype's report", err)
	}
	return doc, c.sbom, nil
}

// grypeMatches gives every instance of a package its matches back.
func (c *contents) grypeMatches(r Result) (matches []match.Match, ignored []match.IgnoredMatch) {
	packages := make(map[pkg.ID]pkg.Package, len(c.judged))
	for _, p := range c.judged {
		packages[p.ID] = p
	}
	byMember := map[int][]inventory.Verdict{}
	for _, v := range r.Inventory.Apply(r.Judgements) {
		byMember[v.Member] = append(byMember[v.Member], v)
	}
	for _, o := range r.Inventory.Occurrences {
		p, ok := packages[pkg.ID(o.ID)]
		if !ok {
			continue
		}
		for _, v := range byMember[o.Member] {
			m := grypeMatch(v.Match, p)
			if v.Ignored == "" {
				matches = append(matches, m)
				continue
			}
			ignored = append(ignored, match.IgnoredMatch{Match: m, AppliedIgnoreRules: []match.IgnoreRule{ruleOf(v, m)}})
		}
	}
	return matches, ignored
}

// grypeMatch is the reverse of newMatch, for one instance of the package.
func grypeMatch(m vuln.Match, p pkg.Package) match.Match {
	out := match.Match{Package: p}
	out.Vulnerability.Reference = referenceOf(m.Ref)
	out.Vulnerability.Fix = vulnerability.Fix{State: vulnerability.FixState(m.Fix.State), Versions: slices.Clone(m.Fix.Versions), Available: availableOf(m.Fix)}
	for _, a := range m.Aliases {
		out.Vulnerability.RelatedVulnerabilities = append(out.Vulnerability.RelatedVulnerabilities, referenceOf(a))
	}
	for _, a := range m.Advisories {
		out.Vulnerability.Advisories = append(out.Vulnerability.Advisories, vulnerability.Advisory{ID: a.ID, Link: a.Link})
	}
	out.Details = detailsOf(m)
	return out
}

func referenceOf(r vuln.Ref) vulnerability.Reference {
	return vulnerability.Reference{ID: r.ID, Namespace: r.Namespace}
}

// detailsOf reads details back. Confidence is not in grype's JSON; nothing of
// a report depends on it but the order of details, which already is right.
func detailsOf(m vuln.Match) match.Details {
	var shown []struct {
		Type       match.Type
		Matcher    match.MatcherType
		SearchedBy json.RawMessage
		Found      json.RawMessage
	}
	if err := json.Unmarshal(m.Details, &shown); err != nil {
		return nil
	}
	out := make(match.Details, 0, len(shown))
	for _, d := range shown {
		out = append(out, match.Detail{Type: d.Type, Matcher: d.Matcher, SearchedBy: d.SearchedBy, Found: d.Found, Confidence: m.Confidence})
	}
	return out
}

// ruleOf writes down why a match is ignored in the form grype uses.
func ruleOf(v inventory.Verdict, m match.Match) match.IgnoreRule {
	switch v.Ignored {
	case reasonKernelHeaders:
		for _, rule := range kernelHeaders() {
			if rule.IgnoreMatch(m) != nil {
				return rule
			}
		}
	case reasonExplicit:
		return match.IgnoreRule{Vulnerability: m.Vulnerability.ID, Package: match.IgnoreRulePackage{Name: m.Package.Name, Type: string(m.Package.Type)}}
	}
	return match.IgnoreRule{Vulnerability: v.Match.Canonical(), IncludeAliases: true, Reason: v.Ignored}
}

// alerts are the packages of a distro past its end of life, which the CLI
// reports by default.
func (c *contents) alerts(r Result) *models.DistroAlertData {
	data := &models.DistroAlertData{}
	if r.EndOfLife.IsZero() || !r.EndOfLife.Before(r.Now) {
		return data
	}
	for _, p := range c.judged {
		if p.Distro != nil {
			data.EOLDistroPackages = append(data.EOLDistroPackages, p)
		}
	}
	return data
}

// records describes records for grype's report, the right one where a name has
// several.
type records struct{ session *Session }

// VulnerabilityMetadata looks up a record (vulnerability.MetadataProvider).
func (r records) VulnerabilityMetadata(ref vulnerability.Reference) (*vulnerability.Metadata, error) {
	found, err := r.session.find(vuln.Ref{ID: ref.ID, Namespace: ref.Namespace})
	if err != nil {
		return nil, err
	}
	if found != nil {
		ref.Internal = found
	}
	return r.session.db.provider.VulnerabilityMetadata(ref)
}

// configuration stands where grype writes its settings. It names who made the
// report and what the answer leaves out.
func (s *Session) configuration(r Result) any {
	return struct {
		Producer      string   `json:"producer"`
		Version       string   `json:"producerVersion"`
		MatcherConfig string   `json:"matcherConfig"`
		NoData        []string `json:"noData"`
		Caveats       []string `json:"caveats"`
		Partial       string   `json:"partial,omitempty"`
		SampleDB      bool     `json:"sampleDatabase"`
	}{"tidewaiter", r.Tool, s.db.build.Config, r.NoData, s.Caveats(r), r.Partial, s.db.build.Sample}
}

// status describes the database as the grype CLI does.
func (s *Session) status() any {
	b := s.db.build
	providers := map[string]vulnerability.DataProvenance{}
	if p, ok := s.db.provider.(vulnerability.StoreMetadataProvider); ok {
		if found, err := p.DataProvenance(); err == nil {
			providers = found
		}
	}
	return struct {
		Status    vulnerability.ProviderStatus            `json:"status"`
		Providers map[string]vulnerability.DataProvenance `json:"providers"`
	}{vulnerability.ProviderStatus{SchemaVersion: b.SchemaVersion, From: b.Source, Built: b.Built, Path: filepath.Join(s.db.installed.Dir, v6.VulnerabilityDBFileName)}, providers}
}

func availableOf(f vuln.Fix) []vulnerability.FixAvailable {
	var out []vulnerability.FixAvailable
	for _, a := range f.Available {
		if date, err := time.Parse(time.DateOnly, a.Date); err == nil {
			out = append(out, vulnerability.FixAvailable{Version: a.Version, Date: date, Kind: a.Kind})
		}
	}
	return out
}
