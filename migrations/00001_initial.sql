-- The data model of docs/design.md. Three things change for three reasons and
-- are stored apart: an SBOM is a fact about a digest, a match is an opinion
-- about a package on a day, a tag is a pointer to a digest.

-- +goose Up

-- What was pushed, and where -------------------------------------------------

CREATE TABLE registry (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name       text NOT NULL UNIQUE,            -- the name in the configuration
    host       text NOT NULL,                   -- canonical host, as users write it
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE repository (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    registry_id  bigint NOT NULL REFERENCES registry,
    name         text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_push_at timestamptz,
    compared     text NOT NULL DEFAULT '',      -- what repository_finding was last taken from
    UNIQUE (registry_id, name)
);

-- One row per database, engine, engine version and matcher configuration.
CREATE TABLE vuln_build (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    checksum       text NOT NULL,
    engine         text NOT NULL,
    engine_version text NOT NULL,
    config         text NOT NULL,
    schema_version text NOT NULL,
    built          timestamptz NOT NULL,
    source         text NOT NULL DEFAULT '',
    sample         boolean NOT NULL DEFAULT false,
    state          text NOT NULL DEFAULT 'candidate' CHECK (state IN ('candidate', 'active', 'held', 'retired')),
    created_at     timestamptz NOT NULL DEFAULT now(),
    activated_at   timestamptz,
    retired_at     timestamptz,
    UNIQUE (checksum, engine, engine_version, config)
);
CREATE UNIQUE INDEX vuln_build_active ON vuln_build (engine) WHERE state = 'active';
CREATE UNIQUE INDEX vuln_build_candidate ON vuln_build (engine) WHERE state = 'candidate';

-- The distinct matching context. Images with the same packages share one.
CREATE TABLE inventory (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint   bytea NOT NULL UNIQUE,
    distro        text NOT NULL DEFAULT '',     -- "debian:12"
    distro_input  jsonb,                        -- what the matcher needs of it
    package_count integer NOT NULL,             -- members, excluded ones too
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE manifest (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest        text NOT NULL UNIQUE,
    kind          text NOT NULL,
    media_type    text NOT NULL DEFAULT '',
    artifact_type text NOT NULL DEFAULT '',
    os            text NOT NULL DEFAULT '',
    architecture  text NOT NULL DEFAULT '',
    variant       text NOT NULL DEFAULT '',
    os_version    text NOT NULL DEFAULT '',
    size          bigint NOT NULL DEFAULT 0,    -- bytes of the manifest itself
    content_size  bigint NOT NULL DEFAULT 0,    -- compressed bytes of its layers
    config_digest text NOT NULL DEFAULT '',
    state         text NOT NULL DEFAULT 'queued'
                  CHECK (state IN ('queued', 'running', 'done', 'failed', 'unsupported', 'too_large')),
    reason        text NOT NULL DEFAULT '',     -- error kind, or kind of artifact
    detail        text NOT NULL DEFAULT '',     -- the same in words
    partial       text NOT NULL DEFAULT '',     -- why the catalogue cannot be whole
    inventory_id  bigint REFERENCES inventory,
    catalog_version text NOT NULL DEFAULT '',
    lease_token   uuid,                         -- the scan that catalogues it now
    lease_until   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now(),
    scanned_at    timestamptz                   -- when the present answer was stored
);
CREATE INDEX manifest_inventory ON manifest (inventory_id);
CREATE INDEX manifest_lease ON manifest (lease_token) WHERE lease_token IS NOT NULL;

CREATE TABLE manifest_child (
    parent_id bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    position  integer NOT NULL,
    child_id  bigint NOT NULL REFERENCES manifest,
    PRIMARY KEY (parent_id, position)
);
CREATE INDEX manifest_child_child ON manifest_child (child_id);

CREATE TABLE manifest_layer (
    manifest_id bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    position    integer NOT NULL,
    digest      text NOT NULL,
    diff_id     text NOT NULL DEFAULT '',
    media_type  text NOT NULL DEFAULT '',
    size        bigint NOT NULL DEFAULT 0,
    created_by  text NOT NULL DEFAULT '',       -- the history instruction
    PRIMARY KEY (manifest_id, position)
);

-- A digest belongs to a repository once that repository served it to us with
-- its own credential. Every read by digest is authorised through this table.
CREATE TABLE repository_manifest (
    repository_id bigint NOT NULL REFERENCES repository,
    manifest_id   bigint NOT NULL REFERENCES manifest,
    presence      text NOT NULL DEFAULT 'present' CHECK (presence IN ('present', 'gone', 'excluded')),
    reason        text NOT NULL DEFAULT '',     -- access error or rule
    first_seen    timestamptz NOT NULL DEFAULT now(),
    last_seen     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (repository_id, manifest_id)
);
CREATE INDEX repository_manifest_manifest ON repository_manifest (manifest_id);

CREATE TABLE tag (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id bigint NOT NULL REFERENCES repository,
    name          text NOT NULL,
    manifest_id   bigint NOT NULL REFERENCES manifest,
    answered_id   bigint REFERENCES manifest,   -- the last one that was answered; it stands until the present one is
    moved_at      timestamptz NOT NULL,         -- when it last changed its digest
    checked_at    timestamptz NOT NULL,         -- when we last saw it
    UNIQUE (repository_id, name)
);
CREATE INDEX tag_manifest ON tag (manifest_id);

CREATE TABLE tag_event (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id bigint NOT NULL REFERENCES repository,
    tag           text NOT NULL,
    action        text NOT NULL CHECK (action IN ('set', 'deleted')),
    manifest_id   bigint REFERENCES manifest,
    occurred_at   timestamptz NOT NULL
);
CREATE INDEX tag_event_tag ON tag_event (repository_id, tag, occurred_at DESC);

-- Work ------------------------------------------------------------------------

CREATE TABLE scan (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id bigint NOT NULL REFERENCES repository,
    tag           text NOT NULL DEFAULT '',
    digest        text NOT NULL DEFAULT '',     -- as the event said; may be empty with a tag
    cause         text NOT NULL CHECK (cause IN ('push', 'delete', 'request', 'upload', 'reconcile')),
    priority      smallint NOT NULL DEFAULT 0,  -- greater goes first
    state         text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'done', 'failed', 'canceled')),
    reason        text NOT NULL DEFAULT '',     -- error kind of the last attempt
    detail        text NOT NULL DEFAULT '',     -- the same in words
    attempt       integer NOT NULL DEFAULT 0,
    run_after     timestamptz NOT NULL DEFAULT now(),
    lease_token   uuid,
    lease_until   timestamptz,
    manifest_id   bigint REFERENCES manifest,   -- what the target resolved to
    phases        jsonb NOT NULL DEFAULT '[]',
    pulled_bytes  bigint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    finished_at   timestamptz,
    CHECK (tag <> '' OR digest <> '')
);
-- One queued scan per target; a push that finds one waiting joins it.
CREATE UNIQUE INDEX scan_queued ON scan (repository_id, tag, (CASE WHEN tag = '' THEN digest ELSE '' END)) WHERE state = 'queued';
CREATE INDEX scan_due ON scan (priority DESC, run_after, id) WHERE state = 'queued';
CREATE INDEX scan_running ON scan (lease_until) WHERE state = 'running';
CREATE INDEX scan_repository ON scan (repository_id, id DESC);
CREATE INDEX scan_target ON scan (repository_id, tag, id DESC);
CREATE INDEX scan_failed ON scan (id DESC) WHERE state IN ('failed', 'canceled');
CREATE INDEX scan_failed_target ON scan (repository_id, tag, id) WHERE state = 'failed';
CREATE INDEX scan_manifest ON scan (manifest_id);

CREATE TABLE delivery (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    registry_id   bigint NOT NULL REFERENCES registry,
    dedupe_key    text NOT NULL,
    received_at   timestamptz NOT NULL DEFAULT now(),
    verdict       text NOT NULL CHECK (verdict IN ('accepted', 'ignored')),
    reason        text NOT NULL DEFAULT '',
    action        text NOT NULL DEFAULT '',
    host          text NOT NULL DEFAULT '',     -- as the event named it; may be another registry's
    repository    text NOT NULL DEFAULT '',
    tag           text NOT NULL DEFAULT '',
    digest        text NOT NULL DEFAULT '',
    actor         text NOT NULL DEFAULT '',
    event_id      text NOT NULL DEFAULT '',     -- the sender's
    occurred_at   timestamptz,
    scan_id       bigint REFERENCES scan ON DELETE SET NULL,
    duplicates    integer NOT NULL DEFAULT 0,   -- how often it came again
    UNIQUE (registry_id, dedupe_key)
);
CREATE INDEX delivery_scan ON delivery (scan_id);
CREATE INDEX delivery_registry ON delivery (registry_id, id DESC);

-- What is inside --------------------------------------------------------------

CREATE TABLE sbom (
    manifest_id  bigint PRIMARY KEY REFERENCES manifest ON DELETE CASCADE,
    tool         text NOT NULL,
    tool_version text NOT NULL,
    packages     integer NOT NULL,
    distro       text NOT NULL DEFAULT '',
    document     bytea NOT NULL,                -- syft JSON, zstd
    size         bigint NOT NULL,               -- of the JSON, uncompressed
    occurrences  bytea NOT NULL,                -- layers and locations, JSON, zstd
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- A document that was uploaded in place of an image, as it came.
CREATE TABLE sbom_upload (
    digest     text PRIMARY KEY,
    document   bytea NOT NULL,                  -- zstd
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE package (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    fingerprint  bytea NOT NULL UNIQUE,
    type         text NOT NULL,
    name         text NOT NULL,
    version      text NOT NULL,
    language     text NOT NULL DEFAULT '',
    purl         text NOT NULL DEFAULT '',
    distro       text NOT NULL DEFAULT '',
    input        bytea NOT NULL,                -- the whole matching input, JSON, zstd
    judged_build bigint REFERENCES vuln_build,  -- the newest build that judged it
    created_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX package_name ON package (name, type, version);

-- Under what a package is found by name: without regard to case, names of PyPI
-- as it compares them (PEP 503). ASCII only, so that no locale has a say. The Go
-- function report.PackageNameKeys makes the same of what is asked for.
-- +goose StatementBegin
CREATE FUNCTION package_key(_type text, _name text)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN _type = 'python' THEN regexp_replace(lower(_name COLLATE "C"), '[-_.]+', '-', 'g')
                ELSE lower(_name COLLATE "C") END
$$;
-- +goose StatementEnd

-- Under what a package is found by purl: its type and name, as they are escaped
-- there; NULL without a purl. The Go function report.PURL.Keys makes the same of
-- what is asked for.
-- +goose StatementBegin
CREATE FUNCTION purl_key(_purl text)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT k.type || '/' || CASE WHEN k.type = 'pypi' THEN regexp_replace(k.name, '[-_.]+', '-', 'g') ELSE k.name END
      FROM (SELECT substring(p.base from '^pkg:/*([^/]+)/') AS type,
                   substring(regexp_replace(p.base, '([^/])@[^@/]*$', '\1') from '[^/]+$') AS name
              FROM (SELECT rtrim(split_part(split_part(lower(_purl COLLATE "C"), '#', 1), '?', 1), '/') AS base) p) k
$$;
-- +goose StatementEnd

CREATE INDEX package_by_name ON package (package_key(type, name));
CREATE INDEX package_by_purl ON package (purl_key(purl));
CREATE INDEX package_judged ON package (judged_build);

CREATE TABLE inventory_package (
    inventory_id bigint NOT NULL REFERENCES inventory ON DELETE CASCADE,
    member       integer NOT NULL,
    package_id   bigint NOT NULL REFERENCES package,
    owners       bigint[] NOT NULL DEFAULT '{}', -- ids of packages
    excluded     text NOT NULL DEFAULT '',       -- why it is not judged
    PRIMARY KEY (inventory_id, member)
);
CREATE INDEX inventory_package_package ON inventory_package (package_id);

-- What is wrong with it ---------------------------------------------------------

CREATE TABLE vulnerability (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name            text NOT NULL,              -- CVE-…, GHSA-…, ALAS-…
    namespace       text NOT NULL,
    description     text NOT NULL DEFAULT '',
    data_source     text NOT NULL DEFAULT '',
    urls            text[] NOT NULL DEFAULT '{}',
    cwes            text[] NOT NULL DEFAULT '{}',
    epss            double precision,           -- of the active build
    epss_percentile double precision,
    epss_date       date,
    risk            double precision NOT NULL DEFAULT 0,
    UNIQUE (name, namespace)
);

-- What builds say of a vulnerability, opened and closed by build.
CREATE TABLE vulnerability_rating (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vulnerability_id bigint NOT NULL REFERENCES vulnerability ON DELETE CASCADE,
    severity         text NOT NULL,
    severity_rank    smallint NOT NULL,         -- 5 critical … 1 negligible, 0 unknown
    cvss             jsonb NOT NULL DEFAULT '[]',
    cvss_score       double precision NOT NULL DEFAULT 0,
    known_exploited  boolean NOT NULL DEFAULT false,
    kev              jsonb NOT NULL DEFAULT '[]',
    aliases          jsonb NOT NULL DEFAULT '[]',
    content          bytea NOT NULL,            -- hash of all of the above
    opened_build     bigint NOT NULL REFERENCES vuln_build,
    closed_build     bigint REFERENCES vuln_build
);
CREATE INDEX vulnerability_rating_opened ON vulnerability_rating (opened_build);
CREATE INDEX vulnerability_rating_closed ON vulnerability_rating (closed_build) WHERE closed_build IS NOT NULL;
CREATE INDEX vulnerability_rating_vulnerability ON vulnerability_rating (vulnerability_id);
CREATE UNIQUE INDEX vulnerability_rating_open ON vulnerability_rating (vulnerability_id) WHERE closed_build IS NULL;

CREATE TABLE package_match (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    package_id       bigint NOT NULL REFERENCES package ON DELETE CASCADE,
    vulnerability_id bigint NOT NULL REFERENCES vulnerability,
    engine           text NOT NULL DEFAULT 'grype',
    canonical        text NOT NULL,             -- the name findings group by
    ids              text[] NOT NULL,           -- own id and direct aliases
    fix_state        text NOT NULL,
    fix_versions     text[] NOT NULL DEFAULT '{}',
    suggested_version text NOT NULL DEFAULT '',
    match_type       text NOT NULL,
    matcher          text NOT NULL,
    confidence       real NOT NULL,
    ignored          text NOT NULL DEFAULT '',  -- the package alone decides that it does not count
    details          jsonb NOT NULL,            -- grype's matchDetails
    advisories       jsonb NOT NULL DEFAULT '[]',
    fix_available    jsonb NOT NULL DEFAULT '[]',
    content          bytea NOT NULL,            -- hash of all of the above: equal means unchanged
    opened_build     bigint NOT NULL REFERENCES vuln_build,
    closed_build     bigint REFERENCES vuln_build
);
CREATE UNIQUE INDEX package_match_open ON package_match (package_id, vulnerability_id, engine) WHERE closed_build IS NULL;
CREATE INDEX package_match_opened ON package_match (opened_build);
CREATE INDEX package_match_closed ON package_match (closed_build) WHERE closed_build IS NOT NULL;
CREATE INDEX package_match_package ON package_match (package_id);
CREATE INDEX package_match_canonical ON package_match (canonical);
CREATE INDEX package_match_ids ON package_match USING gin (ids);
CREATE INDEX package_match_vulnerability ON package_match (vulnerability_id);

CREATE TABLE package_ignore (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    package_id    bigint NOT NULL REFERENCES package ON DELETE CASCADE,
    vulnerability text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('owned', 'same')),
    reason        text NOT NULL,
    opened_build  bigint NOT NULL REFERENCES vuln_build,
    closed_build  bigint REFERENCES vuln_build
);
CREATE UNIQUE INDEX package_ignore_open ON package_ignore (package_id, vulnerability, kind) WHERE closed_build IS NULL;
CREATE INDEX package_ignore_opened ON package_ignore (opened_build);
CREATE INDEX package_ignore_closed ON package_ignore (closed_build) WHERE closed_build IS NOT NULL;
CREATE INDEX package_ignore_package ON package_ignore (package_id, kind);

-- Counts of an inventory under one build; readers take them when the build is
-- the active one.
CREATE TABLE inventory_summary (
    inventory_id bigint PRIMARY KEY REFERENCES inventory ON DELETE CASCADE,
    build_id     bigint NOT NULL REFERENCES vuln_build,
    critical     integer NOT NULL,
    high         integer NOT NULL,
    medium       integer NOT NULL,
    low          integer NOT NULL,
    negligible   integer NOT NULL,
    unknown      integer NOT NULL,
    fixable      integer NOT NULL,
    known_exploited integer NOT NULL,
    ignored      integer NOT NULL,
    no_data      text[] NOT NULL,               -- "distro:centos:7", "ecosystem:npm", "version:npm"
    distro_eol   date                           -- end of life of the distro
);

CREATE INDEX inventory_summary_build ON inventory_summary (build_id);

-- The state that events, lineage and repository counts are taken from.
CREATE TABLE repository_finding (
    repository_id   bigint NOT NULL REFERENCES repository,
    package_type    text NOT NULL,
    package_name    text NOT NULL,
    vulnerability   text NOT NULL,              -- canonical
    severity        text NOT NULL,
    severity_rank   smallint NOT NULL,
    fixable         boolean NOT NULL,
    known_exploited boolean NOT NULL,
    opened_at       timestamptz NOT NULL,
    closed_at       timestamptz,
    PRIMARY KEY (repository_id, package_type, package_name, vulnerability)
);
CREATE INDEX repository_finding_vulnerability ON repository_finding (vulnerability) WHERE closed_at IS NULL;
-- The counts of a repository come from this index alone.
CREATE INDEX repository_finding_open ON repository_finding (repository_id) INCLUDE (severity_rank, fixable, known_exploited)
    WHERE closed_at IS NULL;

CREATE TABLE finding_event (
    id            bigint GENERATED ALWAYS AS IDENTITY,
    occurred_at   timestamptz NOT NULL DEFAULT now(),
    repository_id bigint NOT NULL,
    package_type  text NOT NULL,
    package_name  text NOT NULL,
    vulnerability text NOT NULL,
    kind          text NOT NULL CHECK (kind IN ('opened', 'closed', 'escalated', 'fix_available', 'reopened')),
    severity      text NOT NULL,
    cause         text NOT NULL CHECK (cause IN ('push', 'build', 'exception', 'delete')),
    scan_id       bigint,
    build_id      bigint,
    PRIMARY KEY (occurred_at, id)
) PARTITION BY RANGE (occurred_at);
-- Months are added by the service; what falls outside them still lands here.
CREATE TABLE finding_event_default PARTITION OF finding_event DEFAULT;
CREATE INDEX finding_event_repository ON finding_event (repository_id, occurred_at DESC);

-- Who may ask -----------------------------------------------------------------

CREATE TABLE api_token (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL UNIQUE,
    hash         bytea NOT NULL UNIQUE,         -- sha256 of the token
    scope        text NOT NULL CHECK (scope IN ('read', 'triage', 'admin')),
    prefixes     text[] NOT NULL DEFAULT '{}',  -- "host/team/"; empty means all
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz
);

-- The rule that applies an image's context to per-package matches, for a set of
-- inventories at once: a match is ignored when the package alone decides so,
-- when an owner's records suppress it, or when a package of the same type, name
-- and version in the same inventory does. The Go function
-- inventory.(*Inventory).Apply states the same; a test holds the two together.

-- +goose StatementBegin
CREATE FUNCTION verdicts(_inventories bigint[], _build bigint)
RETURNS TABLE (inventory_id bigint, member integer, package_id bigint, match_id bigint, vulnerability_id bigint,
               canonical text, fix_state text, suggested_version text, ignored text)
LANGUAGE sql STABLE AS $$
    WITH judged AS MATERIALIZED (
        SELECT ip.inventory_id, ip.member, ip.package_id, ip.owners
          FROM inventory_package ip
         WHERE ip.inventory_id = ANY (_inventories) AND ip.excluded = ''
    ), suppression AS (
        SELECT o.inventory_id, o.member, i.vulnerability, i.reason
          FROM (SELECT j.inventory_id, j.member, unnest(j.owners) AS owner FROM judged j WHERE j.owners <> '{}') o
          JOIN package_ignore i ON i.package_id = o.owner AND i.kind = 'owned'
           AND i.opened_build <= _build AND (i.closed_build IS NULL OR i.closed_build > _build)
        UNION ALL
        SELECT j.inventory_id, twin.member, i.vulnerability, i.reason
          FROM judged j
          JOIN package_ignore i ON i.package_id = j.package_id AND i.kind = 'same'
           AND i.opened_build <= _build AND (i.closed_build IS NULL OR i.closed_build > _build)
          JOIN package p ON p.id = j.package_id
          JOIN package q ON q.name = p.name AND q.type = p.type AND q.version = p.version
          JOIN judged twin ON twin.inventory_id = j.inventory_id AND twin.package_id = q.id
    ), suppressed AS MATERIALIZED ( -- few members are; one row each keeps the join from growing
        SELECT s.inventory_id, s.member, array_agg(s.vulnerability) AS vulnerabilities, array_agg(s.reason) AS reasons
          FROM suppression s GROUP BY s.inventory_id, s.member
    )
    SELECT j.inventory_id, j.member, j.package_id, m.id, m.vulnerability_id, m.canonical, m.fix_state, m.suggested_version,
           CASE WHEN m.ignored <> '' THEN m.ignored
                WHEN s.member IS NULL THEN ''
                ELSE COALESCE((SELECT min(u.reason) FROM unnest(s.vulnerabilities, s.reasons) AS u (vulnerability, reason)
                                WHERE u.vulnerability = ANY (m.ids)), '') END
      FROM judged j
      JOIN package_match m ON m.package_id = j.package_id
       AND m.opened_build <= _build AND (m.closed_build IS NULL OR m.closed_build > _build)
      LEFT JOIN suppressed s ON s.inventory_id = j.inventory_id AND s.member = j.member
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION inventory_verdicts(_inventory bigint, _build bigint)
RETURNS TABLE (member integer, package_id bigint, match_id bigint, ignored text) LANGUAGE sql STABLE AS $$
    SELECT v.member, v.package_id, v.match_id, v.ignored FROM verdicts(ARRAY[_inventory], _build) v
$$;
-- +goose StatementEnd

-- The findings of an inventory: one row per package and canonical name, with
-- the worst rating and the best fix among its matches. A finding is ignored
-- only when every instance of every match is.
-- +goose StatementBegin
CREATE FUNCTION inventory_findings(_inventory bigint, _build bigint)
RETURNS TABLE (package_id bigint, vulnerability text, severity_rank smallint, fix_state text, suggested_version text,
               known_exploited boolean, epss double precision, risk double precision, ignored text, match_ids bigint[])
LANGUAGE sql STABLE AS $$
    SELECT v.package_id, v.canonical,
           max(COALESCE(r.severity_rank, 0::smallint)),
           (array_agg(v.fix_state ORDER BY array_position(ARRAY['fixed', 'not-fixed', 'wont-fix', 'unknown'], v.fix_state)))[1],
           COALESCE((array_agg(v.suggested_version ORDER BY v.suggested_version = '', v.match_id))[1], ''),
           bool_or(COALESCE(r.known_exploited, false)),
           max(u.epss),
           max(u.risk),
           CASE WHEN bool_and(v.ignored <> '') THEN max(v.ignored) ELSE '' END,
           array_agg(DISTINCT v.match_id)
      FROM verdicts(ARRAY[_inventory], _build) v
      JOIN vulnerability u ON u.id = v.vulnerability_id
      LEFT JOIN vulnerability_rating r ON r.vulnerability_id = u.id
           AND r.opened_build <= _build AND (r.closed_build IS NULL OR r.closed_build > _build)
     GROUP BY v.package_id, v.canonical
$$;
-- +goose StatementEnd

-- The manifest each tag points to and, until that has its answer, the one before:
-- the last good answer stands.
CREATE VIEW standing_tag AS
    SELECT repository_id, name, manifest_id FROM tag
    UNION ALL
    SELECT repository_id, name, answered_id FROM tag WHERE answered_id <> manifest_id;

-- What a repository stands for now: the images behind its live tags, those of
-- tagged indexes included. An image the repository never served or leaves out by
-- a rule is not among them.
CREATE VIEW live_image AS
    SELECT t.repository_id, t.name AS tag, m.id AS manifest_id, m.inventory_id
      FROM standing_tag t
      JOIN manifest m ON m.id = t.manifest_id AND m.kind IN ('image', 'sbom')
      JOIN repository_manifest rm ON rm.repository_id = t.repository_id AND rm.manifest_id = m.id AND rm.presence <> 'excluded'
    UNION ALL
    SELECT t.repository_id, t.name AS tag, m.id AS manifest_id, m.inventory_id
      FROM standing_tag t
      JOIN manifest_child c ON c.parent_id = t.manifest_id
      JOIN manifest m ON m.id = c.child_id AND m.kind IN ('image', 'sbom')
      JOIN repository_manifest rm ON rm.repository_id = t.repository_id AND rm.manifest_id = m.id AND rm.presence <> 'excluded';

-- The distinct inventories behind the live tags of a repository.
-- +goose StatementBegin
CREATE FUNCTION repository_inventories(_repository bigint)
RETURNS SETOF bigint LANGUAGE sql STABLE AS $$
    SELECT DISTINCT l.inventory_id FROM live_image l WHERE l.repository_id = _repository AND l.inventory_id IS NOT NULL
$$;
-- +goose StatementEnd

-- Whether a build that lacks the given data covers any package of an inventory
-- at all: OS packages by the distro, others by their ecosystem. Packages without
-- a version are covered by nothing.
-- +goose StatementBegin
CREATE FUNCTION inventory_covered(_inventory bigint, _no_data text[])
RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM inventory_package ip JOIN package p ON p.id = ip.package_id
         WHERE ip.inventory_id = _inventory AND ip.excluded = ''
           AND NOT CASE WHEN p.type IN ('alpm', 'apk', 'deb', 'portage', 'rpm')
                        THEN EXISTS (SELECT 1 FROM unnest(_no_data) n WHERE n LIKE 'distro:%')
                        ELSE 'ecosystem:' || CASE WHEN p.type IN ('', 'UnknownPackage') THEN 'unknown' ELSE p.type END = ANY (_no_data) END)
$$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION severity_name(_rank integer)
RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT (ARRAY['unknown', 'negligible', 'low', 'medium', 'high', 'critical'])[_rank + 1]
$$;
-- +goose StatementEnd
