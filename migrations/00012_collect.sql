-- What goes when its time is over, and what finding it needs. The version before
-- forgets nothing: it leaves the new columns alone.

-- +goose NO TRANSACTION
-- +goose Up

-- One row per pass over everything, so that one that was cut off goes on.
CREATE TABLE IF NOT EXISTS collection (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    policy      jsonb NOT NULL,                 -- what it goes by
    at          timestamptz NOT NULL DEFAULT now(), -- the moment that ages are counted from
    stage       text NOT NULL DEFAULT '',       -- what it is at
    position    jsonb NOT NULL DEFAULT '{}',    -- and how far
    figures     jsonb NOT NULL DEFAULT '{}',    -- rows and bytes that went, by table
    updated_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);

-- Since when nothing in its repository leads to a manifest: neither a tag nor an
-- index nor a scan. A pass notes it, and takes it back.
ALTER TABLE repository_manifest ADD COLUMN IF NOT EXISTS unneeded_since timestamptz;

-- Whatever refers to a manifest is found by it.
DROP INDEX CONCURRENTLY IF EXISTS tag_answered;
CREATE INDEX CONCURRENTLY tag_answered ON tag (answered_id) WHERE answered_id IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS tag_event_manifest;
CREATE INDEX CONCURRENTLY tag_event_manifest ON tag_event (manifest_id);

-- Findings that closed, the oldest first.
DROP INDEX CONCURRENTLY IF EXISTS repository_finding_closed;
CREATE INDEX CONCURRENTLY repository_finding_closed ON repository_finding (closed_at) WHERE closed_at IS NOT NULL;
