package vuln_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func match(id string, aliases ...string) vuln.Match {
	m := vuln.Match{Ref: vuln.Ref{ID: id}}
	for _, a := range aliases {
		m.Aliases = append(m.Aliases, vuln.Ref{ID: a})
	}
	return m
}

func TestCanonicalPrefersTheCVEThenTheGHSAAndFollowsOnlyDirectAliases(t *testing.T) {
	for _, c := range []struct {
		name string
		in   vuln.Match
		want string
	}{
		{"a CVE is its own name", match("CVE-2024-1", "CVE-2023-9"), "CVE-2024-1"},
		{"a GHSA with a CVE", match("GHSA-x", "CVE-2024-1"), "CVE-2024-1"},
		{"several CVEs: the same one every time", match("GHSA-x", "CVE-2024-2", "CVE-2024-1"), "CVE-2024-1"},
		{"a GHSA without", match("GHSA-x", "GO-2024-1"), "GHSA-x"},
		{"a Go record with both", match("GO-2024-1", "GHSA-x", "CVE-2024-1"), "CVE-2024-1"},
		{"a Go record with a GHSA", match("GO-2024-1", "GHSA-x"), "GHSA-x"},
		{"a vendor's own", match("ALAS-2024-1"), "ALAS-2024-1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.in.Canonical(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestIDsListsEachNameOnce(t *testing.T) {
	if diff := cmp.Diff([]string{"GHSA-x", "CVE-1"}, match("GHSA-x", "CVE-1", "CVE-1", "GHSA-x").IDs()); diff != "" {
		t.Error(diff)
	}
}

func TestSeveritiesRankFromWorstToUnknown(t *testing.T) {
	rank := 6
	for _, s := range vuln.Severities() {
		if s.Rank() >= rank {
			t.Errorf("%s ranks %d, not below %d", s, s.Rank(), rank)
		}
		rank = s.Rank()
		if got, ok := vuln.ParseSeverity(string(s)); !ok || got != s {
			t.Errorf("%s reads back as %s, %v", s, got, ok)
		}
	}
	if got, ok := vuln.ParseSeverity("HIGH"); !ok || got != vuln.SeverityHigh {
		t.Errorf("HIGH reads as %s, %v", got, ok)
	}
	if got, ok := vuln.ParseSeverity("dreadful"); ok || got != vuln.SeverityUnknown {
		t.Errorf("dreadful reads as %s, %v", got, ok)
	}
}

func TestSameIgnoresWhatDoesNotJudge(t *testing.T) {
	a := vuln.Build{Checksum: "x", Engine: "grype", EngineVersion: "v1", Config: "c", Source: "here"}
	b := a
	b.Source, b.SchemaVersion = "there", "v6"
	if !a.Same(b) {
		t.Error("the source makes another build")
	}
	b.EngineVersion = "v2"
	if a.Same(b) {
		t.Error("another engine version is the same build")
	}
}
