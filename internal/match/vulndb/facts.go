package vulndb

import (
	"cmp"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// facts is everything the files in sample/ say, in our own compact form.
type facts struct {
	CVEs    []cveFact
	Distros map[string]distroFacts // by distro id
	GitHub  []githubFact
	Go      []goFact
	EOL     map[string]map[string]string // product, release -> end of life
}

type cveFact struct {
	ID        string     `json:"id"`
	Published string     `json:"published"`
	CVSS      string     `json:"cvss"`
	CWE       []string   `json:"cwe"`
	Summary   string     `json:"summary"`
	EPSS      [2]float64 `json:"epss"` // score, percentile
	KEV       *kevFact   `json:"kev"`
}

type kevFact struct {
	Vendor     string `json:"vendor"`
	Product    string `json:"product"`
	Name       string `json:"name"`
	Added      string `json:"added"`
	Due        string `json:"due"`
	Ransomware bool   `json:"ransomware"`
}

// distroFacts: release -> source package -> CVE -> fixed version, which is
// empty while there is none.
type distroFacts map[string]map[string]map[string]string

type githubFact struct {
	ID        string       `json:"id"`
	CVE       string       `json:"cve"`
	Severity  string       `json:"severity"`
	Ecosystem string       `json:"ecosystem"`
	Package   string       `json:"package"`
	CVSS      string       `json:"cvss"` // when it differs from the CVE's
	Affected  []githubSpan `json:"affected"`
}

type githubSpan struct {
	Range string `json:"range"`
	Fixed string `json:"fixed"`
}

// goFact is a record of the Go vulnerability database: for each module the
// versions at which it became affected and was fixed, in turn.
type goFact struct {
	ID      string              `json:"id"`
	Aliases []string            `json:"aliases"` // the CVE first
	Modules map[string][]string `json:"modules"`
}

func readFacts() (facts, error) {
	var f facts
	f.Distros = map[string]distroFacts{}
	err := errors.Join(
		readFact("cves", &f.CVEs),
		readFact("github", &f.GitHub),
		readFact("go", &f.Go),
		readFact("eol", &f.EOL),
	)
	for _, id := range []string{"debian", "alpine"} {
		var d distroFacts
		err = errors.Join(err, readFact(id, &d))
		f.Distros[id] = d
	}
	return f, err
}

func readFact(name string, into any) error {
	raw, err := sampleFiles.ReadFile("sample/" + name + ".json")
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	return errs.Wrap(errs.Internal, "vulndb: read the facts in "+name+".json", err)
}

// records returns the facts in the order the library needs: NVD's first, since
// they lend their severity to others, ends of life last, since they amend the
// distributions the others name.
func (f facts) records() []item {
	var out []item
	add := func(provider, schema string, body any) {
		out = append(out, item{provider, schema, body})
	}
	known := map[string]cveFact{}
	for _, c := range f.CVEs {
		known[c.ID] = c
		add("nvd", schemaNVD, c.nvd())
	}
	for _, id := range slices.Sorted(maps.Keys(f.Distros)) {
		for _, it := range f.Distros[id].items(id, known) {
			add(id, schemaOS, it)
		}
	}
	for _, g := range f.GitHub {
		add("github", schemaGitHub, g.item(known[g.CVE]))
	}
	for _, g := range f.Go {
		add("govulndb", schemaOSV, g.item(known[g.Aliases[0]]))
	}
	for _, c := range f.CVEs {
		if c.KEV != nil {
			add("kev", schemaKEV, c.kev())
		}
		add("epss", schemaEPSS, epssItem{c.ID, c.EPSS[0], c.EPSS[1], sampleDate.Format(time.DateOnly)})
	}
	for _, product := range slices.Sorted(maps.Keys(f.EOL)) {
		for _, release := range slices.Sorted(maps.Keys(f.EOL[product])) {
			add("eol", schemaEOL, eolItem{Product: product, Name: release, EOL: f.EOL[product][release]})
		}
	}
	return out
}

func (c cveFact) nvd() nvdItem {
	item := nvdCVE{
		ID: c.ID, Published: c.Published, LastModified: c.Published, Status: "Analyzed",
		Descriptions: []nvdText{{Lang: "en", Value: c.Summary}},
	}
	score := []nvdCVSS{{nvdCVSSData{c.CVSS, vectorVersion(c.CVSS)}, "nvd@nist.gov", "Primary"}}
	switch vectorVersion(c.CVSS) {
	case "3.1":
		item.Metrics.CVSS31 = score
	case "3.0":
		item.Metrics.CVSS30 = score
	}
	for _, w := range c.CWE {
		item.Weaknesses = append(item.Weaknesses, nvdWeakness{"nvd@nist.gov", "Primary", []nvdText{{Lang: "en", Value: w}}})
	}
	return nvdItem{item}
}

func (c cveFact) kev() kevItem {
	use := "Unknown"
	if c.KEV.Ransomware {
		use = "Known"
	}
	return kevItem{
		CVE: c.ID, Vendor: c.KEV.Vendor, Product: c.KEV.Product, Name: c.KEV.Name,
		Added: c.KEV.Added, Due: c.KEV.Due, Ransomware: use, CWEs: c.CWE,
		Action: "Apply updates per vendor instructions.",
	}
}

// items returns one item for each CVE of each release.
func (d distroFacts) items(id string, known map[string]cveFact) []osItem {
	link := map[string]string{
		"debian": "https://security-tracker.debian.org/tracker/",
		"alpine": "https://www.cve.org/CVERecord?id=",
	}[id]
	format := map[string]string{"debian": "dpkg", "alpine": "apk"}[id]
	var out []osItem
	for _, release := range slices.Sorted(maps.Keys(d)) {
		namespace := id + ":" + release
		byCVE := map[string][]osFixed{}
		for _, pkg := range slices.Sorted(maps.Keys(d[release])) {
			for cve, version := range d[release][pkg] {
				if version == "" {
					version = noFix
				}
				byCVE[cve] = append(byCVE[cve], osFixed{Name: pkg, Namespace: namespace, Version: version, VersionFormat: format})
			}
		}
		for _, cve := range slices.Sorted(maps.Keys(byCVE)) {
			out = append(out, osItem{osVulnerability{
				Name: cve, Namespace: namespace, Description: known[cve].Summary, Link: link + cve,
				FixedIn: byCVE[cve], Metadata: osMetadata{Issued: known[cve].Published},
			}})
		}
	}
	return out
}

func (g githubFact) item(cve cveFact) githubItem {
	a := githubAdvisory{
		ID: g.ID, CVE: []string{g.CVE}, Severity: g.Severity, Summary: cve.Summary, Published: cve.Published,
		Updated: cve.Published, URL: "https://github.com/advisories/" + g.ID,
	}
	if vector := cmp.Or(g.CVSS, cve.CVSS); vector != "" {
		a.Severities = []githubCVSS{{vector, vectorVersion(vector)}}
	}
	for _, s := range g.Affected {
		a.FixedIn = append(a.FixedIn, githubFixed{g.Ecosystem, g.Package, s.Range, s.Fixed})
	}
	return githubItem{a}
}

// item returns the record in OSV form.
func (g goFact) item(cve cveFact) osvRecord {
	published, _ := time.Parse(time.DateOnly, cve.Published) // zero without a date: none is shown then
	r := osvRecord{
		ID: g.ID, Aliases: g.Aliases, Details: cve.Summary, Published: published, Modified: sampleDate,
		References: []osvReference{{Type: "ADVISORY", URL: "https://pkg.go.dev/vuln/" + g.ID}},
	}
	for _, module := range slices.Sorted(maps.Keys(g.Modules)) {
		var events []osvEvent
		for i, version := range g.Modules[module] {
			if i%2 == 0 {
				events = append(events, osvEvent{Introduced: version})
			} else {
				events = append(events, osvEvent{Fixed: version})
			}
		}
		r.Affected = append(r.Affected, osvAffected{
			Package: osvPackage{Ecosystem: "Go", Name: module},
			Ranges:  []osvRange{{Type: "SEMVER", Events: events}},
		})
	}
	return r
}
