-- Another build of the vulnerability database is judged, counted and compared
-- beside the one in force, and takes its place in one transaction (docs/adr/0017).
-- The version before judges every package and counts after the switch; what it
-- leaves is finished as before.

-- +goose Up

ALTER TABLE vuln_build
    ADD COLUMN base_build    bigint,            -- the build in force when it became the candidate
    ADD COLUMN judged_since  bigint,            -- what this build or a later one judged counts as judged by this one; null: itself
    ADD COLUMN counted_since bigint,            -- the same for counts and for what repositories were compared under
    ADD COLUMN reason        text NOT NULL DEFAULT '', -- why it is held; of a retired one discarded or replaced
    ADD COLUMN report        jsonb,             -- what it would change; null before it has judged
    ADD COLUMN held_at       timestamptz,
    ADD COLUMN released_at   timestamptz;       -- when a person let it go on; it is not held again

-- Under which names advisories may concern it, as the matchers compare them; null
-- where nobody says: it is judged whatever changed.
ALTER TABLE package ADD COLUMN names text[];

-- The types of its packages that are judged, and of those left out because they
-- have no version: what coverage is asked by. Null for one of the version before,
-- until it is looked at.
ALTER TABLE inventory
    ADD COLUMN types       text[],
    ADD COLUMN versionless text[];

-- What a candidate will change, until it does. All of it belongs to the one build
-- of rematch, is emptied with it, and is unlogged: when Postgres dies, all of it
-- is gone and is made again.
CREATE UNLOGGED TABLE rematch (
    build_id           bigint PRIMARY KEY,
    everything         text NOT NULL,           -- why every package is judged; empty when names say enough
    names              text[] NOT NULL,         -- of packages to judge
    stage              text NOT NULL DEFAULT 'judging' CHECK (stage IN ('judging', 'marked', 'grouped', 'covered')),
    inventory_mark     bigint NOT NULL DEFAULT 0, -- later inventories are counted one by one
    vulnerability_mark bigint NOT NULL DEFAULT 0  -- later records are described again
);

CREATE UNLOGGED TABLE rematch_package ( -- to be judged
    package_id bigint PRIMARY KEY
);

CREATE UNLOGGED TABLE rematch_record ( -- what records say otherwise than vulnerability
    vulnerability_id bigint PRIMARY KEY,
    description      text NOT NULL,
    data_source      text NOT NULL,
    urls             text[] NOT NULL,
    cwes             text[] NOT NULL,
    epss             double precision,
    epss_percentile  double precision,
    epss_date        date,
    risk             double precision NOT NULL
);

CREATE UNLOGGED TABLE rematch_group ( -- what may be other than before: everything else is the same
    package_type  text NOT NULL,
    package_name  text NOT NULL,
    vulnerability text NOT NULL,                -- canonical
    batch         integer NOT NULL
);
CREATE INDEX rematch_group_batch ON rematch_group (batch);

CREATE UNLOGGED TABLE rematch_batch (
    batch integer PRIMARY KEY,
    done  boolean NOT NULL DEFAULT false
);

CREATE UNLOGGED TABLE rematch_inventory ( -- by how much counts change, some rows for each
    inventory_id    bigint NOT NULL,
    critical        integer NOT NULL,
    high            integer NOT NULL,
    medium          integer NOT NULL,
    low             integer NOT NULL,
    negligible      integer NOT NULL,
    unknown         integer NOT NULL,
    fixable         integer NOT NULL,
    known_exploited integer NOT NULL,
    ignored         integer NOT NULL
);

CREATE UNLOGGED TABLE rematch_count ( -- counts of inventories that were not there at the mark
    inventory_id    bigint PRIMARY KEY,
    critical        integer NOT NULL,
    high            integer NOT NULL,
    medium          integer NOT NULL,
    low             integer NOT NULL,
    negligible      integer NOT NULL,
    unknown         integer NOT NULL,
    fixable         integer NOT NULL,
    known_exploited integer NOT NULL,
    ignored         integer NOT NULL
);

CREATE UNLOGGED TABLE rematch_coverage ( -- where the candidate has data for others than before
    inventory_id bigint PRIMARY KEY,
    no_data      text[] NOT NULL,
    distro_eol   date
);

CREATE UNLOGGED TABLE rematch_repository ( -- what each was when it was compared; '?' when it has to be yet
    repository_id bigint PRIMARY KEY,
    compared      text NOT NULL
);

CREATE UNLOGGED TABLE rematch_finding ( -- findings that will be otherwise
    repository_id   bigint NOT NULL,
    package_type    text NOT NULL,
    package_name    text NOT NULL,
    vulnerability   text NOT NULL,
    severity_rank   smallint,                   -- null for one that closes
    fixable         boolean,
    known_exploited boolean
);
CREATE INDEX rematch_finding_repository ON rematch_finding (repository_id);
