-- Indexes on tables that may be large, each built beside the work of the service
-- and not in its way. What a run that was cut off left half built is built again.

-- +goose NO TRANSACTION
-- +goose Up

-- The line of a registry, read from its head.
DROP INDEX CONCURRENTLY IF EXISTS scan_line;
CREATE INDEX CONCURRENTLY scan_line ON scan (registry_id, priority DESC, turn, id) WHERE state = 'queued' AND turn IS NOT NULL;

-- The last in the line of one repository.
DROP INDEX CONCURRENTLY IF EXISTS scan_line_repository;
CREATE INDEX CONCURRENTLY scan_line_repository ON scan (repository_id, priority, retried, turn) WHERE state = 'queued' AND turn IS NOT NULL;

-- What waits for its time.
DROP INDEX CONCURRENTLY IF EXISTS scan_waiting;
CREATE INDEX CONCURRENTLY scan_waiting ON scan (run_after, id) WHERE state = 'queued' AND turn IS NULL;

-- When a registry had its last turn.
DROP INDEX CONCURRENTLY IF EXISTS scan_started;
CREATE INDEX CONCURRENTLY scan_started ON scan (registry_id, started_at) WHERE started_at IS NOT NULL;

-- The history of a tag, newest first.
DROP INDEX CONCURRENTLY IF EXISTS tag_event_history;
CREATE INDEX CONCURRENTLY tag_event_history ON tag_event (repository_id, tag, id DESC);

DROP INDEX CONCURRENTLY IF EXISTS scan_unresolved;
CREATE INDEX CONCURRENTLY scan_unresolved ON scan (repository_id, state) WHERE manifest_id IS NULL AND state IN ('queued', 'running', 'failed');

-- The ledger is made from this index and repository_manifest alone.
DROP INDEX CONCURRENTLY IF EXISTS manifest_ledger;
CREATE INDEX CONCURRENTLY manifest_ledger ON manifest (id) INCLUDE (state, reason, scanned_at);

DROP INDEX CONCURRENTLY IF EXISTS delivery_received;
CREATE INDEX CONCURRENTLY delivery_received ON delivery (registry_id, received_at);

DROP INDEX CONCURRENTLY IF EXISTS delivery_repository;
CREATE INDEX CONCURRENTLY delivery_repository ON delivery (repository, id DESC);

DROP INDEX CONCURRENTLY IF EXISTS delivery_ignored;
CREATE INDEX CONCURRENTLY delivery_ignored ON delivery (registry_id, id DESC) WHERE verdict = 'ignored';

DROP INDEX CONCURRENTLY IF EXISTS scan_canceled;
CREATE INDEX CONCURRENTLY scan_canceled ON scan (repository_id, manifest_id) WHERE canceled_by IS NOT NULL;

-- It served the order by waiting time, which scan_line took over.
DROP INDEX CONCURRENTLY IF EXISTS scan_due;
