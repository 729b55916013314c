package inventory

import (
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Judgement is what a database build says of one package by itself.
type Judgement struct {
	Matches []vuln.Match
	Ignores []vuln.Ignore
	// Names are those under which advisories may concern the package, as the
	// matchers compare them; nil when the judge does not say, and empty when none
	// can.
	Names []string
}

// Verdict is a match in the context of an image.
type Verdict struct {
	Member int
	Match  vuln.Match
	// Ignored is the reason the match does not count, empty when it does.
	Ignored string
}

// Apply puts per-package judgements (at the index of Packages) into the
// context of the image: it returns one verdict per member and match. A match is
// ignored when the package alone decides so, when an owner's records suppress
// it, or when a package of the same type, name and version does. Members that
// are excluded from matching have no verdicts. The SQL function
// inventory_verdicts states the same rule for stored inventories; a test holds
// the two together.
func (inv *Inventory) Apply(judgements []Judgement) []Verdict {
	same := inv.sameIgnores(judgements)
	var verdicts []Verdict
	for n, m := range inv.Members {
		if m.Excluded != "" {
			continue
		}
		for _, match := range judgements[m.Package].Matches {
			verdicts = append(verdicts, Verdict{Member: n, Match: match, Ignored: inv.ignored(m, match, judgements, same)})
		}
	}
	return verdicts
}

type identity struct{ typ, name, version, vulnerability string }

func (inv *Inventory) sameIgnores(judgements []Judgement) map[identity]string {
	same := map[identity]string{}
	for _, m := range inv.Members {
		if m.Excluded != "" {
			continue
		}
		p := inv.Packages[m.Package]
		for _, i := range judgements[m.Package].Ignores {
			if i.Kind == vuln.IgnoreSame {
				same[identity{p.Type, p.Name, p.Version, i.Vulnerability}] = i.Reason
			}
		}
	}
	return same
}

func (inv *Inventory) ignored(m Member, match vuln.Match, judgements []Judgement, same map[identity]string) string {
	if match.Ignored != "" {
		return match.Ignored
	}
	p := inv.Packages[m.Package]
	for _, id := range match.IDs() {
		for _, owner := range m.Owners {
			for _, i := range judgements[owner].Ignores {
				if i.Kind == vuln.IgnoreOwned && i.Vulnerability == id {
					return i.Reason
				}
			}
		}
		if reason, ok := same[identity{p.Type, p.Name, p.Version, id}]; ok {
			return reason
		}
	}
	return ""
}
