-- Packed vulnerability databases, in pieces, for replicas that lack the build
-- they must follow; and when a newer one was last looked for.

-- +goose Up

CREATE TABLE vuln_archive (
    checksum       text PRIMARY KEY,            -- names the build, as in vuln_build
    database       text NOT NULL,               -- of the database file inside
    digest         text NOT NULL,               -- of the packed bytes
    size           bigint NOT NULL,             -- packed
    schema_version text NOT NULL,
    built          timestamptz NOT NULL,
    source         text NOT NULL DEFAULT '',
    sample         boolean NOT NULL DEFAULT false,
    complete       boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE vuln_archive_chunk (
    checksum text NOT NULL REFERENCES vuln_archive ON DELETE CASCADE,
    number   integer NOT NULL,                  -- from 0
    content  bytea NOT NULL,
    PRIMARY KEY (checksum, number)
);
-- It is compressed already.
ALTER TABLE vuln_archive_chunk ALTER COLUMN content SET STORAGE EXTERNAL;

-- One row: looks for a newer database, on schedule and on demand.
CREATE TABLE vuln_check (
    id           boolean PRIMARY KEY DEFAULT true CHECK (id),
    requested_at timestamptz,
    started_at   timestamptz,
    ended_at     timestamptz,
    outcome      text NOT NULL DEFAULT '',      -- unchanged, fetched or failed
    detail       text NOT NULL DEFAULT ''
);
INSERT INTO vuln_check DEFAULT VALUES;
