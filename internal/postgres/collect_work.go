package postgres

// deliveryStage deletes webhook events. One whose scan is not over is kept: what
// came together is told apart by them.
func deliveryStage(dry bool) stage {
	return stage{name: "delivery", size: 2000, keep: func(r Retention) bool { return r.Deliveries > 0 },
		work: walk{
			table: "delivery", keys: byID, most: 2000, dry: dry,
			window: `
				SELECT 0::bigint, x.id, '', x.received_at < @deliveries::timestamptz
				  FROM delivery x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `x.received_at < @deliveries::timestamptz
				AND NOT EXISTS (SELECT 1 FROM scan s WHERE s.id = x.scan_id AND s.state IN ('queued', 'running'))`,
			goes: []deletion{{table: "delivery", where: `t.id = ANY (@ids::bigint[])`}},
		}}
}

// rejectionStage deletes refused requests: those of registries that nobody
// configures any more are not replaced by newer ones.
func rejectionStage(dry bool) stage {
	return stage{name: "webhook_rejection", size: 1000, keep: func(r Retention) bool { return r.Deliveries > 0 },
		work: sweep{table: "webhook_rejection", key: "id", where: `x.at < @deliveries::timestamptz`, order: "x.id", dry: dry}}
}

// rejectionHourStage deletes their counts.
func rejectionHourStage(dry bool) stage {
	return stage{name: "webhook_rejection_hour", size: 1000, keep: func(r Retention) bool { return r.Deliveries > 0 },
		work: sweep{table: "webhook_rejection_hour", key: "hour, registry, status, reason", where: `x.hour < @hours::timestamptz`,
			order: "x.hour", dry: dry}}
}

// scanStage deletes scans that ended. The newest of a tag that is there is kept,
// and one that is the only word on what it was to look at: that it failed, or was
// canceled.
func scanStage(dry bool) stage {
	const newest = `NOT EXISTS (SELECT 1 FROM scan n WHERE n.repository_id = x.repository_id AND n.tag = x.tag AND n.id > x.id
	                               AND (x.tag <> '' OR n.digest = x.digest))`
	return stage{name: "scan", size: 1000, keep: func(r Retention) bool { return r.Scans > 0 },
		work: walk{
			table: "scan", keys: byID, most: 1000, dry: dry,
			window: `
				SELECT 0::bigint, x.id, '', x.created_at < @scans::timestamptz
				  FROM scan x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `x.state IN ('done', 'failed', 'canceled') AND x.finished_at < @scans::timestamptz` + less(dry, "manifest", "0", "x.manifest_id") + `
				AND CASE WHEN x.canceled_by IS NOT NULL AND EXISTS (SELECT 1 FROM manifest m WHERE m.id = x.manifest_id AND m.state = 'queued') THEN false
				         WHEN x.manifest_id IS NULL AND x.state <> 'done' THEN NOT ` + newest + `
				         WHEN x.tag <> '' AND EXISTS (SELECT 1 FROM tag t WHERE t.repository_id = x.repository_id AND t.name = x.tag) THEN NOT ` + newest + `
				         ELSE true END`,
			goes: []deletion{{table: "scan", where: `t.id = ANY (@ids::bigint[])`}},
		}}
}

// reconciliationStage deletes comparisons that ended. Of each registry the newest
// over all of it is kept, and the newest that came to its end: they say when the
// next is due, and under which rules it was.
func reconciliationStage(dry bool) stage {
	const later = `EXISTS (SELECT 1 FROM reconciliation n WHERE n.registry_id = x.registry_id AND n.repository = '' AND n.id > x.id`
	return stage{name: "reconciliation", size: 500, keep: func(r Retention) bool { return r.Reconciliations > 0 },
		work: walk{
			table: "reconciliation", keys: byID, most: 500, dry: dry,
			window: `
				SELECT 0::bigint, x.id, '', x.created_at < @reconciliations::timestamptz
				  FROM reconciliation x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `x.state IN ('done', 'failed', 'canceled') AND x.finished_at < @reconciliations::timestamptz
				AND (x.repository <> '' OR x.state = 'done' AND ` + later + ` AND n.state = 'done') OR x.state <> 'done' AND ` + later + `))`,
			goes: []deletion{
				{table: "reconciliation_problem", where: `t.reconciliation_id = ANY (@ids::bigint[])`},
				{table: "reconciliation", where: `t.id = ANY (@ids::bigint[])`},
			},
		}}
}
