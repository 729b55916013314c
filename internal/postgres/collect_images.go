package postgres

// What keeps a row x of repository_manifest: that something in its repository
// leads to the manifest. An index that nothing leads to keeps none of its
// images, and a tag by the name of a digest, as signatures and other referrers
// have it (OCI distribution-spec, referrers tag schema; cosign), keeps that.
const needed = `(
	EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = x.manifest_id AND t.repository_id = x.repository_id)
	OR EXISTS (SELECT 1 FROM tag t WHERE t.answered_id = x.manifest_id AND t.repository_id = x.repository_id)
	OR EXISTS (SELECT 1 FROM manifest_child c
	             JOIN repository_manifest p ON p.manifest_id = c.parent_id AND p.repository_id = x.repository_id
	            WHERE c.child_id = x.manifest_id AND p.unneeded_since IS NULL)
	OR EXISTS (SELECT 1 FROM scan s WHERE s.manifest_id = x.manifest_id AND s.repository_id = x.repository_id AND s.state IN ('queued', 'running'))
	OR EXISTS (SELECT 1 FROM manifest m
	             JOIN tag t ON t.repository_id = x.repository_id
	                       AND t.name IN (replace(m.digest, ':', '-'), replace(m.digest, ':', '-') || '.sig',
	                                      replace(m.digest, ':', '-') || '.att', replace(m.digest, ':', '-') || '.sbom')
	            WHERE m.id = x.manifest_id))`

// markUnneeded notes since when nothing leads to the rows of a window, and takes
// it back where something does again. Rows that somebody holds are left for the
// next pass.
const markUnneeded = `
	WITH changed AS (
		SELECT x.repository_id, x.manifest_id FROM repository_manifest x
		 WHERE (x.repository_id, x.manifest_id) IN (SELECT k.at, k.id FROM unnest(@ins::bigint[], @ids::bigint[]) AS k (at, id))
		   AND (x.unneeded_since IS NOT NULL) = ` + needed + `
		   FOR NO KEY UPDATE OF x SKIP LOCKED
	)
	UPDATE repository_manifest r SET unneeded_since = CASE WHEN r.unneeded_since IS NULL THEN now() END
	  FROM changed c WHERE r.repository_id = c.repository_id AND r.manifest_id = c.manifest_id`

// linkStage forgets that repositories have, or had, manifests that nothing leads
// to. What the history of a tag leads to is kept as long as that.
func linkStage(dry bool) stage {
	return stage{name: "repository_manifest", size: 1000,
		keep: func(r Retention) bool { return r.Untagged > 0 || r.Gone > 0 || r.Documents > 0 },
		work: walk{
			table: "repository_manifest", keys: byLink, most: 500, dry: dry, again: true, mark: markUnneeded,
			window: `
				SELECT x.repository_id, x.manifest_id, '', true FROM repository_manifest x
				 WHERE (x.repository_id, x.manifest_id) > (@in::bigint, @id::bigint)
				 ORDER BY x.repository_id, x.manifest_id LIMIT @size`,
			due: `x.unneeded_since < CASE x.presence WHEN 'gone' THEN @gone::timestamptz ELSE @untagged::timestamptz END
				AND NOT ` + needed + less(dry, "repository_manifest", "x.repository_id", "x.manifest_id") + `
				AND NOT EXISTS (SELECT 1 FROM manifest_child c
				                  JOIN repository_manifest p ON p.manifest_id = c.parent_id AND p.repository_id = x.repository_id
				                 WHERE c.child_id = x.manifest_id` + less(dry, "repository_manifest", "p.repository_id", "p.manifest_id") + `)
				AND NOT EXISTS (SELECT 1 FROM tag_event e
				                 WHERE e.manifest_id = x.manifest_id AND e.repository_id = x.repository_id` + less(dry, "tag_event", "0", "e.id") + `)`,
			goes: []deletion{{table: "repository_manifest",
				where: `(t.repository_id, t.manifest_id) IN (SELECT k.at, k.id FROM unnest(@ins::bigint[], @ids::bigint[]) AS k (at, id))`}},
		}}
}

// atWork is that a scan is at a manifest x or about to be.
const atWork = `(x.lease_until IS NOT NULL AND x.lease_until >= now() OR EXISTS (SELECT 1 FROM scan s WHERE s.manifest_id = x.id AND s.state IN ('queued', 'running')))`

// sbomStage deletes the documents of images that nothing leads to. They are
// catalogued anew when somebody asks.
func sbomStage(dry bool) stage {
	return stage{name: "sbom", size: 500, keep: func(r Retention) bool { return r.Documents > 0 },
		work: walk{
			table: "manifest", keys: byID, most: 200, dry: dry,
			window: `SELECT 0::bigint, b.manifest_id, '', true FROM sbom b WHERE b.manifest_id > @id::bigint ORDER BY b.manifest_id LIMIT @size`,
			due: `NOT ` + atWork + ` AND NOT EXISTS (SELECT 1 FROM repository_manifest r
				                 WHERE r.manifest_id = x.id AND (r.unneeded_since IS NULL OR r.unneeded_since >= @sboms::timestamptz))` +
				less(dry, "sbom", "0", "x.id"),
			goes: []deletion{{table: "sbom", where: `t.manifest_id = ANY (@ids::bigint[])`, bytes: sbomBytes}},
			also: []string{`UPDATE manifest SET catalog_version = '' WHERE id = ANY (@ids::bigint[])`},
			name: "sbom",
		}}
}

// sbomBytes is the size of a stored document without reading it.
const sbomBytes = `pg_column_size(t.document) + pg_column_size(t.occurrences)`

// manifestStage deletes the manifests that no repository has any more, with their
// scans: what ran is told of what there is.
func manifestStage(dry bool) stage {
	const of = `t.manifest_id = ANY (@ids::bigint[])`
	return stage{name: "manifest", size: 1000,
		work: walk{
			table: "manifest", keys: byID, most: 200, dry: dry, again: true,
			window: `SELECT 0::bigint, x.id, '', true FROM manifest x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `x.created_at < @grace::timestamptz AND NOT ` + atWork + less(dry, "manifest", "0", "x.id") + `
				AND NOT EXISTS (SELECT 1 FROM repository_manifest r WHERE r.manifest_id = x.id` +
				less(dry, "repository_manifest", "r.repository_id", "r.manifest_id") + `)
				AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.manifest_id = x.id)
				AND NOT EXISTS (SELECT 1 FROM tag t WHERE t.answered_id = x.id)
				AND NOT EXISTS (SELECT 1 FROM manifest_child c WHERE c.child_id = x.id` + less(dry, "manifest", "0", "c.parent_id") + `)
				AND NOT EXISTS (SELECT 1 FROM tag_event e WHERE e.manifest_id = x.id` + less(dry, "tag_event", "0", "e.id") + `)`,
			goes: []deletion{
				{table: "scan", where: of},
				{table: "sbom", where: of + less(dry, "sbom", "0", "t.manifest_id"), bytes: sbomBytes},
				{table: "manifest_past", where: of + unlessOlder(dry)},
				{table: "manifest_layer", where: of},
				{table: "manifest_child", where: `t.parent_id = ANY (@ids::bigint[])`},
				{table: "manifest", where: `t.id = ANY (@ids::bigint[])`},
			},
		}}
}

// uploadStage deletes uploaded documents whose manifest went.
func uploadStage(dry bool) stage {
	return stage{name: "sbom_upload", size: 200,
		work: walk{
			table: "sbom_upload", keys: byName, most: 100, dry: dry,
			window: `
				SELECT 0::bigint, 0::bigint, x.digest, true FROM sbom_upload x WHERE x.digest > @name ORDER BY x.digest LIMIT @size`,
			due: `x.created_at < @grace::timestamptz
				AND NOT EXISTS (SELECT 1 FROM manifest m WHERE m.digest = x.digest` + less(dry, "manifest", "0", "m.id") + `)
				AND NOT EXISTS (SELECT 1 FROM scan s WHERE s.digest = x.digest AND s.state IN ('queued', 'running'))`,
			goes: []deletion{{table: "sbom_upload", where: `t.digest = ANY (@names::text[])`, bytes: `pg_column_size(t.document)`}},
		}}
}
