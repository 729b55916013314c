// Command bench measures a whole Tidewaiter on this machine and prints tables in
// Markdown: how fast webhooks become durable, where the time of a cold scan
// goes, what judging an inventory again costs, and what an image takes in the
// database. It brings its own Postgres and registry. It asserts nothing:
// machines differ and are noisy.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"github.com/alecthomas/kong"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/errs"
)

type cli struct {
	Accept  acceptCmd  `cmd:"" help:"Webhook events until they are durable: p50, p99, events per second."`
	Burst   burstCmd   `cmd:"" help:"A burst of webhook events at an even pace, beside an endpoint that does one INSERT."`
	Claim   claimCmd   `cmd:"" help:"Claims of the next scan from a long queue: p50, p99."`
	Engine  engineCmd  `cmd:"" help:"The scan engine as a service of its own process, beside the raw limit and the grype CLI: cold, on a warm base, many images, unchanged ones."`
	Raw     rawCmd     `cmd:"" hidden:""`
	Rematch rematchCmd `cmd:"" help:"A change of database over a large registry that is made up: judged, counted and switched; size; questions."`
	Scan    scanCmd    `cmd:"" help:"Cold scans of images, split into phases, beside the grype CLI; judging again; rows and bytes per image."`
}

func main() {
	// A service in this process starts the program to read images in.
	if len(os.Args) > 1 && os.Args[1] == app.CatalogWorker {
		fmt.Fprintln(os.Stderr, app.Catalogue())
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	parsed := kong.Parse(&cli{}, kong.Name("bench"), kong.UsageOnError(), kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Description("Measures a whole Tidewaiter on this machine. Quote medians and ratios: machines are noisy."))
	err := parsed.Run()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		if hint := errs.Hint(err); hint != "" {
			fmt.Fprintln(os.Stderr, "  hint:", hint)
		}
		os.Exit(1)
	}
}
