package match

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Compare says what differs between two installed databases, so that only what
// is concerned is judged again. Both are only read. It takes a few seconds and
// memory for the names and numbers in them, not for their texts.
//
// Grype has a comparison of its own (db/v6/diff). It is not used: it writes into
// the directories it is given and deletes them when that fails, cannot be
// stopped, and overlooks a second record about the same package and
// vulnerability, changes of when a fix came out, of aliases, of what a KEV entry
// says, and every table that is not about one record. A test under the build tag
// parity holds that whatever it sees is seen here.
func (e *Engine) Compare(ctx context.Context, before, after vulndb.Installed) (scan.Change, error) {
	was, is, err := takeBoth(ctx, before, after)
	if err != nil {
		return scan.Change{}, errs.Op("match: compare databases", err)
	}
	change := scan.Change{Before: was.volume, After: is.volume, Everything: compareTables(was, is)}
	if change.Everything != "" {
		return change, nil
	}
	d := difference{was: was, is: is, names: differing(was.names, is.names), records: map[record]bool{}}
	if err := d.findRecords(ctx, before, after); err != nil {
		return scan.Change{}, errs.Op("match: compare databases", err)
	}
	d.findDistros()
	d.findFacts()
	change.Names = sortedNames(d.names)
	change.Records = d.refs()
	return change, nil
}

// takeBoth reads two databases at once. The hashes of both are comparable, and
// those of no other run: nobody can make two rows look alike.
func takeBoth(ctx context.Context, before, after vulndb.Installed) (was, is *census, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	seed := maphash.MakeSeed()
	var readers sync.WaitGroup
	for in, into := range map[*vulndb.Installed]**census{&before: &was, &after: &is} {
		readers.Go(func() {
			taken, err := takeCensus(ctx, *in, seed)
			if err != nil {
				cancel(err)
			}
			*into = taken
		})
	}
	readers.Wait()
	return was, is, context.Cause(ctx)
}

// CompareBuilds says why every package must be judged again when one build comes
// after another, whatever their databases hold: because the engine, its
// configuration or the database's schema is another. It is empty when the
// difference of the databases is all there is.
func CompareBuilds(before, after vuln.Build) string {
	var why []string
	if before.Engine != after.Engine || before.EngineVersion != after.EngineVersion {
		why = append(why, fmt.Sprintf("%s %s judged before, %s %s judges now", before.Engine, before.EngineVersion, after.Engine, after.EngineVersion))
	}
	if before.Config != after.Config {
		why = append(why, "the configuration of the matchers is another")
	}
	if before.SchemaVersion != after.SchemaVersion {
		why = append(why, fmt.Sprintf("the database has schema %s, the one before had %s", after.SchemaVersion, before.SchemaVersion))
	}
	return strings.Join(why, "; ")
}

// difference collects what two databases do not have in common.
type difference struct {
	was, is *census
	names   map[string]bool
	// records are described otherwise.
	records map[record]bool
}

// differing lists the keys whose sums are not the same on both sides.
func differing[K comparable](was, is map[K]uint64) map[K]bool {
	out := map[K]bool{}
	for k, sum := range is {
		if before, ok := was[k]; !ok || before != sum {
			out[k] = true
		}
	}
	for k := range was {
		if _, ok := is[k]; !ok {
			out[k] = true
		}
	}
	return out
}

// findRecords finds what is told otherwise of vulnerabilities. Where their
// aliases differ, matches differ too: these carry them.
func (d *difference) findRecords(ctx context.Context, before, after vulndb.Installed) error {
	for r := range differing(d.was.records, d.is.records) {
		_, had := d.was.records[r]
		_, has := d.is.records[r]
		if had && has { // else its packages are among the names
			d.records[r] = true
		}
	}
	named, err := d.was.aliasesOf(ctx, before, d.records)
	if err != nil {
		return err
	}
	renamed, err := d.is.aliasesOf(ctx, after, d.records)
	if err != nil {
		return err
	}
	others := differing(named, renamed)
	d.was.addNames(others, d.names)
	d.is.addNames(others, d.names)
	return nil
}

// findDistros adds the distros of which a release came, went or is called
// otherwise: which records are about a package is found by the release, and where
// it is missing by its neighbours.
func (d *difference) findDistros() {
	for row := range differing(d.was.releases, d.is.releases) {
		for _, id := range []string{row.name, row.id} {
			for _, n := range append(d.is.distroAliases[folded(id)], id) {
				if n != "" {
					d.names[ofDistro(n)] = true
				}
			}
		}
	}
}

// findFacts finds the records about CVEs of which KEV, EPSS or CWE say something
// else.
func (d *difference) findFacts() {
	cves := differing(d.was.facts, d.is.facts)
	if len(cves) == 0 {
		return
	}
	known := maps.Clone(cves) // with the names whose alias they are
	for name, aliases := range d.is.aliases {
		if slices.ContainsFunc(aliases, func(a string) bool { return cves[a] }) {
			known[name] = true
		}
	}
	for r := range d.is.records {
		if known[folded(r.name)] {
			d.records[r] = true
		}
	}
}

// refs names the records as matches name them: once for each namespace.
func (d *difference) refs() []vuln.Ref {
	seen := map[vuln.Ref]bool{}
	for _, l := range d.is.links {
		v := d.is.vulnerabilities[l.vulnerability]
		if d.records[v.record] && l.namespace >= 0 {
			seen[vuln.Ref{ID: shown(v.name), Namespace: shown(d.is.namespaces.at(l.namespace))}] = true
		}
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b vuln.Ref) int {
		return strings.Compare(a.ID+"\x00"+a.Namespace, b.ID+"\x00"+b.Namespace)
	})
}

// sortedNames leaves out what no stored package can be called.
func sortedNames(names map[string]bool) []string {
	out := make([]string, 0, len(names))
	for n := range names {
		if n != "" && storable(n) {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}
