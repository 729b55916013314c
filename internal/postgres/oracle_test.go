package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// oracle is a database build that knows a few packages by name and version.
type oracle struct {
	build   vuln.Build
	said    map[string]inventory.Judgement // by name and version
	records map[vuln.Ref]vuln.Vulnerability
	noData  []string
}

var _ scan.Session = oracle{}

const oracleNames, oracleVersions, oracleRecords = 5, 3, 10

// firstOracle makes up a build.
func firstOracle(random *rand.Rand, build vuln.Build) oracle {
	o := oracle{build: build, said: map[string]inventory.Judgement{}, records: map[vuln.Ref]vuln.Vulnerability{}, noData: []string{}}
	for n := range oracleRecords {
		o.records[ref(n)] = randomRecord(random, n)
	}
	for name := range oracleNames {
		o.judgeAnew(random, name)
	}
	o.alignEstimates()
	return o
}

// alignEstimates gives other names of a record the estimate of that one, as FIRST
// does, and returns them.
func (o oracle) alignEstimates() (aliases []vuln.Ref) {
	for n := 1; n < oracleRecords; n += 2 {
		v := o.records[ref(n)]
		v.EPSS = o.records[ref(0)].EPSS
		o.records[ref(n)] = v
		aliases = append(aliases, ref(n))
	}
	return aliases
}

// next makes up a build that says otherwise of some packages and records, and what
// differs.
func (o oracle) next(random *rand.Rand, build vuln.Build) (oracle, scan.Change) {
	next := oracle{build: build, said: map[string]inventory.Judgement{}, records: map[vuln.Ref]vuln.Vulnerability{}, noData: o.noData}
	for k, v := range o.said {
		next.said[k] = v
	}
	for k, v := range o.records {
		next.records[k] = v
	}
	var change scan.Change
	for name := range oracleNames {
		switch random.IntN(4) {
		case 0:
			next.judgeAnew(random, name)
		case 1: // only what it suppresses
			key := fmt.Sprint("p", name, "/", random.IntN(oracleVersions))
			j := next.said[key]
			j.Ignores = []vuln.Ignore{{Vulnerability: ref(random.IntN(oracleRecords)).ID, Kind: vuln.IgnoreSame, Reason: "anew"}}
			next.said[key] = j
		default:
			continue
		}
		change.Names = append(change.Names, fmt.Sprint("p", name))
	}
	for n := range oracleRecords {
		if random.IntN(4) == 0 {
			next.records[ref(n)] = randomRecord(random, n)
			change.Records = append(change.Records, ref(n))
		}
	}
	change.Records = append(change.Records, next.alignEstimates()...)
	if random.IntN(3) == 0 {
		next.noData = [][]string{{}, {"ecosystem:npm"}}[random.IntN(2)]
	}
	return next, change
}

func randomRecord(random *rand.Rand, n int) vuln.Vulnerability {
	v := vuln.Vulnerability{
		Ref: ref(n), Severity: []vuln.Severity{vuln.SeverityLow, vuln.SeverityHigh, vuln.SeverityCritical}[random.IntN(3)],
		Description: fmt.Sprint("text ", random.IntN(4)), URLs: []string{}, CWEs: []string{},
	}
	if random.IntN(4) == 0 {
		v.KEV = []vuln.KnownExploited{{CVE: v.ID}}
	}
	if random.IntN(2) == 0 {
		v.EPSS = &vuln.EPSS{Score: float64(random.IntN(10)) / 10, Date: "2026-11-20"}
	}
	return v
}

// judgeAnew makes up what is said of the packages of a name.
func (o oracle) judgeAnew(random *rand.Rand, name int) {
	for version := range oracleVersions {
		var j inventory.Judgement
		for n := range oracleRecords {
			switch random.IntN(6) {
			case 0, 1:
				m := vuln.Match{Ref: ref(n), MatchType: "exact-direct-match", Matcher: "test", Confidence: 1, Details: []byte(`[]`),
					Fix: vuln.Fix{State: []vuln.FixState{vuln.FixStateFixed, vuln.FixStateNotFixed}[random.IntN(2)], Versions: []string{fmt.Sprint(random.IntN(3))}}}
				if n%2 == 1 {
					m.Aliases = []vuln.Ref{ref(0)}
				}
				if random.IntN(5) == 0 {
					m.Ignored = "a rule"
				}
				j.Matches = append(j.Matches, m)
			case 2:
				kind := []vuln.IgnoreKind{vuln.IgnoreOwned, vuln.IgnoreSame}[random.IntN(2)]
				j.Ignores = append(j.Ignores, vuln.Ignore{Vulnerability: ref(n).ID, Kind: kind, Reason: "owner"})
			}
		}
		o.said[fmt.Sprint("p", name, "/", version)] = j
	}
}

func (o oracle) of(p inventory.Package) inventory.Judgement {
	j := o.said[p.Name+"/"+p.Version]
	if p.Language == "twin" { // the same name and version, and what is said only of the other
		j.Ignores = nil
	}
	return j
}

func (o oracle) Build() vuln.Build { return o.build }
func (o oracle) Close() error      { return nil }

func (o oracle) Judge(_ context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	out := make([]inventory.Judgement, len(packages))
	for i, p := range packages {
		out[i] = o.of(p)
		out[i].Names = []string{p.Name}
	}
	return out, nil
}

func (o oracle) Vulnerabilities(_ context.Context, refs []vuln.Ref) ([]vuln.Vulnerability, error) {
	out := make([]vuln.Vulnerability, 0, len(refs))
	for _, r := range refs {
		out = append(out, o.records[r])
	}
	return out, nil
}

func (o oracle) Coverage(_ context.Context, inv *inventory.Inventory) ([]string, time.Time, error) {
	if len(inv.Packages) == 0 {
		return []string{}, time.Time{}, nil
	}
	return slices.Clone(o.noData), time.Time{}, nil
}

// image makes up an image out of what the oracle knows; images of one number are
// the same under every build.
func (o oracle) image(number int) postgrestest.Image {
	random := rand.New(rand.NewPCG(uint64(number), 1))
	i := postgrestest.Image{Name: fmt.Sprint("image", number), NoData: o.noData}
	for range 1 + random.IntN(5) {
		p := postgrestest.Package{Package: npm(fmt.Sprint("p", random.IntN(oracleNames)), fmt.Sprint(random.IntN(oracleVersions)))}
		if random.IntN(3) == 0 {
			p.Language = "twin"
		}
		j := o.of(p.Package)
		p.Matches, p.Ignores = j.Matches, j.Ignores
		if len(i.Packages) > 0 && random.IntN(3) == 0 {
			p.Owners = []int{0}
		}
		if random.IntN(8) == 0 {
			p.Excluded = inventory.ExcludedNoVersion
		}
		i.Packages = append(i.Packages, p)
	}
	return i
}

// rule makes a world judge as the oracle does.
func (o oracle) rule(w *postgrestest.World) {
	w.Build, w.Vulnerabilities = o.build, o.records
}
