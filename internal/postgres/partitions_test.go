package postgres_test

import (
	"testing"
	"time"
)

func TestEventPartitionsAreAddedOnceAndAroundWhatIsThere(t *testing.T) {
	f := newFixture(t)
	november := time.Date(2031, 11, 20, 0, 0, 0, 0, time.UTC)
	f.exec(`INSERT INTO finding_event (occurred_at, repository_id, package_type, package_name, vulnerability, kind, severity, cause)
		VALUES ('2031-12-05', 1, 'npm', 'x', 'CVE-1', 'opened', 'high', 'push')`)
	for range 2 {
		f.ok(f.store.AddEventPartitions(t.Context(), november))
	}
	if n := f.count("pg_class WHERE relname IN ('finding_event_2031_11', 'finding_event_2032_01')"); n != 2 {
		t.Errorf("%d partitions, want 2", n)
	}
	if n := f.count("pg_class WHERE relname = 'finding_event_2031_12'"); n != 0 {
		t.Error("a month with events in the default partition got one of its own")
	}
	f.exec(`INSERT INTO finding_event (occurred_at, repository_id, package_type, package_name, vulnerability, kind, severity, cause)
		VALUES ('2031-11-05', 1, 'npm', 'x', 'CVE-2', 'opened', 'high', 'push')`)
	if f.count("finding_event_2031_11") != 1 || f.count("finding_event") != 2 {
		t.Error("the event is not in its month")
	}
}
