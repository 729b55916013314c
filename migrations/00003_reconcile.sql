-- Comparing what a registry lists with what is known.

-- +goose Up

-- One row per run over a registry, or over one repository of it.
CREATE TABLE reconciliation (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    registry_id  bigint NOT NULL REFERENCES registry,
    repository   text NOT NULL DEFAULT '',      -- the only one to look at; empty for all
    cause        text NOT NULL CHECK (cause IN ('schedule', 'request')),
    state        text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed', 'canceled')),
    reason       text NOT NULL DEFAULT '',      -- error kind, of a run that failed or waits
    detail       text NOT NULL DEFAULT '',      -- the same in words
    position     jsonb NOT NULL DEFAULT '{}',   -- where to go on when the run is cut off
    counts       jsonb NOT NULL DEFAULT '{}',
    rules        text NOT NULL DEFAULT '',      -- fingerprint of the rules it went by
    lease_token  uuid,
    lease_until  timestamptz,
    heartbeat_at timestamptz,                   -- the last sign of life
    takeovers    integer NOT NULL DEFAULT 0,    -- how often a run was picked up where another process left it
    created_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz
);
-- One run per registry at a time, and one that waits per target.
CREATE UNIQUE INDEX reconciliation_running ON reconciliation (registry_id) WHERE state = 'running';
CREATE UNIQUE INDEX reconciliation_queued ON reconciliation (registry_id, repository) WHERE state = 'queued';
CREATE INDEX reconciliation_registry ON reconciliation (registry_id, id DESC);

-- What a run could not look at. Bounded per run; the counts tell how many there
-- were.
CREATE TABLE reconciliation_problem (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reconciliation_id bigint NOT NULL REFERENCES reconciliation ON DELETE CASCADE,
    occurred_at       timestamptz NOT NULL DEFAULT now(),
    repository        text NOT NULL DEFAULT '', -- empty when it is about the registry
    tag               text NOT NULL DEFAULT '',
    reason            text NOT NULL,            -- error kind
    detail            text NOT NULL
);
CREATE INDEX reconciliation_problem_run ON reconciliation_problem (reconciliation_id, id);

ALTER TABLE repository
    ADD COLUMN excluded  text NOT NULL DEFAULT '', -- the rule that leaves the whole repository out
    ADD COLUMN listed_at timestamptz;              -- when a reconciliation last looked at it
