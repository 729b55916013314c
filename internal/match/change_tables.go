package match

import (
	"database/sql"
	"fmt"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"
)

// compared says of every table of the database how a difference in it is noticed.
// A test holds the list to grype's models.
var compared = map[string]string{
	"db_metadata":                           "everything is judged again when the schema is another; the day it was built decides nothing",
	"providers":                             "an id is part of each record; dates and digests of what was fetched decide nothing",
	"blobs":                                 "with the rows that point to them",
	"vulnerability_handles":                 "records, and the names of what they are about",
	"vulnerability_aliases":                 "made from the texts of records, which are compared",
	"affected_package_handles":              "names",
	"unaffected_package_handles":            "names",
	"affected_cpe_handles":                  "names of products",
	"unaffected_cpe_handles":                "names of products",
	"packages":                              "with the rows about them",
	"package_cpes":                          "with the rows about the package, under the names of products",
	"cpes":                                  "with the rows about them",
	"operating_systems":                     "names of distros; dates of support are no matter of matching: coverage is asked anew",
	"operating_system_specifier_overrides":  "everything is judged again",
	"package_specifier_overrides":           "everything is judged again",
	"architecture_aliases":                  "everything is judged again",
	"known_exploited_vulnerability_handles": "records",
	"epss_handles":                          "records",
	"epss_metadata":                         "records that have an estimate",
	"cwe_handles":                           "records",
	"ssvc_handles":                          "nothing reads it",
}

// deciding are small tables whose rows concern every package, in words for a
// person.
var deciding = []struct{ table, columns, words string }{
	{
		"operating_system_specifier_overrides",
		`alias, version, version_pattern, codename, channel, replacement, replacement_major_version, replacement_minor_version,
		 replacement_label_version, replacement_channel, CAST(rolling AS TEXT), applicable_client_db_schemas`,
		"which distro stands on whose data is decided otherwise",
	},
	{"package_specifier_overrides", `ecosystem, replacement_ecosystem`, "the names of ecosystems are understood otherwise"},
	{"architecture_aliases", `alias, canonical`, "the names of architectures are understood otherwise"},
}

// readSmall reads the schema's version and the tables of deciding.
func (c *census) readSmall(t *tables) error {
	var model, revision, addition int
	if err := t.each(`SELECT model, revision, addition FROM db_metadata`, []any{&model, &revision, &addition}, func() {
		c.schema = fmt.Sprintf("v%d.%d.%d", model, revision, addition)
	}); err != nil {
		return err
	}
	for _, d := range deciding {
		columns := make([]sql.NullString, 1+strings.Count(d.columns, ","))
		into, values := make([]any, len(columns)), make([]any, len(columns))
		for i := range columns {
			into[i] = &columns[i]
		}
		// SQLite's CAST holds no comma, so that columns can be counted.
		if err := t.each(`SELECT `+d.columns+` FROM `+d.table, into, func() {
			for i := range columns {
				values[i] = columns[i]
			}
			c.small[d.table] += c.hash(values...)
		}); err != nil {
			return err
		}
	}
	return c.readDistroAliases(t)
}

// readDistroAliases notes which distros are looked up under the name of another.
// A rule without a replacement changes the version only: then all releases
// matter to the distro itself.
func (c *census) readDistroAliases(t *tables) error {
	var alias, replacement string
	const query = `SELECT alias, COALESCE(replacement, alias) FROM operating_system_specifier_overrides`
	return t.each(query, []any{&alias, &replacement}, func() {
		n := folded(replacement)
		c.distroAliases[n] = append(c.distroAliases[n], alias)
	})
}

func (c *census) readReleases(t *tables) error {
	var id int64
	var r release
	const query = `SELECT id, COALESCE(name, ''), COALESCE(release_id, ''), COALESCE(major_version, ''), COALESCE(minor_version, ''),
		COALESCE(label_version, ''), COALESCE(codename, ''), COALESCE(channel, '') FROM operating_systems`
	return t.each(query, []any{&id, &r.name, &r.id, &r.major, &r.minor, &r.label, &r.codename, &r.channel}, func() {
		c.releases[r]++
		c.systems[id] = v6.OperatingSystem{
			Name: r.name, ReleaseID: r.id, MajorVersion: r.major, MinorVersion: r.minor,
			LabelVersion: r.label, Codename: r.codename, Channel: r.channel,
		}
	})
}

// compareTables says in words what differs that concerns every package; empty
// when nothing does.
func compareTables(was, is *census) string {
	var why []string
	if was.schema != is.schema {
		why = append(why, fmt.Sprintf("the database has schema %s, the one before had %s", is.schema, was.schema))
	}
	for _, d := range deciding {
		if was.small[d.table] != is.small[d.table] {
			why = append(why, fmt.Sprintf("%s (%s)", d.words, d.table))
		}
	}
	return strings.Join(why, "; ")
}
