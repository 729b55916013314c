package doctor

import (
	"context"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
)

// lookAtWorkers starts a process that images are read in, and ends it.
func (e *examination) lookAtWorkers(ctx context.Context) []Finding {
	const name = "worker processes"
	w := e.config.Workers
	switch {
	case e.isWrong("workers"), e.isWrong("temp_dir"), e.isWrong("limits"):
		return left(name)
	case !w.Enabled:
		return []Finding{{name, OK, "workers.enabled is false: this process scans nothing", ""}}
	case w.Isolation == config.IsolationNone:
		return []Finding{{name, Warn, "workers.isolation is none: a hostile image is read inside the service, with its credentials",
			"set workers.isolation to process"}}
	case !e.Catalogues:
		return []Finding{{name, Skipped, "this program cannot start them", ""}}
	}
	missing, err := app.TryWorker(ctx, e.config)
	if err != nil {
		return []Finding{failed(name, err, "see that the service may start its own program again (no seccomp profile against it) and that temp_dir can be written to")}
	}
	if len(missing) > 0 {
		return []Finding{{name, Warn, "they start, but this system cannot fence them off from: " + strings.Join(missing, ", "),
			"run on Linux 5.13 or newer with Landlock, and let the container's seccomp profile allow landlock_* and seccomp"}}
	}
	return []Finding{{name, OK, "one started, fenced off from files and system calls", ""}}
}
