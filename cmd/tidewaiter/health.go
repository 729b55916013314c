package main

import (
	"context"
	"fmt"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

// healthCmd is tidewaiter health.
type healthCmd struct {
	configFile
	Listen  string        `setting:"yes" placeholder:"ADDR" help:"Address that the service listens on, where it was told so by a flag."`
	Ready   bool          `help:"Ask whether it can do its work, too: Postgres answers and, where it scans, there is a vulnerability database."`
	Timeout time.Duration `placeholder:"DURATION" default:"4s" help:"Time the answer may take."`
}

// Help is shown by --help.
func (healthCmd) Help() string {
	return `For the health check of a container without a shell: asks the service of this container for /livez, or with --ready for /readyz, and exits with 1 when it does not say yes. Configuration and environment tell where it listens, as they tell the service.

    tidewaiter health

    tidewaiter health --ready --listen :8081`
}

// Run is called by kong.
func (c *healthCmd) Run(ctx context.Context, out *output) error {
	loaded, err := c.load(map[string]string{"TIDEWAITER_LISTEN": c.Listen})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	question := httpserver.Question{Addr: loaded.Listen, TLS: loaded.TLS.CertFile != "", Ready: c.Ready}
	if err := httpserver.Ask(ctx, question); err != nil {
		return err
	}
	word := "live"
	if c.Ready {
		word = "ready"
	}
	_, err = fmt.Fprintln(out.Stdout, word)
	return err
}
