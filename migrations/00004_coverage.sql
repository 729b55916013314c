-- What became of everything that is known, and of the requests that were refused.

-- +goose Up

-- Requests to webhook endpoints that were refused or could not be stored: the
-- newest of each endpoint, about a hundred, and counts by the hour.
CREATE TABLE webhook_rejection (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    registry text NOT NULL,                     -- the configured name
    at       timestamptz NOT NULL,
    status   integer NOT NULL,                  -- of the answer
    reason   text NOT NULL,                     -- error kind
    detail   text NOT NULL DEFAULT ''           -- what the sender was told
);
CREATE INDEX webhook_rejection_registry ON webhook_rejection (registry, id DESC);

CREATE TABLE webhook_rejection_hour (
    hour     timestamptz NOT NULL,
    registry text NOT NULL,                     -- empty for addresses that are no endpoint
    status   integer NOT NULL,
    reason   text NOT NULL,
    requests bigint NOT NULL,
    last_at  timestamptz NOT NULL,
    PRIMARY KEY (hour, registry, status, reason)
);

-- Each manifest of each repository with the one state it has there: that of the
-- manifest where it is present, else why it is not.
CREATE VIEW ledger_manifest AS
    SELECT rm.repository_id, rm.manifest_id,
           CASE rm.presence WHEN 'present' THEN m.state ELSE rm.presence END AS state,
           CASE rm.presence WHEN 'present' THEN m.reason WHEN 'excluded' THEN rm.reason ELSE '' END AS reason
      FROM repository_manifest rm JOIN manifest m ON m.id = rm.manifest_id;

-- Targets whose newest scan has not found out what they are: who told us of them
-- may mean a manifest that nobody has seen. Of one target at most one scan is
-- queued, and no other is newer.
CREATE VIEW ledger_target AS
    SELECT s.id AS scan_id, s.repository_id, s.tag, s.digest, s.state,
           CASE s.state WHEN 'failed' THEN s.reason ELSE '' END AS reason
      FROM scan s
     WHERE s.manifest_id IS NULL AND s.state IN ('queued', 'running', 'failed')
       AND (s.state = 'queued' OR NOT EXISTS (
            SELECT 1 FROM scan n WHERE n.repository_id = s.repository_id AND n.tag = s.tag AND n.id > s.id
               AND (s.tag <> '' OR n.digest = s.digest)));
