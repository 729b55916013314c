package match

import (
	"context"
	"strings"

	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// The keys of a volume that are neither a distro nor an ecosystem.
const (
	volumeCPE  = "cpe"
	volumeKEV  = "kev"
	volumeEPSS = "epss"
)

// VolumeOf counts the records of an installed database by what they cover:
// "distro:debian:12" for a release, "ecosystem:npm" for an ecosystem, and "cpe",
// "kev" and "epss". A record about two packages counts twice. The database is
// only read. Compare returns the volumes of both its databases.
func VolumeOf(ctx context.Context, in vulndb.Installed) (scan.Volume, error) {
	volume := scan.Volume{}
	err := withTables(ctx, in, func(t *tables) error {
		c := &census{volume: volume, systems: map[int64]v6.OperatingSystem{}, releases: map[release]uint64{}, packages: map[int64]packageRow{}}
		if err := c.readReleases(t); err != nil {
			return err
		}
		if err := c.readPackages(t); err != nil {
			return err
		}
		return c.countAll(t)
	})
	return volume, errs.Op("match: volume of a database", err)
}

// countAll fills the volume alone.
func (c *census) countAll(t *tables) error {
	var system, about int64
	for _, table := range []string{"affected_package_handles", "unaffected_package_handles"} {
		query := `SELECT COALESCE(operating_system_id, 0), COALESCE(package_id, 0) FROM ` + table
		if err := t.each(query, []any{&system, &about}, func() { c.count(system, c.packages[about]) }); err != nil {
			return err
		}
	}
	var n int
	for _, of := range []struct{ table, key string }{
		{"affected_cpe_handles", volumeCPE}, {"unaffected_cpe_handles", volumeCPE},
		{"known_exploited_vulnerability_handles", volumeKEV}, {"epss_handles", volumeEPSS},
	} {
		if err := t.each(`SELECT count(*) FROM `+of.table, []any{&n}, func() { c.add(of.key, n) }); err != nil {
			return err
		}
	}
	return nil
}

// count adds a record about a package of a distro's release or of an ecosystem.
func (c *census) count(system int64, p packageRow) {
	os, ok := c.systems[system]
	if !ok {
		c.add("ecosystem:"+p.ecosystem, 1)
		return
	}
	if c.scopes == nil {
		c.scopes = map[int64]string{}
	}
	scope, ok := c.scopes[system]
	if !ok {
		// As namespaces have it, without a provider: Ubuntu's 20.4 is 20.04 there.
		scope = strings.TrimPrefix(v6.MimicV5Namespace(&v6.VulnerabilityHandle{Provider: &v6.Provider{}},
			&v6.AffectedPackageHandle{Package: &v6.Package{}, OperatingSystem: &os}), ":")
		c.scopes[system] = scope
	}
	c.add(scope, 1)
}

func (c *census) add(key string, n int) {
	if n > 0 {
		c.volume[key] += n
	}
}
