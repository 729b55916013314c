package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// databaseFlags name the Postgres database for commands that need nothing else.
type databaseFlags struct {
	configFile
	DatabaseURL string `name:"database-url" setting:"yes" placeholder:"URL" help:"Postgres, as postgres://user@host:5432/tidewaiter; file:PATH reads it from a file. With it the configuration file is not read. A flag can be seen in the list of processes, so prefer the variable for one with a password."`
}

// url returns the database's URL. The configuration file is read, and has to be
// good, only when neither flag nor variable names the database.
func (f databaseFlags) url() (string, error) {
	const variable = "TIDEWAITER_DATABASE_URL"
	path := f.path()
	given := f.DatabaseURL
	flags := flagNames(map[string]string{variable: given})
	if given == "" {
		given = os.Getenv(variable)
	}
	if given != "" {
		path = ""
	}
	loaded, err := config.Load(path, func(name string) (string, bool) {
		if given != "" {
			return given, name == variable
		}
		return os.LookupEnv(name)
	}, config.WithFlags(flags))
	return strings.TrimSpace(loaded.Database.URL.Reveal()), err
}

// open connects to the database.
func (f databaseFlags) open(ctx context.Context) (*postgres.Store, error) {
	url, err := f.url()
	if err != nil {
		return nil, err
	}
	store, err := postgres.Open(ctx, url, postgres.Options{MaxConns: 2})
	return store, databaseError(err)
}

// databaseError adds the next step to an error of connecting to Postgres; other
// errors pass.
func databaseError(err error) error {
	var known *errs.Error
	if !errors.As(err, &known) || !strings.HasPrefix(err.Error(), "postgres: ") || errs.Hint(err) != "" {
		return err
	}
	switch known.Kind {
	case errs.Unavailable, errs.Timeout, errs.Unauthorized, errs.Forbidden, errs.NotFound:
		return &errs.Error{Kind: known.Kind, Op: "database", Err: err, Hint: "check that Postgres runs and that database.url or TIDEWAITER_DATABASE_URL names it, with user and password"}
	}
	return err
}
