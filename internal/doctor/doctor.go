// Package doctor looks at an installation as a person would who was called because
// it does not work: at the configuration, at what it needs of this machine and at
// everything it connects to.
//
// It is responsible for asking each room whether it could work as it is configured,
// for what is normal, and for naming the next step where it is not. It must not
// change anything but the temporary files it writes to see whether it can, must
// send no message to anybody, and what it says holds no secret.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Status is how something is.
type Status string

// The words of Status, from good to bad. What could not be looked at because of
// something that is told elsewhere is skipped.
const (
	OK      Status = "ok"
	Skipped Status = "skipped"
	Warn    Status = "warn"
	Fail    Status = "fail"
)

// rank orders what is worse first.
func (s Status) rank() int { return slices.Index([]Status{Fail, Warn, Skipped, OK}, s) }

// Finding is one thing that was looked at.
type Finding struct {
	// Check names what was looked at, as "database" or "registry prod".
	Check  string `json:"check"`
	Status Status `json:"status"`
	// Found says what is there.
	Found string `json:"found"`
	// Fix says what to do; empty when nothing is to be done.
	Fix string `json:"fix,omitempty"`
}

// Options say what to look at. Load is required.
type Options struct {
	// Load reads the configuration, as config.Load does; Path is what it reads, for
	// messages.
	Load func(...config.Option) (config.Config, error)
	Path string
	// Server is the address of a running service; empty to leave it out.
	Server string
	// Catalogues says that this program becomes a worker process when it is started
	// as the service starts them; see app.Catalogue.
	Catalogues bool
	// Timeout bounds each check; 15 s.
	Timeout time.Duration
	// Began and Ended are told of each check, one at a time; may be nil.
	Began, Ended func(check string)
	// Free is how many bytes are free where a directory is; nil asks the system.
	Free func(dir string) (uint64, error)
}

// check is one look at something. It should honour ctx; when it does not, it
// counts as hanging all the same.
type check struct {
	name string
	run  func(ctx context.Context) []Finding
}

// Run looks at everything, side by side, and returns what it found in a fixed
// order. It takes little longer than Options.Timeout.
func Run(ctx context.Context, o Options) []Finding {
	if o.Timeout == 0 {
		o.Timeout = 15 * time.Second
	}
	if o.Free == nil {
		o.Free = freeBytes
	}
	e := &examination{Options: o, database: database{ready: make(chan struct{})}}
	found := e.readConfiguration()
	if !e.unreadable {
		found = append(found, e.runAll(ctx, e.checks())...)
	}
	hide(found, e.config.Secrets())
	return found
}

// examination is one run.
type examination struct {
	Options
	config     config.Config
	unreadable bool            // there is no configuration to go by
	wrong      config.Problems // what is wrong with it
	database   database

	telling sync.Mutex
}

// checks lists what there is to look at with this configuration.
func (e *examination) checks() []check {
	all := []check{
		{"database", e.lookAtDatabase},
		{"migrations", e.lookAtMigrations},
		{"clock", e.lookAtClock},
		{"vulnerability database", e.lookAtVulnDB},
		{"worker processes", e.lookAtWorkers},
		{"addresses", e.lookAtAddresses},
		{"certificates", e.lookAtCertificates},
		{"public_url", e.lookAtPublicURL},
	}
	all = append(all, e.diskChecks()...)
	all = append(all, e.registryChecks()...)
	all = append(all, check{"webhooks", e.lookAtWebhooks})
	all = append(all, e.channelChecks()...)
	if e.Server != "" {
		all = append(all, check{"server", e.lookAtServer})
	}
	return all
}

// runAll runs checks side by side.
func (e *examination) runAll(ctx context.Context, checks []check) []Finding {
	found := make([][]Finding, len(checks))
	var running sync.WaitGroup
	for i, c := range checks {
		running.Go(func() {
			e.tell(e.Began, c.name)
			found[i] = e.runOne(ctx, c)
			e.tell(e.Ended, c.name)
		})
	}
	running.Wait()
	return slices.Concat(found...)
}

func (e *examination) tell(whom func(string), name string) {
	e.telling.Lock()
	defer e.telling.Unlock()
	if whom != nil {
		whom(name)
	}
}

// runOne gives a check its time, and little more to notice that it is over.
func (e *examination) runOne(ctx context.Context, c check) []Finding {
	const grace = time.Second
	ctx, cancel := context.WithTimeout(ctx, e.Timeout)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- []Finding{{c.name, Fail, fmt.Sprintf("the check itself failed: %v", r), "report this as a bug"}}
			}
		}()
		done <- c.run(ctx)
	}()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
	}
	select {
	case found := <-done:
		return found
	case <-time.After(grace):
		return []Finding{{c.name, Fail, fmt.Sprintf("nothing came back within %s", e.Timeout), "look at what it connects to; --timeout gives it longer"}}
	}
}

// failed is the finding of an error. The error's own hint says what to do; without
// one, fix does.
func failed(name string, err error, fix string) Finding {
	if hint := errs.Hint(err); hint != "" {
		fix = hint
	}
	return Finding{name, Fail, strings.Join(strings.Fields(err.Error()), " "), fix}
}

// hide takes secrets out of findings, as a second line behind whoever wrote them.
// Short ones stay: they would take out parts of words.
func hide(found []Finding, secrets []string) {
	const least = 8
	longest := slices.SortedFunc(slices.Values(secrets), func(a, b string) int { return len(b) - len(a) })
	for i := range found {
		for _, secret := range longest {
			if len(secret) >= least {
				found[i].Found = strings.ReplaceAll(found[i].Found, secret, "[redacted]")
				found[i].Fix = strings.ReplaceAll(found[i].Fix, secret, "[redacted]")
			}
		}
	}
}

// Worst is the worst status among findings; OK when there are none.
func Worst(found []Finding) Status {
	worst := OK
	for _, f := range found {
		if f.Status.rank() < worst.rank() {
			worst = f.Status
		}
	}
	return worst
}

// WorstFirst orders findings by status and leaves the order within one.
func WorstFirst(found []Finding) []Finding {
	return slices.SortedStableFunc(slices.Values(found), func(a, b Finding) int { return a.Status.rank() - b.Status.rank() })
}
