-- A fair order of scans that costs nothing to read (docs/adr/0009). A scan that
-- may run stands in a line of its registry and priority, at the turn it got when
-- it joined; one that has to wait for its time has none. The version before
-- knows nothing of this: what it queues has neither registry nor turn, and gets
-- both within a second, as everything that waits for its time.

-- +goose Up

ALTER TABLE registry ADD COLUMN max_running integer CHECK (max_running > 0); -- scans at a time; null for no limit

ALTER TABLE scan
    ADD COLUMN registry_id bigint,                          -- the repository's, which refers to it
    ADD COLUMN turn        bigint,                          -- place in the line; null for a scan that is not in it
    ADD COLUMN retried     boolean NOT NULL DEFAULT false;  -- a worker had it before

-- The line of a registry, read from its head.
CREATE INDEX scan_line ON scan (registry_id, priority DESC, turn, id) WHERE state = 'queued' AND turn IS NOT NULL;
-- The last in the line of one repository.
CREATE INDEX scan_line_repository ON scan (repository_id, priority, retried, turn) WHERE state = 'queued' AND turn IS NOT NULL;
-- What waits for its time.
CREATE INDEX scan_waiting ON scan (run_after, id) WHERE state = 'queued' AND turn IS NULL;
-- When a registry had its last turn.
CREATE INDEX scan_started ON scan (registry_id, started_at) WHERE started_at IS NOT NULL;
-- It served the order by waiting time.
DROP INDEX scan_due;

-- The history of a tag, newest first.
CREATE INDEX tag_event_history ON tag_event (repository_id, tag, id DESC);
