// Command stage is the quickstart proper: a private Postgres, a real registry,
// the service itself and a deliberately vulnerable image pushed through them.
//
// It is responsible for starting and stopping these parts and for telling what
// happens. It must not import what compiles for minutes (syft, grype), so that
// Postgres is known to work before that begins; Tidewaiter runs as the separate
// program it is anyway.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tidewaiter/tidewaiter/cmd/quickstart/internal/console"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// options are the flags.
type options struct {
	Data         string        `help:"Directory for everything the quickstart keeps." default:"quickstart-data" type:"path"`
	Port         int           `help:"Port of Tidewaiter; 0 takes 8080, or a free one when that is in use."`
	RegistryPort int           `help:"Port of the registry; 0 takes 5000, or a free one when that is in use."`
	Tidewaiter   string        `help:"Use this tidewaiter program in place of building one." type:"existingfile"`
	Sample       bool          `help:"Use the sample vulnerability database and do not look for the official one."`
	Wait         time.Duration `help:"How long the first scan may take." default:"5m"`
	Exit         bool          `help:"Leave after the table of findings in place of staying until Ctrl-C."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("quickstart"),
		kong.Description("Try Tidewaiter: starts Postgres, a registry and Tidewaiter, pushes a vulnerable image and shows what is found."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second Ctrl-C ends the program at once; the kernel then ends the rest.
	context.AfterFunc(ctx, stop)
	out := console.New(os.Stdout)
	err := run(ctx, o, out)
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		out.Say("stopped before the end")
		os.Exit(130)
	default:
		fmt.Fprintf(os.Stderr, "\nquickstart: %v\n", err)
		if hint := errs.Hint(err); hint != "" {
			fmt.Fprintf(os.Stderr, "next: %s\n", hint)
		}
		os.Exit(1)
	}
}
