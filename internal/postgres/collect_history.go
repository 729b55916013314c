package postgres

// oldBuilds are those that took their place before the history that is kept
// begins: what one of them closed, no moment of it shows. A build that never was
// in force is not among them.
const oldBuilds = `ARRAY(SELECT b.id FROM vuln_build b WHERE b.state IN ('active', 'retired') AND b.activated_at < @history::timestamptz)`

func keepsHistory(r Retention) bool { return r.History > 0 }

// tagEventStage forgets where tags pointed before the history that is kept: a move
// that another one followed before it begins, where that was answered by then,
// and a deletion.
func tagEventStage(dry bool) stage {
	return stage{name: "tag_event", size: 1000, keep: keepsHistory,
		work: walk{
			table: "tag_event", keys: byID, most: 1000, dry: dry, free: true, again: true,
			window: `
				SELECT 0::bigint, x.id, '', x.occurred_at < @history::timestamptz
				  FROM tag_event x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `x.occurred_at < @history::timestamptz` + less(dry, "tag_event", "0", "x.id") + `
				AND CASE x.action
				    WHEN 'deleted' THEN NOT EXISTS (SELECT 1 FROM tag_event o
				                                     WHERE o.repository_id = x.repository_id AND o.tag = x.tag AND o.id < x.id` + less(dry, "tag_event", "0", "o.id") + `)
				    ELSE EXISTS (SELECT 1 FROM tag_event n LEFT JOIN manifest m ON m.id = n.manifest_id
				                  WHERE n.repository_id = x.repository_id AND n.tag = x.tag AND n.id > x.id
				                    AND n.occurred_at < @history::timestamptz
				                    AND (n.action = 'deleted' OR m.state = 'unsupported' OR m.state = 'done' AND m.scanned_at < @history::timestamptz))
				    END`,
			goes: []deletion{{table: "tag_event", where: `t.id = ANY (@ids::bigint[])`}},
		}}
}

// closedStage deletes rows that an old build closed.
func closedStage(table string, dry bool) stage {
	return stage{name: table, size: 2000, keep: keepsHistory,
		work: sweep{table: table, key: "id", where: `x.closed_build = ANY (` + oldBuilds + `)`, order: "x.closed_build", dry: dry}}
}

// findingStage deletes findings of repositories that closed. One that comes back
// later is new.
func findingStage(dry bool) stage {
	return stage{name: "repository_finding", size: 1000, keep: keepsHistory,
		work: sweep{table: "repository_finding", key: "repository_id, package_type, package_name, vulnerability",
			where: `x.closed_at < @history::timestamptz`, order: "x.closed_at", dry: dry}}
}

// pastAnswerStage deletes which inventories manifests had before.
func pastAnswerStage(dry bool) stage {
	return stage{name: "manifest_past", size: 1000, keep: keepsHistory,
		work: walk{
			table: "manifest_past", keys: keys{"0::bigint, x.manifest_id, ''", "x.manifest_id = ANY (@ids::bigint[])"},
			most: 1000, dry: dry, free: true,
			window: `
				SELECT DISTINCT 0::bigint, x.manifest_id, '', true FROM manifest_past x
				 WHERE x.manifest_id > @id::bigint ORDER BY x.manifest_id LIMIT @size`,
			due:  `x.until < @history::timestamptz`,
			goes: []deletion{{table: "manifest_past", where: `t.manifest_id = ANY (@ids::bigint[]) AND t.until < @history::timestamptz`}},
		}}
}

// pastCoverageStage deletes what old builds had no data for.
func pastCoverageStage(dry bool) stage {
	return stage{name: "coverage_past", size: 1000, keep: keepsHistory,
		work: walk{
			table: "coverage_past", keys: keys{"0::bigint, x.inventory_id, ''", "x.inventory_id = ANY (@ids::bigint[])"},
			most: 1000, dry: dry, free: true,
			window: `
				SELECT DISTINCT 0::bigint, x.inventory_id, '', true FROM coverage_past x
				 WHERE x.inventory_id > @id::bigint ORDER BY x.inventory_id LIMIT @size`,
			due:  `x.until_build = ANY (` + oldBuilds + `)`,
			goes: []deletion{{table: "coverage_past", where: `t.inventory_id = ANY (@ids::bigint[]) AND t.until_build = ANY (` + oldBuilds + `)`}},
		}}
}
