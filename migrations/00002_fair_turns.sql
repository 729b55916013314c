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
