-- As before. What owners suppress is looked up for each owner: the planner, until
-- it has statistics, would go through all that any package suppresses, for each
-- package of an image.

-- +goose Up

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION verdicts(_inventories bigint[], _build bigint)
RETURNS TABLE (inventory_id bigint, member integer, package_id bigint, match_id bigint, vulnerability_id bigint,
               canonical text, fix_state text, suggested_version text, ignored text)
LANGUAGE sql STABLE AS $$
    WITH judged AS MATERIALIZED (
        SELECT ip.inventory_id, ip.member, ip.package_id, ip.owners
          FROM inventory_package ip
         WHERE ip.inventory_id = ANY (_inventories) AND ip.excluded = ''
    ), suppression AS (
        SELECT j.inventory_id, j.member, i.vulnerability, i.reason
          FROM judged j
         CROSS JOIN LATERAL unnest(j.owners) o (owner)
         CROSS JOIN LATERAL (
                SELECT g.vulnerability, g.reason FROM package_ignore g
                 WHERE g.package_id = o.owner AND g.kind = 'owned'
                   AND g.opened_build <= _build AND (g.closed_build IS NULL OR g.closed_build > _build)
                OFFSET 0) i
         WHERE j.owners <> '{}'
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
CREATE OR REPLACE FUNCTION package_verdicts(_inventories bigint[], _packages bigint[], _build bigint)
RETURNS TABLE (inventory_id bigint, member integer, package_id bigint, match_id bigint, vulnerability_id bigint,
               canonical text, fix_state text, suggested_version text, ignored text)
LANGUAGE sql STABLE AS $$
    WITH judged AS MATERIALIZED (
        SELECT ip.inventory_id, ip.member, ip.package_id, ip.owners
          FROM inventory_package ip
         WHERE ip.package_id = ANY (_packages) AND ip.excluded = ''
           AND ip.inventory_id IN (SELECT i FROM unnest(_inventories) i)
    ), suppression AS (
        SELECT j.inventory_id, j.member, i.vulnerability, i.reason
          FROM judged j
         CROSS JOIN LATERAL unnest(j.owners) o (owner)
         CROSS JOIN LATERAL (
                SELECT g.vulnerability, g.reason FROM package_ignore g
                 WHERE g.package_id = o.owner AND g.kind = 'owned'
                   AND g.opened_build <= _build AND (g.closed_build IS NULL OR g.closed_build > _build)
                OFFSET 0) i
         WHERE j.owners <> '{}'
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
