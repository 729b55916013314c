-- Who may do what, and who did what.

-- +goose Up

-- By whom, as in audit_log.actor; empty for what the version before did.
ALTER TABLE api_token
    ADD COLUMN created_by text NOT NULL DEFAULT '',
    ADD COLUMN revoked_by text NOT NULL DEFAULT '';

-- Every change somebody made or tried to make. Rows are added and, when their time
-- is over, deleted; none is ever changed. None holds a secret.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    actor   text NOT NULL,                  -- token:NAME, oidc:ISSUER/NAME, cli:USER, system
    subject text NOT NULL DEFAULT '',       -- what the issuer calls that person for good
    address text NOT NULL DEFAULT '',       -- where the request came from
    request text NOT NULL DEFAULT '',       -- its id, as in the log
    action  text NOT NULL,                  -- scan.cancel
    object  text NOT NULL DEFAULT '',       -- what it was about
    outcome text NOT NULL CHECK (outcome IN ('done', 'refused', 'failed')),
    reason  text NOT NULL DEFAULT '',       -- kind of the error
    detail  jsonb NOT NULL DEFAULT '{}'     -- what it was before and is now, where that is small
);
CREATE INDEX audit_log_at ON audit_log (at);
CREATE INDEX audit_log_actor ON audit_log (actor, id);
