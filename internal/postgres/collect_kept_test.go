package postgres_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// leftovers are what is compared with what should be left, by table.
var leftovers = map[string]string{
	"repository_manifest": `SELECT repository_id || '/' || manifest_id FROM repository_manifest`,
	"tag_event":           `SELECT id::text FROM tag_event`,
	"manifest":            `SELECT id::text FROM manifest`,
	"inventory":           `SELECT id::text FROM inventory`,
	"package":             `SELECT id::text FROM package`,
	"vulnerability":       `SELECT id::text FROM vulnerability`,
	"sbom":                `SELECT manifest_id::text FROM sbom`,
}

type linkRow struct {
	repository, manifest int64
	presence             string
	unneeded             *time.Time
}

type eventRow struct {
	id, repository int64
	tag, action    string
	manifest       int64
	at             time.Time
	answered       *time.Time // of its manifest, when that is done with
}

type manifestRow struct {
	id        int64
	inventory *int64
	created   time.Time
	sbom      bool
}

type matchRow struct {
	packageID, vulnerability int64
	closedByOld              bool
}

// keptRows is the database as the rules are about it.
type keptRows struct {
	now       time.Time
	links     []linkRow
	events    []eventRow
	manifests []manifestRow
	matches   []matchRow
	parents   map[int64][]int64    // of manifests
	tagged    map[[2]int64]bool    // repository, manifest
	members   map[int64][]int64    // inventories of packages
	compared  map[int64]bool       // inventories that repositories are compared by
	past      map[int64][][2]int64 // manifests that had an inventory, and until when
	packages  []int64
	records   []int64
	all       []int64 // inventories
}

// expect works out, row by row, what a pass has to leave: the same rules as
// those of Collect, put the other way round.
func (w *randomWorld) expect(r postgres.Retention) map[string][]string {
	o := w.read(r)
	events := o.keptEvents(r)
	links := o.keptLinks(r, events)
	manifests := o.keptManifests(links, events)
	inventories := o.keptInventories(r, manifests)
	out := map[string][]string{"repository_manifest": {}, "tag_event": {}, "manifest": {}, "inventory": {}, "package": {}, "vulnerability": {}, "sbom": {}}
	add := func(table string, keys ...any) { out[table] = append(out[table], fmt.Sprint(keys...)) }
	for l := range links {
		add("repository_manifest", fmt.Sprintf("%d/%d", l[0], l[1]))
	}
	for _, e := range events {
		add("tag_event", e.id)
	}
	for _, m := range o.manifests {
		if manifests[m.id] {
			add("manifest", m.id)
			if m.sbom && o.wantsSBOM(r, m.id, links) {
				add("sbom", m.id)
			}
		}
	}
	for id := range inventories {
		add("inventory", id)
	}
	packages := map[int64]bool{}
	for _, p := range o.packages {
		if slices.ContainsFunc(o.members[p], func(i int64) bool { return inventories[i] }) {
			packages[p] = true
			add("package", p)
		}
	}
	for _, v := range o.records {
		if slices.ContainsFunc(o.matches, func(m matchRow) bool { return m.vulnerability == v && packages[m.packageID] && !m.closedByOld }) {
			add("vulnerability", v)
		}
	}
	for table := range out {
		slices.Sort(out[table])
	}
	return out
}

func (o keptRows) keptEvents(r postgres.Retention) (kept []eventRow) {
	begin := o.now.Add(-r.History)
	for i, e := range o.events {
		over := false
		for _, n := range o.events[i+1:] {
			if n.repository == e.repository && n.tag == e.tag && n.at.Before(begin) && (n.action == "deleted" || n.answered != nil && n.answered.Before(begin)) {
				over = true
			}
		}
		if e.action == "deleted" && e.at.Before(begin) {
			over = !slices.ContainsFunc(kept, func(k eventRow) bool { return k.repository == e.repository && k.tag == e.tag })
		}
		if !over {
			kept = append(kept, e)
		}
	}
	return kept
}

func (o keptRows) keptLinks(r postgres.Retention, events []eventRow) map[[2]int64]bool {
	kept := map[[2]int64]bool{}
	for _, l := range o.links {
		kept[[2]int64{l.repository, l.manifest}] = true
	}
	for changed := true; changed; {
		changed = false
		for _, l := range o.links {
			at := [2]int64{l.repository, l.manifest}
			limit := r.Untagged
			if l.presence == "gone" {
				limit = r.Gone
			}
			inIndex := slices.ContainsFunc(o.parents[l.manifest], func(p int64) bool { return kept[[2]int64{l.repository, p}] })
			inHistory := slices.ContainsFunc(events, func(e eventRow) bool { return e.repository == l.repository && e.manifest == l.manifest })
			if kept[at] && !o.tagged[at] && !inIndex && !inHistory && l.unneeded != nil && l.unneeded.Before(o.now.Add(-limit)) {
				delete(kept, at)
				changed = true
			}
		}
	}
	return kept
}

func (o keptRows) keptManifests(links map[[2]int64]bool, events []eventRow) map[int64]bool {
	kept := map[int64]bool{}
	for at := range links {
		kept[at[1]] = true
	}
	for _, e := range events {
		kept[e.manifest] = true
	}
	for _, m := range o.manifests {
		if m.created.After(o.now.Add(-time.Hour)) {
			kept[m.id] = true
		}
	}
	for changed := true; changed; {
		changed = false
		for _, m := range o.manifests {
			if !kept[m.id] && slices.ContainsFunc(o.parents[m.id], func(p int64) bool { return kept[p] }) {
				kept[m.id], changed = true, true
			}
		}
	}
	return kept
}

// wantsSBOM reports whether the document of a manifest is kept.
func (o keptRows) wantsSBOM(r postgres.Retention, manifest int64, links map[[2]int64]bool) bool {
	for _, l := range o.links {
		if l.manifest != manifest || !links[[2]int64{l.repository, manifest}] {
			continue
		}
		needed := o.tagged[[2]int64{l.repository, manifest}] || slices.ContainsFunc(o.parents[manifest], func(p int64) bool {
			return o.tagged[[2]int64{l.repository, p}]
		})
		if needed || l.unneeded == nil || !l.unneeded.Before(o.now.Add(-r.Documents)) {
			return true
		}
	}
	return false
}

func (o keptRows) keptInventories(r postgres.Retention, manifests map[int64]bool) map[int64]bool {
	kept := map[int64]bool{}
	for _, m := range o.manifests {
		if m.inventory != nil && manifests[m.id] {
			kept[*m.inventory] = true
		}
	}
	for _, id := range o.all {
		if o.compared[id] || slices.ContainsFunc(o.past[id], func(p [2]int64) bool {
			return manifests[p[0]] && p[1] >= o.now.Add(-r.History).UnixMicro()
		}) {
			kept[id] = true
		}
	}
	return kept
}

// read loads it. What was made within the hour does not matter here: tests age
// everything.
func (w *randomWorld) read(r postgres.Retention) *keptRows {
	o := &keptRows{now: time.Now(), parents: map[int64][]int64{}, tagged: map[[2]int64]bool{}, members: map[int64][]int64{},
		compared: map[int64]bool{}, past: map[int64][][2]int64{}}
	each := func(query string, into []any, add func(), args ...any) {
		found, err := w.pool.Query(w.t.Context(), query, args...)
		w.ok(err)
		for found.Next() {
			w.ok(found.Scan(into...))
			add()
		}
		w.ok(found.Err())
	}
	var l linkRow
	each(`SELECT repository_id, manifest_id, presence, unneeded_since FROM repository_manifest`,
		[]any{&l.repository, &l.manifest, &l.presence, &l.unneeded}, func() { o.links = append(o.links, l); l.unneeded = nil })
	var e eventRow
	each(`SELECT e.id, e.repository_id, e.tag, e.action, e.manifest_id, e.occurred_at, CASE WHEN m.state = 'done' THEN m.scanned_at END
	        FROM tag_event e JOIN manifest m ON m.id = e.manifest_id ORDER BY e.id`,
		[]any{&e.id, &e.repository, &e.tag, &e.action, &e.manifest, &e.at, &e.answered}, func() { o.events = append(o.events, e); e.answered = nil })
	var m manifestRow
	each(`SELECT m.id, m.inventory_id, m.created_at, EXISTS (SELECT 1 FROM sbom b WHERE b.manifest_id = m.id) FROM manifest m`,
		[]any{&m.id, &m.inventory, &m.created, &m.sbom}, func() { o.manifests = append(o.manifests, m); m.inventory = nil })
	var a, b int64
	each(`SELECT parent_id, child_id FROM manifest_child`, []any{&a, &b}, func() { o.parents[b] = append(o.parents[b], a) })
	each(`SELECT repository_id, manifest_id FROM standing_tag`, []any{&a, &b}, func() { o.tagged[[2]int64{a, b}] = true })
	each(`SELECT inventory_id, package_id FROM inventory_package`, []any{&a, &b}, func() { o.members[b] = append(o.members[b], a) })
	each(`SELECT inventory_id FROM repository_inventory`, []any{&a}, func() { o.compared[a] = true })
	each(`SELECT id FROM inventory`, []any{&a}, func() { o.all = append(o.all, a) })
	each(`SELECT id FROM package`, []any{&a}, func() { o.packages = append(o.packages, a) })
	each(`SELECT id FROM vulnerability`, []any{&a}, func() { o.records = append(o.records, a) })
	var until time.Time
	each(`SELECT manifest_id, inventory_id, until FROM manifest_past`, []any{&a, &b, &until}, func() {
		o.past[b] = append(o.past[b], [2]int64{a, until.UnixMicro()})
	})
	var match matchRow
	each(`SELECT m.package_id, m.vulnerability_id, COALESCE(b.activated_at < $1, false)
	        FROM package_match m LEFT JOIN vuln_build b ON b.id = m.closed_build`,
		[]any{&match.packageID, &match.vulnerability, &match.closedByOld}, func() { o.matches = append(o.matches, match) }, o.now.Add(-r.History))
	return o
}
