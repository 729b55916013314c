-- How far a running scan is, and scans that somebody canceled. The version before
-- knows neither: it shows no progress, and a canceled scan it runs has lost its
-- lease, which it understands.

-- +goose Up

ALTER TABLE scan
    ADD COLUMN progress    jsonb,       -- how far the attempt is, or was when it was canceled
    ADD COLUMN progress_at timestamptz, -- when; before started_at it is of an earlier attempt
    ADD COLUMN canceled_by text;        -- who wanted it canceled; null for every other scan

-- Manifests that a scan of a repository was to look at and that nobody is going to
-- look at there, because it was canceled. There are few canceled scans, and the rest
-- is asked for each of them: with joins, the planner would read all scans for it.
CREATE VIEW canceled_manifest AS
    SELECT c.repository_id, w.manifest_id, max(c.id) AS scan_id
      FROM scan c
     CROSS JOIN LATERAL (SELECT c.manifest_id UNION ALL
                         SELECT k.child_id FROM manifest_child k WHERE k.parent_id = c.manifest_id) w (manifest_id)
     WHERE c.canceled_by IS NOT NULL AND c.manifest_id IS NOT NULL
       AND (SELECT m.state FROM manifest m WHERE m.id = w.manifest_id) = 'queued' -- any other state is a word of its own
       AND (SELECT n.id FROM scan n
             WHERE n.manifest_id = w.manifest_id AND n.repository_id = c.repository_id AND n.state IN ('queued', 'running')
             LIMIT 1) IS NULL
       AND (SELECT n.id FROM manifest_child k JOIN scan n ON n.manifest_id = k.parent_id
             WHERE k.child_id = w.manifest_id AND n.repository_id = c.repository_id AND n.state IN ('queued', 'running')
             LIMIT 1) IS NULL
     GROUP BY c.repository_id, w.manifest_id;

-- As before, and canceled where nobody is going to look.
CREATE OR REPLACE VIEW ledger_manifest AS
    SELECT rm.repository_id, rm.manifest_id,
           CASE WHEN rm.presence <> 'present' THEN rm.presence
                WHEN k.scan_id IS NOT NULL THEN 'canceled'
                ELSE m.state END AS state,
           CASE rm.presence WHEN 'present' THEN m.reason WHEN 'excluded' THEN rm.reason ELSE '' END AS reason
      FROM repository_manifest rm
      JOIN manifest m ON m.id = rm.manifest_id
      LEFT JOIN canceled_manifest k ON k.repository_id = rm.repository_id AND k.manifest_id = rm.manifest_id;

-- As before, and those whose newest scan was canceled, until the tag is seen or
-- told of again.
CREATE OR REPLACE VIEW ledger_target AS
    SELECT s.id AS scan_id, s.repository_id, s.tag, s.digest, s.state,
           CASE s.state WHEN 'failed' THEN s.reason ELSE '' END AS reason
      FROM scan s
     WHERE s.manifest_id IS NULL AND s.state IN ('queued', 'running', 'failed')
       AND (s.state = 'queued' OR NOT EXISTS (
            SELECT 1 FROM scan n WHERE n.repository_id = s.repository_id AND n.tag = s.tag AND n.id > s.id
               AND (s.tag <> '' OR n.digest = s.digest)))
    UNION ALL
    SELECT s.id, s.repository_id, s.tag, s.digest, s.state, ''
      FROM scan s
     WHERE s.manifest_id IS NULL AND s.canceled_by IS NOT NULL
       AND NOT EXISTS (
            SELECT 1 FROM scan n WHERE n.repository_id = s.repository_id AND n.tag = s.tag AND n.id > s.id
               AND (s.tag <> '' OR n.digest = s.digest))
       AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = s.repository_id AND t.name = s.tag AND t.checked_at > s.finished_at);
