package match

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math"
	"path/filepath"
	"strings"
	"unicode/utf8"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// record names what one provider says of one vulnerability. A feed may hold
// several under one name, one for each release.
type record struct{ name, provider string }

// release is a row of a distro's releases, without its dates: those belong to
// coverage, not to matching.
type release struct{ name, id, major, minor, label, codename, channel string }

// vulnerabilityRow is a row about a vulnerability.
type vulnerabilityRow struct {
	record
	status string
	blob   int64
}

// packageRow is a package in an ecosystem, with the CPEs that find it too.
type packageRow struct {
	ecosystem, name string
	cpes            []int64
}

// cpeRow is a CPE without its version.
type cpeRow struct {
	product string
	whole   uint64
}

// link ties a record to what it is about: a package, or with the CPE's id below
// zero a CPE. The namespace is below zero for what takes findings away: no match
// bears it.
type link struct {
	vulnerability, about int64
	namespace            int
}

// census is what is compared of a database: for each name the sum of the hashes
// of all rows that are found by it, so that neither the order of rows nor their
// numbers count.
type census struct {
	seed maphash.Seed

	names    map[string]uint64
	records  map[record]uint64
	facts    map[string]uint64 // by CVE in lower case
	releases map[release]uint64
	volume   scan.Volume
	// small are the hashes of tables that concern every package; see tables.
	small  map[string]uint64
	schema string

	aliases       map[string][]string // by name, both in lower case
	distroAliases map[string][]string // other names by name in lower case

	blobs           map[int64]uint64
	vulnerabilities map[int64]vulnerabilityRow
	packages        map[int64]packageRow
	cpes            map[int64]cpeRow
	systems         map[int64]v6.OperatingSystem
	scopes          map[int64]string // keys of the volume by the number of a system
	namespaces      interned
	links           []link
}

// takeCensus reads a database.
func takeCensus(ctx context.Context, in vulndb.Installed, seed maphash.Seed) (*census, error) {
	c := &census{
		seed: seed, names: map[string]uint64{}, records: map[record]uint64{}, facts: map[string]uint64{}, releases: map[release]uint64{},
		volume: scan.Volume{}, small: map[string]uint64{}, aliases: map[string][]string{}, distroAliases: map[string][]string{},
		blobs: map[int64]uint64{}, vulnerabilities: map[int64]vulnerabilityRow{}, packages: map[int64]packageRow{},
		cpes: map[int64]cpeRow{}, systems: map[int64]v6.OperatingSystem{}, namespaces: interned{ids: map[string]int{}},
	}
	err := withTables(ctx, in, func(t *tables) error {
		for _, read := range []func(*tables) error{
			c.readSmall, c.readBlobs, c.readVulnerabilities, c.readAliases, c.readReleases, c.readPackages, c.readCPEs, c.readHandles, c.readFacts,
		} {
			if err := read(t); err != nil {
				return err
			}
		}
		return nil
	})
	c.blobs = nil // the largest part, and not needed any more
	return c, err
}

// tables reads a database row by row.
type tables struct {
	ctx context.Context
	db  *sql.DB
}

// withTables opens a database for reading alone.
func withTables(ctx context.Context, in vulndb.Installed, read func(*tables) error) error {
	opened, err := v6.NewLowLevelDB(filepath.Join(in.Dir, v6.VulnerabilityDBFileName), false, false, false)
	if err != nil {
		return errs.Wrap(errs.Malformed, "match: open vulnerability database", err)
	}
	db, err := opened.DB()
	if err != nil {
		return errs.Wrap(errs.Malformed, "match: open vulnerability database", err)
	}
	defer db.Close()
	return read(&tables{ctx: ctx, db: db})
}

// each calls row for every row of a query, with the columns in into.
func (t *tables) each(query string, into []any, row func()) error {
	rows, err := t.db.QueryContext(t.ctx, query)
	if err != nil {
		return t.failed(query, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return t.failed(query, err)
		}
		row()
	}
	return t.failed(query, rows.Err())
}

// failed says which table could not be read.
func (t *tables) failed(query string, err error) error {
	switch {
	case err == nil:
		return nil
	case t.ctx.Err() != nil:
		return errs.Op("match: read vulnerability database", context.Cause(t.ctx))
	}
	return errs.Wrap(errs.Malformed, "match: read vulnerability database: "+query, err)
}

func (c *census) readBlobs(t *tables) error {
	var id int64
	var value sql.RawBytes
	return t.each(`SELECT id, value FROM blobs`, []any{&id, &value}, func() {
		c.blobs[id] = maphash.Bytes(c.seed, value)
	})
}

// readVulnerabilities leaves the dates of records out: nothing shows them.
func (c *census) readVulnerabilities(t *tables) error {
	var id int64
	var v vulnerabilityRow
	shared := interned{ids: map[string]int{}}
	const query = `SELECT id, name, provider_id, COALESCE(status, ''), COALESCE(blob_id, 0) FROM vulnerability_handles`
	return t.each(query, []any{&id, &v.name, &v.provider, &v.status, &v.blob}, func() {
		v.provider, v.status = shared.same(v.provider), shared.same(v.status)
		c.vulnerabilities[id] = v
		c.records[v.record] += c.hash(v.status, c.blobs[v.blob])
	})
}

func (c *census) readAliases(t *tables) error {
	var name, alias string
	return t.each(`SELECT name, alias FROM vulnerability_aliases`, []any{&name, &alias}, func() {
		n := strings.ToLower(name)
		c.aliases[n] = append(c.aliases[n], strings.ToLower(alias))
	})
}

func (c *census) readPackages(t *tables) error {
	var id, cpe int64
	var p packageRow
	shared := interned{ids: map[string]int{}}
	const query = `SELECT id, COALESCE(ecosystem, ''), COALESCE(name, '') FROM packages`
	err := t.each(query, []any{&id, &p.ecosystem, &p.name}, func() {
		c.packages[id] = packageRow{ecosystem: shared.same(p.ecosystem), name: p.name}
	})
	if err != nil {
		return err
	}
	return t.each(`SELECT package_id, cpe_id FROM package_cpes ORDER BY 1, 2`, []any{&id, &cpe}, func() {
		p := c.packages[id]
		p.cpes = append(p.cpes, cpe)
		c.packages[id] = p
	})
}

func (c *census) readCPEs(t *tables) error {
	var id int64
	var part, vendor, product, edition, language, software, hardware, target, other sql.NullString
	const query = `SELECT id, part, vendor, product, edition, language, software_edition, target_hardware, target_software, other FROM cpes`
	return t.each(query, []any{&id, &part, &vendor, &product, &edition, &language, &software, &hardware, &target, &other}, func() {
		c.cpes[id] = cpeRow{product: product.String, whole: c.hash(part, vendor, product, edition, language, software, hardware, target, other)}
	})
}

// readFacts reads what is known of CVEs wherever records name them.
func (c *census) readFacts(t *tables) error {
	var cve, cwe, source, kind, date string
	var blob int64
	var epss, percentile float64
	if err := t.each(`SELECT COALESCE(MAX(date), '') FROM epss_metadata`, []any{&date}, func() {}); err != nil {
		return err
	}
	add := func(sum uint64) { c.facts[strings.ToLower(cve)] += sum }
	if err := t.each(`SELECT cve, epss, percentile FROM epss_handles`, []any{&cve, &epss, &percentile}, func() {
		add(c.hash("epss", date, math.Float64bits(epss), math.Float64bits(percentile)))
		c.add(volumeEPSS, 1)
	}); err != nil {
		return err
	}
	if err := t.each(`SELECT k.cve, COALESCE(b.id, 0) FROM known_exploited_vulnerability_handles k LEFT JOIN blobs b ON b.id = k.blob_id`, []any{&cve, &blob}, func() {
		add(c.hash("kev", c.blobs[blob]))
		c.add(volumeKEV, 1)
	}); err != nil {
		return err
	}
	return t.each(`SELECT cve, cwe, COALESCE(source, ''), COALESCE(type, '') FROM cwe_handles`, []any{&cve, &cwe, &source, &kind}, func() {
		add(c.hash("cwe", cwe, source, kind))
	})
}

// hash digests values of a row, each with its length.
func (c *census) hash(values ...any) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	var number [8]byte
	word := func(n uint64) {
		binary.LittleEndian.PutUint64(number[:], n)
		_, _ = h.Write(number[:]) // never fails
	}
	for _, v := range values {
		switch v := v.(type) {
		case string:
			word(uint64(len(v)))
			_, _ = h.WriteString(v)
		case sql.NullString:
			word(uint64(len(v.String)))
			_, _ = h.WriteString(v.String)
		case uint64:
			word(v)
		default:
			panic(fmt.Sprintf("match: %T is not hashed", v))
		}
	}
	return h.Sum64()
}

// interned keeps one copy of each string, under a number.
type interned struct {
	ids  map[string]int
	text []string
}

func (i *interned) id(s string) int {
	id, ok := i.ids[s]
	if !ok {
		id = len(i.text)
		s = strings.Clone(s)
		i.ids[s] = id
		i.text = append(i.text, s)
	}
	return id
}

func (i *interned) same(s string) string { return i.text[i.id(s)] }
func (i *interned) at(id int) string     { return i.text[id] }

// storable reports whether a string can be a value in the store.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// shown is a name of the database as matches show it.
func shown(s string) string { return text.Clean(s, text.Line) }
