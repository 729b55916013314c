package postgres

import "context"

// Schema is the number of the newest migration that the database has.
func (s *Store) Schema(ctx context.Context) (version int64, err error) {
	const query = `SELECT COALESCE(max(version_id), 0) FROM goose_db_version WHERE is_applied`
	err = s.pool.QueryRow(ctx, query).Scan(&version)
	return version, wrap("read schema", err)
}
