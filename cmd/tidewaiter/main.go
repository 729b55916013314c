// Command tidewaiter says what is wrong with the images in a registry: as a
// service that follows pushes (serve), once for one image (scan), and with what
// belongs to both.
//
// It is responsible for the command line only: flags, messages, exit codes. What
// is done lives in the rooms below internal.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// cli is the command line; kong reads it.
type cli struct {
	Serve      serveCmd      `cmd:"" help:"Run the service: webhook receiver, workers and API."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the Postgres schema up to date."`
	Scan       scanCmd       `cmd:"" help:"Scan one image, without service and Postgres."`
	VulnDB     vulndbCmd     `cmd:"" name:"vulndb" help:"Keep the vulnerability database: update, import, status, build."`
	Webhook    webhookCmd    `cmd:"" help:"Find out what an endpoint makes of a webhook."`
	Repos      reposCmd      `cmd:"" help:"List repositories with what they have, the worst first."`
	Tags       tagsCmd       `cmd:"" help:"List the tags of a repository with what each has."`
	Image      imageCmd      `cmd:"" help:"Say what is known of an image, platform by platform."`
	Findings   findingsCmd   `cmd:"" help:"List what is wrong with an image or a repository; in CI, fail on it."`
	Where      whereCmd      `cmd:"" help:"Say which images hold a package or have a vulnerability."`
	Events     eventsCmd     `cmd:"" help:"List what is new: findings that opened, closed or became worse."`
	Scans      scansCmd      `cmd:"" help:"List scans: how far they are, and why some failed."`
	Request    requestCmd    `cmd:"" help:"Ask for a scan of an image."`
	Coverage   coverageCmd   `cmd:"" help:"Say whether anything is missing, and why."`
	Registries registriesCmd `cmd:"" help:"List the registries that are known."`
	Forget     forgetCmd     `cmd:"" help:"Delete what is known of a repository or a registry."`

	Trace     traceCmd     `cmd:"" help:"Say where an image is that was pushed: on its way, answered, or why not."`
	Compare   compareCmd   `cmd:"" help:"Say what differs between two images, or between two days of one."`
	Upgrades  upgradesCmd  `cmd:"" help:"Say which upgrades close the findings of an image."`
	Export    exportCmd    `cmd:"" help:"Write the findings of all images as NDJSON or CSV."`
	Cancel    cancelCmd    `cmd:"" help:"End a scan that is not wanted any more."`
	Reconcile reconcileCmd `cmd:"" help:"Compare a registry with what is known, and scan what was missed."`
	Notify    notifyCmd    `cmd:"" help:"Look after notifications: log, send again, try a channel."`
	Collect   collectCmd   `cmd:"" help:"Delete what is over for longer than it is kept."`
	Token     tokenCmd     `cmd:"" help:"Make, list and revoke API tokens."`
	Doctor    doctorCmd    `cmd:"" help:"Say what is wrong with an installation, and what to do."`
	Audit     auditCmd     `cmd:"" help:"List who changed what."`
	Config    configCmd    `cmd:"" help:"Check, show and write configuration files."`
	Health    healthCmd    `cmd:"" help:"Ask the service of this container how it is."`
	Version   versionCmd   `cmd:"" help:"Print the version, and that of a service."`

	CatalogWorker catalogWorkerCmd `cmd:"" hidden:"" help:"What serve starts to read images in."`
}

func main() {
	// The first signal asks to stop in order, the second stops at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes a command line and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	parser, err := newParser(ctx, stdout, stderr)
	if err != nil {
		return fail(people{stderr}, err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(behindCommand(args))
	if err != nil {
		return fail(people{stderr}, usage(err))
	}
	return fail(people{stderr}, command.Run())
}
