package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/doctor"
)

// exitUnwell is the exit code of doctor when something is broken.
const exitUnwell = 2

// doctorCmd is tidewaiter doctor.
type doctorCmd struct {
	configFile
	Server  string        `placeholder:"URL" env:"TIDEWAITER_SERVER" help:"Address of a running service to ask as well whether it is ready."`
	Output  string        `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json."`
	Strict  bool          `help:"Exit with 1 when there are warnings and nothing worse."`
	Timeout time.Duration `placeholder:"TIME" default:"15s" help:"Time each check may take."`
	Quiet   bool          `short:"q" help:"No progress on standard error, and of the table only what is not ok."`
}

// Help is shown by --help.
func (doctorCmd) Help() string {
	return `Looks at everything the service needs and says what is wrong and what to do: the configuration with its secrets, Postgres and its schema, each registry with its credential, webhooks, clocks, disks, the vulnerability database, worker processes, addresses, certificates, notification channels. Nothing is changed and no message is sent.

Run it as the user, in the environment and on the machine, or in the container, of the service; what it says of files, disks and connections holds for there.

    tidewaiter doctor --config tidewaiter.yaml

    kubectl exec deploy/tidewaiter -- /tidewaiter doctor -o json

Exit codes: 0 when nothing is broken; 1 when there are warnings and --strict was given; 2 when something is broken; 64 when the command line cannot be understood.`
}

// Run is called by kong.
func (c *doctorCmd) Run(ctx context.Context, out *output) error {
	watch := newDoctorProgress(out.Stderr, c.Quiet || c.Output == "json")
	found := doctor.Run(ctx, doctor.Options{
		Load: func(options ...config.Option) (config.Config, error) { return c.load(nil, options...) },
		Path: c.source(), Server: c.Server, Catalogues: true, Timeout: c.Timeout, Began: watch.began, Ended: watch.ended,
	})
	watch.steps.done()
	var err error
	if c.Output == "json" {
		err = writeJSON(out.Stdout, doctorAnswer{Status: doctor.Worst(found), Findings: found})
	} else {
		err = c.write(out.Stdout, found)
	}
	if err != nil {
		return err
	}
	switch worst := doctor.Worst(found); {
	case worst == doctor.Fail:
		return &exitError{code: exitUnwell}
	case worst == doctor.Warn && c.Strict:
		return &exitError{code: exitFailed}
	}
	return nil
}

// doctorAnswer is the JSON form.
type doctorAnswer struct {
	Status   doctor.Status    `json:"status"` // the worst
	Findings []doctor.Finding `json:"findings"`
}

// source is what the configuration comes from, for people.
func (c *doctorCmd) source() string {
	if _, err := os.Stat(c.path()); err != nil && c.path() == config.DefaultPath {
		return "flags and environment (there is no " + config.DefaultPath + ")"
	}
	return c.path()
}

// write shows findings, the worst first, each with what to do below it.
func (c *doctorCmd) write(w io.Writer, found []doctor.Finding) error {
	counts := map[doctor.Status]int{}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range doctor.WorstFirst(found) {
		counts[f.Status]++
		if c.Quiet && f.Status == doctor.OK {
			continue
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", strings.ToUpper(string(f.Status)), line(f.Check), line(f.Found))
		if f.Fix != "" {
			_, _ = fmt.Fprintf(table, "\t\tdo: %s\n", line(f.Fix))
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n%d broken, %d warnings, %d ok\n", counts[doctor.Fail], counts[doctor.Warn], counts[doctor.OK])
	return err
}

// doctorProgress tells on a terminal which checks still run.
type doctorProgress struct {
	steps   *progress
	running []string
}

func newDoctorProgress(stderr people, quiet bool) *doctorProgress {
	p := &doctorProgress{steps: newProgress(stderr, quiet)}
	p.steps.start("looking")
	return p
}

func (p *doctorProgress) began(check string) {
	p.running = append(p.running, check)
	p.show()
}

func (p *doctorProgress) ended(check string) {
	kept := p.running[:0]
	for _, other := range p.running {
		if other != check {
			kept = append(kept, other)
		}
	}
	p.running = kept
	p.show()
}

func (p *doctorProgress) show() {
	const most = 3
	text := strings.Join(p.running[:min(len(p.running), most)], ", ")
	if more := len(p.running) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	p.steps.update(text)
}
