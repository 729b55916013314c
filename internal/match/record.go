package match

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"slices"

	"github.com/anchore/clio"
	grypematch "github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/grype/grype/presenter/models"
	"github.com/anchore/grype/grype/vulnerability"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/text"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// silent answers that nothing is known of related records, so that grype's
// report model leaves their descriptions out.
type silent struct{}

func (silent) VulnerabilityMetadata(vulnerability.Reference) (*vulnerability.Metadata, error) {
	return nil, nil
}

// record puts verdicts into our words. The parts that grype computes for its
// report (details, order of fixes, suggested version) are taken from grype's own
// report model. It is given every match as an ignored one, because these keep
// their order; the namespaces in it are not those of the matches where a search
// falls back to several releases of a distro.
func (s *Session) record(v *verdicts) ([]vuln.Match, error) {
	var all []grypematch.IgnoredMatch
	for _, m := range v.matches.Sorted() {
		all = append(all, grypematch.IgnoredMatch{Match: m})
	}
	all = append(all, v.ignored...)
	if len(all) == 0 {
		return nil, nil
	}
	report, err := models.NewDocument(clio.Identification{}, []pkg.Package{v.subject}, pkg.Context{}, grypematch.NewMatches(), all, silent{}, nil, nil, models.SortByVulnerability, false, nil)
	if err != nil || len(report.IgnoredMatches) != len(all) {
		return nil, errs.Wrap(errs.Internal, "match: render", cmp.Or(err, errMissing))
	}
	out := make([]vuln.Match, len(all))
	for i, m := range all {
		out[i] = newMatch(m, report.IgnoredMatches[i].Match)
		s.remember(m.Vulnerability)
	}
	slices.SortFunc(out, func(a, b vuln.Match) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Namespace, b.Namespace))
	})
	return out, nil
}

var errMissing = errors.New("grype's report lacks matches")

func newMatch(m grypematch.IgnoredMatch, model models.Match) vuln.Match {
	out := vuln.Match{
		Ref:     refOf(m.Vulnerability.Reference),
		Fix:     newFix(model.Vulnerability.Fix),
		Details: cleanJSON(encode(model.MatchDetails)),
		Ignored: text.Clean(reason(m.AppliedIgnoreRules), text.Line),
	}
	for _, r := range m.Vulnerability.RelatedVulnerabilities {
		out.Aliases = append(out.Aliases, refOf(r))
	}
	for _, a := range model.Vulnerability.Advisories {
		out.Advisories = append(out.Advisories, vuln.Advisory{ID: text.Clean(a.ID, text.Line), Link: text.Clean(a.Link, text.Line)})
	}
	// grype keeps details strongest first.
	if len(m.Details) > 0 {
		out.MatchType = string(m.Details[0].Type)
		out.Matcher = string(m.Details[0].Matcher)
		out.Confidence = m.Details[0].Confidence
	}
	for _, d := range model.MatchDetails {
		if d.Fix != nil {
			out.SuggestedVersion = text.Clean(d.Fix.SuggestedVersion, text.Version)
			break
		}
	}
	return out
}

func newFix(f models.Fix) vuln.Fix {
	out := vuln.Fix{State: vuln.FixState(text.Clean(f.State, text.Name)), Versions: text.CleanAll(f.Versions, text.Version)}
	if out.Versions == nil {
		out.Versions = []string{}
	}
	for _, a := range f.Available {
		out.Available = append(out.Available, vuln.FixAvailable{Version: text.Clean(a.Version, text.Version), Date: a.Date, Kind: text.Clean(a.Kind, text.Name)})
	}
	return out
}

// reason says in words why rules ignore a match; "" without rules. Grype gives no reason for its
// list of false positives, which name a vulnerability, nor for the CLI's default
// rules, which do not.
func reason(rules []grypematch.IgnoreRule) string {
	if len(rules) == 0 {
		return ""
	}
	for _, r := range rules {
		switch {
		case r.Reason != "":
			return r.Reason
		case r.Vulnerability != "":
			return reasonExplicit
		}
	}
	return reasonKernelHeaders
}

func refOf(r vulnerability.Reference) vuln.Ref {
	return vuln.Ref{ID: text.Clean(r.ID, text.Line), Namespace: text.Clean(r.Namespace, text.Line)}
}

// encode writes JSON as grype's report does, without escaping for HTML.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return json.RawMessage("[]") // plain data; cannot fail
	}
	return bytes.TrimSpace(b.Bytes())
}
