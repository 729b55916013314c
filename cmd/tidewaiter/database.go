package main

import (
	"context"
	"os"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/config"
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
	})
	return strings.TrimSpace(loaded.Database.URL.Reveal()), err
}

// open connects to the database.
func (f databaseFlags) open(ctx context.Context) (*postgres.Store, error) {
	url, err := f.url()
	if err != nil {
		return nil, err
	}
	return postgres.Open(ctx, url, postgres.Options{MaxConns: 2})
}
