package inventory

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

func matchOf(id string, aliases ...string) vuln.Match {
	m := vuln.Match{Ref: vuln.Ref{ID: id, Namespace: "test"}}
	for _, a := range aliases {
		m.Aliases = append(m.Aliases, vuln.Ref{ID: a})
	}
	return m
}

// ignoredBy applies judgements by package name and returns, for each occurrence
// and match, why it does not count.
func ignoredBy(inv *Inventory, byName map[string]Judgement) map[string]string {
	judgements := make([]Judgement, len(inv.Packages))
	for i, p := range inv.Packages {
		judgements[i] = byName[p.Name+p.Version]
	}
	out := map[string]string{}
	for _, v := range inv.Apply(judgements) {
		for _, o := range inv.Occurrences {
			if o.Member == v.Member {
				out[o.ID+" "+v.Match.ID] = v.Ignored
			}
		}
	}
	return out
}

func TestApply(t *testing.T) {
	owned := func(id, reason string) vuln.Ignore {
		return vuln.Ignore{Vulnerability: id, Kind: vuln.IgnoreOwned, Reason: reason}
	}
	same := func(id, reason string) vuln.Ignore {
		return vuln.Ignore{Vulnerability: id, Kind: vuln.IgnoreSame, Reason: reason}
	}
	self := matchOf("CVE-9")
	self.Ignored = "false positive"
	for _, tt := range []struct {
		name       string
		judgements map[string]Judgement
		want       map[string]string
	}{
		{
			"nothing is suppressed",
			map[string]Judgement{"child1.0.0": {Matches: []vuln.Match{matchOf("CVE-1")}}},
			map[string]string{"owned CVE-1": "", "free CVE-1": ""},
		},
		{
			"an owner suppresses what it owns and not the free copy",
			map[string]Judgement{
				"owner1.0.0": {Ignores: []vuln.Ignore{owned("CVE-1", "distro-fixed")}},
				"child1.0.0": {Matches: []vuln.Match{matchOf("CVE-1"), matchOf("CVE-2")}},
			},
			map[string]string{"owned CVE-1": "distro-fixed", "owned CVE-2": "", "free CVE-1": "", "free CVE-2": ""},
		},
		{
			"an alias counts",
			map[string]Judgement{
				"owner1.0.0": {Ignores: []vuln.Ignore{owned("CVE-1", "distro-fixed")}},
				"child1.0.0": {Matches: []vuln.Match{matchOf("GHSA-1", "CVE-1")}},
			},
			map[string]string{"owned GHSA-1": "distro-fixed", "free GHSA-1": ""},
		},
		{
			"an owner does not suppress its own",
			map[string]Judgement{
				"owner1.0.0": {Matches: []vuln.Match{matchOf("CVE-1")}, Ignores: []vuln.Ignore{owned("CVE-1", "distro-fixed")}},
			},
			map[string]string{"owner CVE-1": ""},
		},
		{
			"the same type, name and version",
			map[string]Judgement{
				"child1.0.0": {Matches: []vuln.Match{matchOf("GHSA-1", "CVE-1")}, Ignores: []vuln.Ignore{same("CVE-1", "unaffected")}},
				"child2.0.0": {Matches: []vuln.Match{matchOf("GHSA-1", "CVE-1")}},
			},
			map[string]string{"owned GHSA-1": "unaffected", "free GHSA-1": "unaffected", "newer GHSA-1": ""},
		},
		{
			"the package alone",
			map[string]Judgement{"child1.0.0": {Matches: []vuln.Match{self}}},
			map[string]string{"owned CVE-9": "false positive", "free CVE-9": "false positive"},
		},
		{
			"what is left out of matching neither has verdicts nor suppresses",
			map[string]Judgement{
				"out1.0.0":   {Matches: []vuln.Match{matchOf("CVE-1")}, Ignores: []vuln.Ignore{same("CVE-2", "x"), owned("CVE-3", "x")}},
				"child1.0.0": {Matches: []vuln.Match{matchOf("CVE-3")}},
			},
			map[string]string{"owned CVE-3": "", "free CVE-3": ""},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			newer := pkgOf("child")
			newer.Version = "2.0.0"
			inv := build([]addition{
				{p: pkgOf("owner"), at: Occurrence{ID: "owner"}},
				{p: pkgOf("out"), excluded: ExcludedOwned, at: Occurrence{ID: "out"}},
				{p: pkgOf("child"), at: Occurrence{ID: "owned"}, owners: []int{0, 1}},
				{p: pkgOf("child"), at: Occurrence{ID: "free"}},
				{p: newer, at: Occurrence{ID: "newer"}},
			}, []int{0, 1, 2, 3, 4})
			if diff := cmp.Diff(tt.want, ignoredBy(inv, tt.judgements)); diff != "" {
				t.Errorf("ignored (-want +got):\n%s", diff)
			}
		})
	}
}
