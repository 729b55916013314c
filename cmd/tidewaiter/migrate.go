package main

import (
	"context"
	"fmt"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// migrateCmd is tidewaiter migrate.
type migrateCmd struct {
	databaseFlags
}

// Help is shown by --help.
func (migrateCmd) Help() string {
	return `The service does the same when it starts. Use this to migrate before a rollout, or with a database user that may change the schema while the service's may not. It is safe to run twice and from several places at once: the second waits for the first.

    TIDEWAITER_DATABASE_URL=postgres://owner@db:5432/tidewaiter tidewaiter migrate`
}

// Run is called by kong.
func (c *migrateCmd) Run(ctx context.Context, out *output) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, url); err != nil {
		return databaseError(err)
	}
	_, err = fmt.Fprintln(out.Stdout, "the schema is up to date")
	return err
}
