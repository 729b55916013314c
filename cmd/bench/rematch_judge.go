package main

import (
	"context"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// recorder is a session that keeps what it says, as far as counts and findings
// are made of it.
type recorder struct {
	scan.Session
	mu       sync.Mutex
	judged   map[inventory.Fingerprint]inventory.Judgement
	rated    map[vuln.Ref]rating
	interned map[string]string
}

// rating is what counts of a record.
type rating struct {
	rank      int
	exploited bool
	likely    bool
}

func newRecorder(s scan.Session) *recorder {
	return &recorder{Session: s, judged: map[inventory.Fingerprint]inventory.Judgement{}, rated: map[vuln.Ref]rating{}, interned: map[string]string{}}
}

// Judge judges and keeps (scan.Session).
func (r *recorder) Judge(ctx context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	out, err := r.Session.Judge(ctx, packages)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, j := range out {
		r.judged[inventory.FingerprintOf(packages[i])] = r.small(j)
	}
	return out, nil
}

// Vulnerabilities describes and keeps (scan.Session).
func (r *recorder) Vulnerabilities(ctx context.Context, refs []vuln.Ref) ([]vuln.Vulnerability, error) {
	const likely = 0.5
	out, err := r.Session.Vulnerabilities(ctx, refs)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range out {
		r.rated[v.Ref] = rating{rank: v.Severity.Rank(), exploited: len(v.KEV) > 0, likely: v.EPSS != nil && v.EPSS.Score >= likely}
	}
	return out, err
}

// small leaves out what is only shown.
func (r *recorder) small(j inventory.Judgement) inventory.Judgement {
	out := inventory.Judgement{}
	for _, m := range j.Matches {
		small := vuln.Match{Ref: r.ref(m.Ref), Fix: vuln.Fix{State: m.Fix.State}, Ignored: m.Ignored}
		for _, a := range m.Aliases {
			small.Aliases = append(small.Aliases, r.ref(a))
		}
		out.Matches = append(out.Matches, small)
	}
	for _, i := range j.Ignores {
		i.Vulnerability, i.Reason = r.same(i.Vulnerability), r.same(i.Reason)
		out.Ignores = append(out.Ignores, i)
	}
	return out
}

func (r *recorder) ref(x vuln.Ref) vuln.Ref {
	return vuln.Ref{ID: r.same(x.ID), Namespace: r.same(x.Namespace)}
}

func (r *recorder) same(s string) string {
	if known, ok := r.interned[s]; ok {
		return known
	}
	r.interned[s] = s
	return s
}

// named is what findings are told apart by.
type named struct{ kind, name, vulnerability string }

// worst is the sum of all matches of a finding.
type worst struct {
	rank                       int
	fixable, exploited, likely bool
	ignored                    bool // every one of them
}

func (w worst) with(o worst) worst {
	return worst{
		rank: max(w.rank, o.rank), fixable: w.fixable || o.fixable, exploited: w.exploited || o.exploited,
		likely: w.likely || o.likely, ignored: w.ignored && o.ignored,
	}
}

// findings are those of an inventory, as the service sums them up.
func (r *recorder) findings(w *world, h held) map[named]worst {
	inv := inventory.Inventory{Distro: h.distro}
	judgements := make([]inventory.Judgement, len(h.packages))
	for i, n := range h.packages {
		p := w.packages[n]
		inv.Packages = append(inv.Packages, p)
		m := inventory.Member{Package: i}
		if owner, ok := h.owners[i]; ok {
			m.Owners = []int{owner}
		}
		inv.Members = append(inv.Members, m)
		judgements[i] = r.judged[w.prints[n]]
	}
	out := map[named]worst{}
	for _, v := range inv.Apply(judgements) {
		p := inv.Packages[inv.Members[v.Member].Package]
		rated := r.rated[v.Match.Ref]
		key := named{p.Type, p.Name, v.Match.Canonical()}
		one := worst{rank: rated.rank, exploited: rated.exploited, likely: rated.likely, fixable: v.Match.Fix.State == vuln.FixStateFixed, ignored: v.Ignored != ""}
		if before, ok := out[key]; ok {
			one = one.with(before)
		}
		out[key] = one
	}
	return out
}
