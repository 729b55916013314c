-- What the findings of a repository were taken from, so that one more image is
-- compared without all the others. The version before keeps repository.compared
-- only: where the two do not say the same, everything is compared.

-- +goose Up

-- The inventories behind repository_finding.
CREATE TABLE repository_inventory (
    repository_id bigint NOT NULL REFERENCES repository,
    inventory_id  bigint NOT NULL REFERENCES inventory ON DELETE CASCADE,
    PRIMARY KEY (repository_id, inventory_id)
);
CREATE INDEX repository_inventory_inventory ON repository_inventory (inventory_id);

-- As verdicts, for some packages only. Every package that another one of them may
-- suppress by its name has to be among them: packages of one type and name are
-- given together.
-- +goose StatementBegin
CREATE FUNCTION package_verdicts(_inventories bigint[], _packages bigint[], _build bigint)
RETURNS TABLE (inventory_id bigint, member integer, package_id bigint, match_id bigint, vulnerability_id bigint,
               canonical text, fix_state text, suggested_version text, ignored text)
LANGUAGE sql STABLE AS $$
    WITH judged AS MATERIALIZED (
        SELECT ip.inventory_id, ip.member, ip.package_id, ip.owners
          FROM inventory_package ip
         WHERE ip.package_id = ANY (_packages) AND ip.excluded = ''
           AND ip.inventory_id IN (SELECT i FROM unnest(_inventories) i)
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
    ), suppressed AS MATERIALIZED (
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

-- They are compressed before they come here; to try again takes time and gains
-- nothing.
ALTER TABLE sbom ALTER COLUMN document SET STORAGE EXTERNAL, ALTER COLUMN occurrences SET STORAGE EXTERNAL;
ALTER TABLE sbom_upload ALTER COLUMN document SET STORAGE EXTERNAL;
ALTER TABLE package ALTER COLUMN input SET STORAGE EXTERNAL;
