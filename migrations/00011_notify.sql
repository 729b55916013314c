-- Who is told what. Every statement that adds finding events leaves a pointer to
-- them in the outbox, within its transaction: what commits late is still there
-- when it does, and nobody has to know in which order transactions ended.

-- +goose Up

-- The rules that some process looks after. The version before knows none, and
-- costs its events nothing.
CREATE TABLE notification_rule (
    name       text PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
);

-- The events of one statement: those of one time with these ids.
CREATE TABLE notification_outbox (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    events      int8multirange NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now()
);

-- Rules that nobody looked after for a week gather nothing any more.
-- +goose StatementBegin
CREATE FUNCTION notification_outbox_add() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM notification_rule WHERE seen_at > now() - interval '7 days') THEN
        INSERT INTO notification_outbox (occurred_at, events)
        SELECT a.occurred_at, range_agg(int8range(a.id, a.id, '[]')) FROM added a GROUP BY a.occurred_at;
    END IF;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

CREATE TRIGGER finding_event_outbox AFTER INSERT ON finding_event
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION notification_outbox_add();

-- What a rule chose and no message holds yet.
CREATE TABLE notification_pending (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule            text NOT NULL,
    event_id        bigint NOT NULL,
    occurred_at     timestamptz NOT NULL,
    repository_id   bigint NOT NULL,
    package_type    text NOT NULL,
    package_name    text NOT NULL,
    vulnerability   text NOT NULL,
    kind            text NOT NULL,
    severity_rank   smallint NOT NULL,
    fixable         boolean NOT NULL,
    known_exploited boolean NOT NULL,
    cause           text NOT NULL,              -- of the event; of a push, that of the scan
    scan_id         bigint,
    build_id        bigint,
    collected_at    timestamptz NOT NULL DEFAULT now(),
    UNIQUE (rule, event_id)
);
CREATE INDEX notification_pending_scan ON notification_pending (rule, scan_id) WHERE scan_id IS NOT NULL;
CREATE INDEX notification_pending_finding ON notification_pending (rule, vulnerability, package_name) WHERE scan_id IS NULL;

-- A message for one channel, and how far it is.
CREATE TABLE notification (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id  uuid NOT NULL DEFAULT gen_random_uuid(), -- the same each time it is sent
    rule        text NOT NULL,
    channel     text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('push', 'vulnerability', 'digest')),
    first_event bigint NOT NULL,                -- an event is in one message of a rule only
    title       text NOT NULL,
    message     jsonb NOT NULL,
    state       text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'failed')),
    attempts    integer NOT NULL DEFAULT 0,     -- since it was queued
    next_at     timestamptz NOT NULL DEFAULT now(),
    lease_token uuid,
    lease_until timestamptz,
    last_error  text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (rule, channel, first_event)
);
CREATE INDEX notification_due ON notification (channel, next_at, id) WHERE state = 'queued';
CREATE INDEX notification_made ON notification (rule, created_at);
CREATE INDEX notification_finished ON notification (finished_at) WHERE state <> 'queued';

CREATE TABLE notification_attempt (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notification_id bigint NOT NULL REFERENCES notification ON DELETE CASCADE,
    at              timestamptz NOT NULL DEFAULT now(),
    duration_ms     bigint NOT NULL,
    status          integer NOT NULL DEFAULT 0, -- HTTP's or SMTP's; 0 without an answer
    error           text NOT NULL DEFAULT '',   -- empty when it was delivered
    answer          text NOT NULL DEFAULT ''    -- the first bytes
);
CREATE INDEX notification_attempt_notification ON notification_attempt (notification_id, id);
