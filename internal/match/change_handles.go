package match

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

// readHandles reads the tables that tie records to packages and CPEs.
func (c *census) readHandles(t *tables) error {
	for table, takesAway := range map[string]bool{"affected_package_handles": false, "unaffected_package_handles": true} {
		if err := c.readPackageHandles(t, table, takesAway); err != nil {
			return err
		}
	}
	for table, takesAway := range map[string]bool{"affected_cpe_handles": false, "unaffected_cpe_handles": true} {
		if err := c.readCPEHandles(t, table, takesAway); err != nil {
			return err
		}
	}
	return nil
}

// readPackageHandles counts a row under the package's name, and under the
// products of CPEs that stand for the package: a search by CPE finds it too.
func (c *census) readPackageHandles(t *tables, table string, takesAway bool) error {
	var vulnerability, system, about, blob int64
	places := map[place]int{}
	query := `SELECT vulnerability_id, COALESCE(operating_system_id, 0), COALESCE(package_id, 0), COALESCE(blob_id, 0) FROM ` + table
	return t.each(query, []any{&vulnerability, &system, &about, &blob}, func() {
		v, p := c.vulnerabilities[vulnerability], c.packages[about]
		os, ofSystem := c.systems[system]
		var sum uint64
		if ofSystem {
			sum = c.hash(table, p.ecosystem, p.name, v.name, v.provider, v.status, c.blobs[blob], os.Name, os.Version(), os.Channel)
		} else {
			sum = c.hash(table, p.ecosystem, p.name, v.name, v.provider, v.status, c.blobs[blob])
		}
		c.names[folded(p.name)] += sum
		for _, id := range p.cpes {
			c.names[folded(c.cpes[id].product)] += c.hash("cpe", c.cpes[id].whole, sum)
		}
		namespace := c.namespaceOf(places, v, p, system)
		c.count(system, p)
		if takesAway {
			namespace = -1
		}
		c.links = append(c.links, link{vulnerability: vulnerability, about: about, namespace: namespace})
	})
}

// place is what decides a namespace.
type place struct {
	provider, ecosystem, name string
	system                    int64
}

// namespaceOf is the number of the namespace that grype gives a match.
func (c *census) namespaceOf(known map[place]int, v vulnerabilityRow, p packageRow, system int64) int {
	at := place{provider: v.provider, ecosystem: p.ecosystem, system: system}
	if namedByPackage(p.ecosystem) {
		at.name = p.name
	}
	if id, ok := known[at]; ok {
		return id
	}
	handle := &v6.AffectedPackageHandle{Package: &v6.Package{Ecosystem: p.ecosystem, Name: p.name}}
	if os, ok := c.systems[system]; ok {
		handle.OperatingSystem = &os
	}
	id := c.namespaces.id(v6.MimicV5Namespace(&v6.VulnerabilityHandle{Provider: &v6.Provider{ID: v.provider}}, handle))
	known[at] = id
	return id
}

// namedByPackage tells the ecosystems in which grype makes a namespace of each
// package: products of Microsoft.
func namedByPackage(ecosystem string) bool {
	return strings.EqualFold(ecosystem, "msrc") || strings.EqualFold(ecosystem, "msrc-kb")
}

func (c *census) readCPEHandles(t *tables, table string, takesAway bool) error {
	var vulnerability, about, blob int64
	query := `SELECT vulnerability_id, COALESCE(cpe_id, 0), COALESCE(blob_id, 0) FROM ` + table
	return t.each(query, []any{&vulnerability, &about, &blob}, func() {
		v, cpe := c.vulnerabilities[vulnerability], c.cpes[about]
		c.names[folded(cpe.product)] += c.hash(table, cpe.whole, v.name, v.provider, v.status, c.blobs[blob])
		c.add(volumeCPE, 1)
		namespace := -1
		if !takesAway {
			namespace = c.namespaces.id(v6.MimicV5Namespace(&v6.VulnerabilityHandle{Provider: &v6.Provider{ID: v.provider}}, nil))
		}
		c.links = append(c.links, link{vulnerability: vulnerability, about: -about, namespace: namespace})
	})
}

// addNames adds the names of everything that the records are about.
func (c *census) addNames(records map[record]bool, names map[string]bool) {
	if len(records) == 0 {
		return
	}
	for _, l := range c.links {
		if !records[c.vulnerabilities[l.vulnerability].record] {
			continue
		}
		if l.about < 0 {
			names[folded(c.cpes[-l.about].product)] = true
			continue
		}
		p := c.packages[l.about]
		names[folded(p.name)] = true
		for _, id := range p.cpes {
			names[folded(c.cpes[id].product)] = true
		}
	}
}

// aliasesOf digests what records call themselves, which stands in their texts.
func (c *census) aliasesOf(ctx context.Context, in vulndb.Installed, records map[record]bool) (map[record]uint64, error) {
	wanted := map[int64]record{}
	for _, v := range c.vulnerabilities {
		if records[v.record] {
			wanted[v.blob] = v.record
		}
	}
	out := map[record]uint64{}
	return out, withTables(ctx, in, func(t *tables) error {
		return t.eachBlob(wanted, func(id int64, value []byte) error {
			var called struct {
				ID      string   `json:"id"`
				Aliases []string `json:"aliases"`
			}
			if err := json.Unmarshal(value, &called); err != nil {
				return errs.Wrap(errs.Malformed, "match: read record "+wanted[id].name, err)
			}
			out[wanted[id]] += c.hash(fmt.Sprintf("%q %q", called.ID, called.Aliases))
			return nil
		})
	})
}

// eachBlob reads texts by their numbers, some at a time.
func (t *tables) eachBlob(wanted map[int64]record, row func(id int64, value []byte) error) error {
	const some = 500
	ids := make([]int64, 0, len(wanted))
	for id := range wanted {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, cmp.Compare[int64])
	var failed error
	for part := range slices.Chunk(ids, some) {
		list := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(part)), ","), "[]")
		var id int64
		var value []byte
		err := t.each(`SELECT id, value FROM blobs WHERE id IN (`+list+`)`, []any{&id, &value}, func() {
			failed = cmp.Or(failed, row(id, value))
		})
		if err != nil || failed != nil {
			return cmp.Or(failed, err)
		}
	}
	return nil
}
