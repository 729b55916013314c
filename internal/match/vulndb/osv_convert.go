package vulndb

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// item is an advisory in a form that grype's build library takes.
type item struct {
	provider string
	schema   string
	body     any
}

// converter brings OSV records into the forms grype's build library takes. It
// reads some publishers' records itself and drops all others; those become
// advisories in GitHub's form (languages) or in the distributions' form.
type converter struct {
	// provider is whose advisories those without a known prefix are.
	provider string
}

// convert returns what can be made of a record and, for what cannot, why not.
func (c converter) convert(raw json.RawMessage) (items []item, problems []string) {
	var r osvRecord
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, []string{"not an OSV record: " + err.Error()}
	}
	if len(r.Affected) == 0 {
		return nil, []string{"names no affected package"}
	}
	if provider, ok := native[prefix(r.ID)]; ok {
		if !r.Withdrawn.IsZero() && provider != "govulndb" { // the others are taken as if they stood
			return nil, []string{"withdrawn on " + r.Withdrawn.Format(time.DateOnly)}
		}
		return []item{{provider, schemaOSV, raw}}, nil
	}
	return c.forms(r)
}

// forms sorts the affected packages of a record into one advisory on language
// packages and one on each release of a distribution.
func (c converter) forms(r osvRecord) (items []item, problems []string) {
	vectors, problems := vectorsOf(r)
	language := githubAdvisory{ID: r.ID}
	releases := map[string][]osFixed{}
	for i, a := range r.Affected {
		p, err := placeOf(a.Package.Ecosystem)
		var spans []span
		if err == nil {
			spans, err = spansOf(a, p.format)
		}
		if err == nil && strings.TrimSpace(a.Package.Name) == "" {
			err = fmt.Errorf("names no package")
		}
		if err != nil {
			problems = append(problems, fmt.Sprintf("affected[%d] %s: %v", i, a.Package.Name, err))
			continue
		}
		for _, s := range spans {
			if p.language != "" {
				language.FixedIn = append(language.FixedIn, githubFixed{p.language, a.Package.Name, s.comparators(), s.fixed})
			} else {
				releases[p.namespace] = append(releases[p.namespace], s.osFixed(a.Package.Name, p))
			}
		}
	}
	if len(language.FixedIn) > 0 {
		items = append(items, item{c.providerOf(r), schemaGitHub, githubItem{r.fill(language, vectors)}})
	}
	if len(releases) > 0 && !r.Withdrawn.IsZero() {
		return items, append(problems, "withdrawn on "+r.Withdrawn.Format(time.DateOnly)) // that form cannot say so
	}
	for _, namespace := range slices.Sorted(maps.Keys(releases)) {
		items = append(items, item{c.providerOf(r), schemaOS, r.release(namespace, releases[namespace], vectors)})
	}
	return items, problems
}

func (c converter) providerOf(r osvRecord) string {
	return cmp.Or(publishers[prefix(r.ID)], c.provider)
}

// osFixed writes a span in the distributions' form, where "below the fixed
// version" is the rule and any other range has a field of its own.
func (s span) osFixed(name string, p place) osFixed {
	f := osFixed{Name: name, Namespace: p.namespace, Version: cmp.Or(s.fixed, noFix), VersionFormat: p.format}
	if s.from != "" || s.fixed == "" {
		f.VulnerableRange = s.comparators()
	}
	return f
}

// fill adds what a record says besides the affected packages.
func (r osvRecord) fill(a githubAdvisory, vectors []string) githubAdvisory {
	a.CVE = r.names(r.ID)
	a.Severity = r.severityWord()
	a.Summary = cmp.Or(r.Summary, r.Details)
	a.Published, a.Updated, a.Withdrawn = stamp(r.Published), stamp(r.Modified), stamp(r.Withdrawn)
	a.URL = r.link()
	for _, ref := range r.References {
		if isWeb(ref.URL) {
			a.References = append(a.References, reference{ref.URL})
		}
	}
	for _, v := range vectors {
		a.Severities = append(a.Severities, githubCVSS{v, vectorVersion(v)})
	}
	return a
}

// release writes the record as an advisory on one release of a distribution.
// The distributions' copies of a CVE are known by the CVE's own name there.
func (r osvRecord) release(namespace string, fixed []osFixed, vectors []string) osItem {
	name := r.ID
	for _, p := range []string{"DEBIAN-", "UBUNTU-", "ALPINE-"} {
		if rest, ok := strings.CutPrefix(name, p); ok && strings.HasPrefix(rest, "CVE-") {
			name = rest
		}
	}
	v := osVulnerability{
		Name: name, Namespace: namespace, Severity: r.severityWord(), Description: cmp.Or(r.Details, r.Summary),
		Link: r.link(), FixedIn: fixed, Metadata: osMetadata{Issued: stamp(r.Published), Updated: stamp(r.Modified)},
	}
	for _, alias := range r.names(name) {
		v.Metadata.CVE = append(v.Metadata.CVE, osCVE{Name: alias})
	}
	for _, vector := range vectors {
		v.CVSS = append(v.CVSS, osCVSS{vector, vectorVersion(vector)})
	}
	return osItem{v}
}

// names returns the other names of a record, those of what it was derived from
// included.
func (r osvRecord) names(own string) []string {
	var out []string
	for _, n := range slices.Concat(r.Aliases, r.Upstream) {
		if n != "" && n != own && n != r.ID && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// severityWord returns the severity a publisher gives in words, or "".
func (r osvRecord) severityWord() string {
	word, _ := r.DatabaseSpecific["severity"].(string)
	for _, s := range r.Severity {
		if s.Type == "Ubuntu" {
			word = cmp.Or(word, s.Score)
		}
	}
	switch word = strings.ToLower(word); word {
	case "moderate":
		return "medium"
	case "important":
		return "high"
	case "critical", "high", "medium", "low", "negligible":
		return word
	}
	return ""
}

// link returns the page that describes the record.
func (r osvRecord) link() string {
	first := ""
	for _, ref := range r.References {
		if !isWeb(ref.URL) {
			continue
		}
		if ref.Type == "ADVISORY" {
			return ref.URL
		}
		first = cmp.Or(first, ref.URL)
	}
	return first
}

// isWeb reports whether a reference may be shown as a link.
func isWeb(address string) bool {
	return strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://")
}

// vectorsOf returns the CVSS vectors of a record that can be read.
func vectorsOf(r osvRecord) (vectors, problems []string) {
	all := slices.Clone(r.Severity)
	for _, a := range r.Affected {
		all = append(all, a.Severity...)
	}
	for _, s := range all {
		if !strings.HasPrefix(s.Type, "CVSS_") || slices.Contains(vectors, s.Score) {
			continue
		}
		if err := checkVector(s.Score); err != nil {
			problems = append(problems, err.Error())
			continue
		}
		vectors = append(vectors, s.Score)
	}
	return vectors, problems
}

// vectorVersion returns the version of CVSS a vector is of.
func vectorVersion(vector string) string {
	if rest, ok := strings.CutPrefix(vector, "CVSS:"); ok {
		v, _, _ := strings.Cut(rest, "/")
		return v
	}
	return "2.0"
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
