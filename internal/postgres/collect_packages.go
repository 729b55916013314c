package postgres

// inventoryStage deletes inventories that no manifest has, nor had within the
// history that is kept.
func inventoryStage(dry bool) stage {
	const of = `t.inventory_id = ANY (@ids::bigint[])`
	return stage{name: "inventory", size: 1000,
		work: walk{
			table: "inventory", keys: byID, most: 40, dry: dry, still: true,
			window: `SELECT 0::bigint, x.id, '', true FROM inventory x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `x.created_at < @grace::timestamptz
				AND NOT EXISTS (SELECT 1 FROM manifest m WHERE m.inventory_id = x.id` + less(dry, "manifest", "0", "m.id") + `)
				AND NOT EXISTS (SELECT 1 FROM repository_inventory r WHERE r.inventory_id = x.id)
				AND NOT EXISTS (SELECT 1 FROM manifest_past p
				                 WHERE p.inventory_id = x.id AND p.until >= @history::timestamptz` + less(dry, "manifest", "0", "p.manifest_id") + `)`,
			goes: []deletion{
				{table: "manifest_past", where: of + unlessOlder(dry) + less(dry, "manifest", "0", "t.manifest_id")},
				{table: "coverage_past", where: of + unlessOld(dry, "t.until_build")},
				{table: "inventory_summary", where: of},
				{table: "inventory_package", where: of},
				{table: "inventory", where: `t.id = ANY (@ids::bigint[])`},
			},
			// What a build that is held would count there.
			also: []string{`DELETE FROM rematch_count WHERE inventory_id = ANY (@ids::bigint[])`},
		}}
}

// packageStage deletes packages that no inventory holds, with what builds said of
// them.
func packageStage(dry bool) stage {
	const of = `t.package_id = ANY (@ids::bigint[])`
	return stage{name: "package", size: 1000,
		work: walk{
			table: "package", keys: byID, most: 250, dry: dry, still: true,
			window: `SELECT 0::bigint, x.id, '', true FROM package x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `x.created_at < @grace::timestamptz
				AND NOT EXISTS (SELECT 1 FROM inventory_package ip WHERE ip.package_id = x.id` + less(dry, "inventory", "0", "ip.inventory_id") + `)`,
			goes: []deletion{
				{table: "package_match", where: of + unlessOld(dry, "t.closed_build")},
				{table: "package_ignore", where: of + unlessOld(dry, "t.closed_build")},
				{table: "package", where: `t.id = ANY (@ids::bigint[])`},
			},
			also: []string{`DELETE FROM rematch_package WHERE package_id = ANY (@ids::bigint[])`},
		}}
}

// vulnerabilityStage deletes records that no package matches, nor matched within
// the history that is kept.
func vulnerabilityStage(dry bool) stage {
	return stage{name: "vulnerability", size: 1000,
		work: walk{
			table: "vulnerability", keys: byID, most: 500, dry: dry, still: true,
			window: `SELECT 0::bigint, x.id, '', true FROM vulnerability x WHERE x.id > @id::bigint ORDER BY x.id LIMIT @size`,
			due: `NOT EXISTS (SELECT 1 FROM package_match m WHERE m.vulnerability_id = x.id` +
				less(dry, "package", "0", "m.package_id") + unlessOld(dry, "m.closed_build") + `)`,
			goes: []deletion{
				{table: "vulnerability_rating", where: `t.vulnerability_id = ANY (@ids::bigint[])` + unlessOld(dry, "t.closed_build")},
				{table: "vulnerability", where: `t.id = ANY (@ids::bigint[])`},
			},
			also: []string{`DELETE FROM rematch_record WHERE vulnerability_id = ANY (@ids::bigint[])`},
		}}
}
