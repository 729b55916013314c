// Package migrations holds the schema of the database as numbered SQL files
// for goose. Files are forward-only: a landed file never changes.
package migrations

import "embed"

// FS holds the migration files.
//
//go:embed *.sql
var FS embed.FS
