-- Why a finding escalated, how many there were on each day, and what has to be
-- kept of the past so that "what did we know on that day" has an answer.

-- +goose Up

-- Why it escalated. The version before leaves these out.
ALTER TABLE finding_event
    ADD COLUMN severity_from text,                       -- what it was before, when it rose
    ADD COLUMN exploited     boolean NOT NULL DEFAULT false, -- it became known to be exploited
    ADD COLUMN epss_from     double precision,           -- the estimate before
    ADD COLUMN epss_to       double precision;           -- and the one that went over the threshold
CREATE INDEX finding_event_vulnerability ON finding_event (vulnerability, occurred_at DESC);

-- Whether the estimated probability of exploitation was over the threshold when
-- last looked at. It falls back only well below the threshold, so that an
-- estimate that hovers around it makes no noise.
ALTER TABLE repository_finding ADD COLUMN likely boolean NOT NULL DEFAULT false;
CREATE INDEX repository_finding_likely ON repository_finding (vulnerability) WHERE closed_at IS NULL AND likely;

-- What the estimate was before it last changed.
ALTER TABLE vulnerability ADD COLUMN epss_before double precision;
CREATE INDEX vulnerability_epss ON vulnerability (epss) WHERE epss IS NOT NULL;

-- What is over the default threshold today is no news tomorrow.
UPDATE repository_finding f SET likely = true
  FROM (SELECT DISTINCT m.canonical FROM vulnerability u JOIN package_match m ON m.vulnerability_id = u.id
         WHERE u.epss >= 0.5 AND m.closed_build IS NULL) h
 WHERE f.vulnerability = h.canonical AND f.closed_at IS NULL;

-- Since when a manifest has the inventory it has; null for an answer of the
-- version before, whose time is scanned_at.
ALTER TABLE manifest ADD COLUMN answered_at timestamptz;

-- The inventories that manifests had before; null for one that was collected.
CREATE TABLE manifest_past (
    manifest_id  bigint NOT NULL REFERENCES manifest ON DELETE CASCADE,
    inventory_id bigint REFERENCES inventory ON DELETE SET NULL,
    since        timestamptz NOT NULL,
    until        timestamptz NOT NULL,
    PRIMARY KEY (manifest_id, until)
);
CREATE INDEX manifest_past_inventory ON manifest_past (inventory_id);

-- What builds before had no data for in an inventory: the row with the least
-- until_build above a build is of that build; without one, inventory_summary is.
CREATE TABLE coverage_past (
    inventory_id bigint NOT NULL REFERENCES inventory ON DELETE CASCADE,
    until_build  bigint NOT NULL REFERENCES vuln_build,
    no_data      text[] NOT NULL,
    PRIMARY KEY (inventory_id, until_build)
);

-- Summaries are moved in several places, one by one and by the thousand; the past
-- is kept where they all pass.
-- +goose StatementBegin
CREATE FUNCTION keep_coverage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO coverage_past (inventory_id, until_build, no_data) VALUES (OLD.inventory_id, NEW.build_id, OLD.no_data)
        ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
-- +goose StatementEnd
CREATE TRIGGER keep_coverage AFTER UPDATE ON inventory_summary FOR EACH ROW
    WHEN (OLD.no_data IS DISTINCT FROM NEW.no_data AND OLD.build_id < NEW.build_id) EXECUTE FUNCTION keep_coverage();

-- By how much the open findings of a repository changed on a day (UTC): sums over
-- the days until one are its counts. A day on which nothing changed has no row.
CREATE TABLE repository_day (
    repository_id   bigint NOT NULL REFERENCES repository ON DELETE CASCADE,
    day             date NOT NULL,
    critical        integer NOT NULL,
    high            integer NOT NULL,
    medium          integer NOT NULL,
    low             integer NOT NULL,
    negligible      integer NOT NULL,
    unknown         integer NOT NULL,
    fixable         integer NOT NULL,
    known_exploited integer NOT NULL,
    opened          integer NOT NULL,           -- findings that opened or came back
    closed          integer NOT NULL,
    PRIMARY KEY (repository_id, day)
);

-- What changed in one statement, summed up by what is counted.
CREATE TYPE finding_change AS (
    repository_id bigint, severity_rank smallint, fixable boolean, known_exploited boolean,
    change bigint, opened bigint, closed bigint
);

-- Findings are moved by pushes one repository at a time and by builds all at
-- once; the days are counted where both pass.
-- +goose StatementBegin
CREATE FUNCTION count_day() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    changes finding_change[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT array_agg(c) INTO changes FROM (
            SELECT repository_id, severity_rank, fixable, known_exploited, count(*), count(*), 0::bigint
              FROM came WHERE closed_at IS NULL GROUP BY 1, 2, 3, 4) c (r, s, f, k, n, o, l);
    ELSIF TG_OP = 'DELETE' THEN
        SELECT array_agg(c) INTO changes FROM (
            SELECT repository_id, severity_rank, fixable, known_exploited, -count(*), 0::bigint, count(*)
              FROM went WHERE closed_at IS NULL GROUP BY 1, 2, 3, 4) c (r, s, f, k, n, o, l);
    ELSE
        WITH moved AS (
            SELECT b.repository_id, b.severity_rank AS rank_before, b.fixable AS fixable_before, b.known_exploited AS kev_before,
                   b.closed_at IS NULL AS open_before, a.severity_rank, a.fixable, a.known_exploited, a.closed_at IS NULL AS open_after
              FROM went b JOIN came a USING (repository_id, package_type, package_name, vulnerability)
             WHERE (b.severity_rank, b.fixable, b.known_exploited, b.closed_at IS NULL)
                   IS DISTINCT FROM (a.severity_rank, a.fixable, a.known_exploited, a.closed_at IS NULL)
        )
        SELECT array_agg(c) INTO changes FROM (
            SELECT repository_id, severity_rank, fixable, known_exploited, count(*), count(*) FILTER (WHERE NOT open_before), 0::bigint
              FROM moved WHERE open_after GROUP BY 1, 2, 3, 4
            UNION ALL
            SELECT repository_id, rank_before, fixable_before, kev_before, -count(*), 0, count(*) FILTER (WHERE NOT open_after)
              FROM moved WHERE open_before GROUP BY 1, 2, 3, 4) c (r, s, f, k, n, o, l);
    END IF;
    IF changes IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO repository_day AS d (repository_id, day, critical, high, medium, low, negligible, unknown, fixable, known_exploited, opened, closed)
    SELECT c.repository_id, (now() AT TIME ZONE 'UTC')::date,
           COALESCE(sum(c.change) FILTER (WHERE c.severity_rank = 5), 0), COALESCE(sum(c.change) FILTER (WHERE c.severity_rank = 4), 0),
           COALESCE(sum(c.change) FILTER (WHERE c.severity_rank = 3), 0), COALESCE(sum(c.change) FILTER (WHERE c.severity_rank = 2), 0),
           COALESCE(sum(c.change) FILTER (WHERE c.severity_rank = 1), 0), COALESCE(sum(c.change) FILTER (WHERE c.severity_rank = 0), 0),
           COALESCE(sum(c.change) FILTER (WHERE c.fixable), 0), COALESCE(sum(c.change) FILTER (WHERE c.known_exploited), 0),
           sum(c.opened), sum(c.closed)
      FROM unnest(changes) c
     GROUP BY c.repository_id
     ORDER BY c.repository_id
    ON CONFLICT (repository_id, day) DO UPDATE
    SET critical = d.critical + EXCLUDED.critical, high = d.high + EXCLUDED.high, medium = d.medium + EXCLUDED.medium,
        low = d.low + EXCLUDED.low, negligible = d.negligible + EXCLUDED.negligible, unknown = d.unknown + EXCLUDED.unknown,
        fixable = d.fixable + EXCLUDED.fixable, known_exploited = d.known_exploited + EXCLUDED.known_exploited,
        opened = d.opened + EXCLUDED.opened, closed = d.closed + EXCLUDED.closed;
    RETURN NULL;
END
$$;
-- +goose StatementEnd

-- What there is already: as if each had been all along what it is now. It may come
-- back between its days, of which nothing is kept.
INSERT INTO repository_day
SELECT repository_id, day,
       COALESCE(sum(change) FILTER (WHERE severity_rank = 5), 0), COALESCE(sum(change) FILTER (WHERE severity_rank = 4), 0),
       COALESCE(sum(change) FILTER (WHERE severity_rank = 3), 0), COALESCE(sum(change) FILTER (WHERE severity_rank = 2), 0),
       COALESCE(sum(change) FILTER (WHERE severity_rank = 1), 0), COALESCE(sum(change) FILTER (WHERE severity_rank = 0), 0),
       COALESCE(sum(change) FILTER (WHERE fixable), 0), COALESCE(sum(change) FILTER (WHERE known_exploited), 0),
       count(*) FILTER (WHERE change = 1), count(*) FILTER (WHERE change = -1)
  FROM (SELECT repository_id, (opened_at AT TIME ZONE 'UTC')::date AS day, severity_rank, fixable, known_exploited, 1 AS change
          FROM repository_finding
        UNION ALL
        SELECT repository_id, (closed_at AT TIME ZONE 'UTC')::date, severity_rank, fixable, known_exploited, -1
          FROM repository_finding WHERE closed_at IS NOT NULL) c
 GROUP BY repository_id, day;

CREATE TRIGGER count_day_insert AFTER INSERT ON repository_finding REFERENCING NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION count_day();
CREATE TRIGGER count_day_update AFTER UPDATE ON repository_finding REFERENCING OLD TABLE AS went NEW TABLE AS came
    FOR EACH STATEMENT EXECUTE FUNCTION count_day();
CREATE TRIGGER count_day_delete AFTER DELETE ON repository_finding REFERENCING OLD TABLE AS went
    FOR EACH STATEMENT EXECUTE FUNCTION count_day();
