package config

import (
	"net/url"
	"time"
)

// VulnDB is the vulnerability database.
type VulnDB struct {
	// Directory that holds database builds. Needs about 4 GiB. Processes need not share it: one that lacks the build in force gets it through Postgres.
	Dir string `yaml:"dir" default:"/var/lib/tidewaiter/vulndb" path:"true" env:"TIDEWAITER_VULNDB_DIR" flag:"vulndb-dir"`
	// Where to look for new builds: the base of a mirror of grype's distribution, or the address of its `latest.json`; empty means grype's own. A user and password in it are sent as basic authentication.
	URL URL `yaml:"url" env:"TIDEWAITER_VULNDB_URL"`
	// PEM file of certificate authorities to trust for `url`, in place of `ca_file`.
	CAFile string `yaml:"ca_file" path:"true"`
	// Time between looks for a new build.
	UpdateInterval time.Duration `yaml:"update_interval" default:"1h"`
	// Whether to look for new builds at all; switch it off where builds are imported by hand.
	AutoUpdate bool `yaml:"auto_update" default:"true" env:"TIDEWAITER_VULNDB_AUTO_UPDATE"`
	// Builds that stay in `dir`: the one in force, and next to it those with the newest data.
	Keep int `yaml:"keep" default:"3"`
	// Age of the build in force from which on it is an alarm: a line in the log, a metric and a word in the API. 0 for never.
	AlarmAge time.Duration `yaml:"alarm_age" default:"5d"`
	// When a new build is not put in force but waits for a word from a person.
	Hold Hold `yaml:"hold"`
}

// Hold says when a new build waits for a person: a bad feed must not turn
// everything green. Shares are of what the build in force says.
type Hold struct {
	// Whether builds are held at all.
	Enabled bool `yaml:"enabled" default:"true"`
	// Percent of all open matches that a build may close.
	ClosedPercent int `yaml:"closed_percent" default:"10"`
	// Percent of the open matches of one distro or ecosystem that a build may close.
	ScopeClosedPercent int `yaml:"scope_closed_percent" default:"30"`
	// Open matches below which neither of them is looked at.
	MinMatches int `yaml:"min_matches" default:"100"`
	// Percent by which the records about one distro or ecosystem may become fewer.
	RecordsPercent int `yaml:"records_percent" default:"50"`
	// Records about a distro or ecosystem below which it does not matter that they become fewer, or none.
	MinRecords int `yaml:"min_records" default:"20"`
}

func (c Config) checkVulnDB(ps *Problems) {
	v := c.VulnDB
	if v.Dir == "" {
		ps.add("vulndb.dir", "empty")
	}
	if v.URL != "" {
		u, err := url.Parse(v.URL.Reveal())
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			ps.add("vulndb.url", "not an https:// or http:// address")
		}
	}
	ps.atLeast("vulndb.update_interval", v.UpdateInterval, time.Minute)
	ps.between("vulndb.keep", v.Keep, 2, 1000)
	ps.atLeast("vulndb.alarm_age", v.AlarmAge, 0)
	ps.between("vulndb.hold.closed_percent", v.Hold.ClosedPercent, 0, 100)
	ps.between("vulndb.hold.scope_closed_percent", v.Hold.ScopeClosedPercent, 0, 100)
	ps.between("vulndb.hold.min_matches", v.Hold.MinMatches, 1, 1<<30)
	ps.between("vulndb.hold.records_percent", v.Hold.RecordsPercent, 0, 100)
	ps.between("vulndb.hold.min_records", v.Hold.MinRecords, 1, 1<<30)
}
