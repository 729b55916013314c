package postgres_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// news lists the events of team/app, oldest first, and forgets them.
func news(t *testing.T, w *postgrestest.World) []string {
	t.Helper()
	found, err := w.Store.Events(t.Context(), all, report.EventFilter{Repository: &report.RepositoryRef{Registry: "main", Name: "team/app"}}, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range found.Items {
		line := string(e.Kind) + " " + e.Vulnerability + " by " + string(e.Cause)
		if e.Escalation != nil && e.Escalation.SeverityFrom != "" {
			line += ", was " + string(e.Escalation.SeverityFrom) + ", is " + string(e.Severity)
		}
		if e.Escalation != nil && e.Escalation.KnownExploited {
			line += ", exploited"
		}
		out = append(out, line)
	}
	if _, err := w.Pool.Exec(t.Context(), `DELETE FROM finding_event`); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// What the repository has is news, not what each build of it has again.
func TestOnlyNewsIsAnEvent(t *testing.T) {
	w := postgrestest.New(t)
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"build 256", func() { w.Push("team/app", "256", one("256", "1.0.0", "CVE-1", "CVE-2")) }, []string{"opened CVE-1 by push", "opened CVE-2 by push"}},
		{"build 257 has the same, in another version", func() { w.Push("team/app", "257", one("257", "1.1.0", "CVE-1", "CVE-2")) }, []string{}},
		{"build 258 has one left", func() { w.Push("team/app", "258", one("258", "1.2.0", "CVE-2")) }, []string{}},
		{"256 goes, 257 has it still", func() { drop(t, w, "team/app", "256") }, []string{}},
		{"257 goes", func() { drop(t, w, "team/app", "257") }, []string{"closed CVE-1 by delete"}},
		{"258 is pushed again with another image", func() { w.Push("team/app", "258", one("259", "1.3.0", "CVE-1")) }, []string{"closed CVE-2 by push", "reopened CVE-1 by push"}},
		{"another repository has it, too", func() { w.Push("team/web", "1", one("256", "1.0.0", "CVE-1", "CVE-2")) }, []string{}},
	} {
		step.do()
		if diff := cmp.Diff(step.want, news(t, w)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
}

// Of another image the same finding may be worse: why, stands beside it.
func TestWhyAFindingEscalates(t *testing.T) {
	w := postgrestest.New(t)
	low, high := vuln.Ref{ID: "CVE-1", Namespace: "a"}, vuln.Ref{ID: "CVE-1", Namespace: "b"}
	w.Know(vuln.Vulnerability{Ref: low, Severity: vuln.SeverityLow},
		vuln.Vulnerability{Ref: high, Severity: vuln.SeverityCritical, KEV: []vuln.KnownExploited{{CVE: "CVE-1"}}})
	of := func(name, version string, ref vuln.Ref, fixed bool) postgrestest.Image {
		i := one(name, version, "CVE-1")
		m := &i.Packages[0].Matches[0]
		m.Ref = ref
		if !fixed {
			m.Fix, m.SuggestedVersion = vuln.Fix{State: vuln.FixStateNotFixed}, ""
		}
		return i
	}
	w.Push("team/app", "1", of("1", "1", low, false))
	if diff := cmp.Diff([]string{"opened CVE-1 by push"}, news(t, w)); diff != "" {
		t.Error(diff)
	}
	w.Push("team/app", "2", of("2", "2", low, true))
	if diff := cmp.Diff([]string{"fix_available CVE-1 by push"}, news(t, w)); diff != "" {
		t.Error(diff)
	}
	w.Push("team/app", "3", of("3", "3", high, true))
	if diff := cmp.Diff([]string{"escalated CVE-1 by push, was low, is critical, exploited"}, news(t, w)); diff != "" {
		t.Error(diff)
	}
}
