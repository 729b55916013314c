package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
)

const (
	importIt = "fetch one with `tidewaiter vulndb update`, or import one with `tidewaiter vulndb import FILE` where there is no internet"
	checkNow = "look for a newer one with `tidewaiter vulndb check`, or import one with `tidewaiter vulndb import FILE`; the log of the service says why updates fail"
)

// lookAtVulnDB judges the build in force, the one on this disk, and where updates
// come from.
func (e *examination) lookAtVulnDB(ctx context.Context) []Finding {
	const name = "vulnerability database"
	if e.isWrong("vulndb") {
		return left(name)
	}
	library, err := vulndb.Open(app.VulnDBConfig(e.config))
	if err != nil {
		return []Finding{failed(name, err, "correct vulndb in the configuration")}
	}
	latest := make(chan []Finding, 1)
	go func() { latest <- e.lookAtSource(ctx, library) }()
	found := e.judgeBuilds(ctx, library)
	return append(found, <-latest...)
}

// judgeBuilds judges what is in force, or here and would be.
func (e *examination) judgeBuilds(ctx context.Context, library *vulndb.Library) []Finding {
	const name = "vulnerability database"
	here, err := library.Current()
	if err != nil && !errs.Is(err, errs.NotFound) {
		return []Finding{failed(name, err, "remove the damaged build from vulndb.dir; the service fetches it again")}
	}
	present := err == nil
	d := e.wait(ctx)
	switch {
	case d != nil && d.active != nil:
		found := e.judgeBuild("in force", d.active.Built, d.active.Sample)
		if _, err := library.Get(d.active.Checksum); err != nil && e.config.Workers.Enabled {
			found = append(found, Finding{name, OK, "the build in force is not in vulndb.dir here; workers get it through Postgres", ""})
		}
		if d.states["held"] > 0 {
			found = append(found, Finding{name, Warn, "a newer build would change too much and waits for a person",
				"look at it with `tidewaiter vulndb diff`, then `tidewaiter vulndb release` or `tidewaiter vulndb discard`"})
		}
		return found
	case present:
		return e.judgeBuild("in vulndb.dir", here.Built, here.Sample)
	case e.config.VulnDB.AutoUpdate:
		return []Finding{{name, Warn, "there is none yet; a service that starts fetches one, and scans wait for it", importIt}}
	}
	return []Finding{{name, Fail, "there is none, and vulndb.auto_update is off: no image is ever judged", importIt}}
}

// judgeBuild judges one build by its age.
func (e *examination) judgeBuild(where string, built time.Time, sample bool) []Finding {
	const name = "vulnerability database"
	age := time.Since(built).Round(time.Hour)
	text := fmt.Sprintf("the one %s was built %s ago", where, inDays(age))
	alarm := e.config.VulnDB.AlarmAge
	switch {
	case sample:
		return []Finding{{name, Warn, "the sample is " + where + ": a few well-known vulnerabilities, for trying out only", importIt}}
	case alarm > 0 && age > alarm:
		return []Finding{{name, Fail, fmt.Sprintf("%s, beyond vulndb.alarm_age (%s): what was published since is missed", text, inDays(alarm)), checkNow}}
	}
	return []Finding{{name, OK, text, ""}}
}

// lookAtSource asks for the newest build, where this process would.
func (e *examination) lookAtSource(ctx context.Context, library *vulndb.Library) []Finding {
	const name = "vulnerability database updates"
	switch {
	case !e.config.Workers.Enabled:
		return []Finding{{name, OK, "left to processes with workers", ""}}
	case !e.config.VulnDB.AutoUpdate:
		return []Finding{{name, OK, "vulndb.auto_update is off: builds are imported by hand", ""}}
	}
	built, err := library.Latest(ctx)
	if err != nil {
		return []Finding{failed(name, err, "check vulndb.url, vulndb.ca_file and HTTPS_PROXY, or switch vulndb.auto_update off and import by hand")}
	}
	return []Finding{{name, OK, fmt.Sprintf("%s has one that was built %s ago", library.Source(), inDays(time.Since(built).Round(time.Hour))), ""}}
}

// inDays is a duration as people say it.
func inDays(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= 2*day {
		return fmt.Sprintf("%d days", d/day)
	}
	return fmt.Sprintf("%d hours", d/time.Hour)
}
