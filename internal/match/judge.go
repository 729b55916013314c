package match

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"

	grypematch "github.com/anchore/grype/grype/match"
	"github.com/anchore/grype/grype/pkg"
	"github.com/anchore/syft/syft/artifact"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Why a match does not count though grype gives no words for it.
const (
	reasonExplicit      = "grype: known false positive"
	reasonKernelHeaders = "grype: headers hold no kernel code"
)

// verdicts is what grype says of one package before it is put into our words.
type verdicts struct {
	subject pkg.Package
	matches grypematch.Matches
	ignored []grypematch.IgnoredMatch
	filters []grypematch.IgnoreFilter
}

// judge asks grype about one package.
func (s *Session) judge(ctx context.Context, p inventory.Package) (inventory.Judgement, error) {
	v, err := s.verdicts(ctx, p)
	if err != nil {
		return inventory.Judgement{}, err
	}
	j := inventory.Judgement{Names: s.matchers.namesOf(p)}
	if j.Ignores, err = v.ignores(); err != nil {
		return inventory.Judgement{}, errs.Op("match: judge "+describe(p), err)
	}
	if j.Matches, err = s.record(v); err != nil {
		return inventory.Judgement{}, errs.Op("match: judge "+describe(p), err)
	}
	return j, nil
}

// verdicts runs the matchers of the package's type and sorts out what grype's
// built-in rules and the CLI's default rules ignore, in grype's order.
func (s *Session) verdicts(ctx context.Context, p inventory.Package) (*verdicts, error) {
	subject, err := toGrype(p)
	if err != nil {
		return nil, err
	}
	v := &verdicts{subject: subject}
	var kept []grypematch.Match
	for _, m := range s.matchers.of(subject.Type) {
		found, filters, err := s.ask(ctx, m, subject)
		if err != nil {
			return nil, errs.Op("match: judge "+describe(p), err)
		}
		remaining := grypematch.NewMatches(found...)
		if explicitlyIgnored(subject.Type) && len(found) > 0 {
			var dropped []grypematch.IgnoredMatch
			remaining, dropped = grypematch.ApplyExplicitIgnoreRules(nil, remaining)
			v.ignored = append(v.ignored, dropped...)
		}
		kept = append(kept, remaining.Sorted()...)
		v.filters = append(v.filters, filters...)
	}
	v.matches = grypematch.NewMatches(kept...)
	if ofKernel(subject) {
		var ignored []grypematch.IgnoredMatch
		v.matches, ignored = grypematch.ApplyIgnoreRules(v.matches, kernelHeaders())
		v.ignored = append(v.ignored, ignored...)
	}
	return v, nil
}

// ask calls one matcher. A panic is an error of the package, of kind Malformed:
// it would come again, and the image must not be tried for ever. What the
// database or the context refuses is an error too; anything else that a matcher
// stumbles over is a property of the package, and grype carries on with what it
// has.
func (s *Session) ask(ctx context.Context, m grypematch.Matcher, p pkg.Package) (found []grypematch.Match, filters []grypematch.IgnoreFilter, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errs.Wrap(errs.Malformed, "match: "+string(m.Type()), fmt.Errorf("panic: %v at %s", r, debug.Stack()))
		}
	}()
	asked := &watched{Provider: s.db.provider, ctx: ctx}
	found, filters, err = m.Match(asked, p)
	switch {
	case asked.failed != nil:
		return nil, nil, asked.failed
	case err != nil && grypematch.IsFatalError(err):
		return nil, nil, errs.Wrap(errs.Internal, "match: "+string(m.Type()), err)
	case err != nil:
		slog.WarnContext(ctx, "matcher could not read a package", "matcher", string(m.Type()), "type", string(p.Type), "name", p.Name, "error", err)
	}
	return found, filters, nil
}

// ignores are what the package's records suppress on other packages. A rule of
// a form not known here would be lost or misapplied, so it is an error.
func (v *verdicts) ignores() ([]vuln.Ignore, error) {
	var out []vuln.Ignore
	seen := map[vuln.Ignore]bool{}
	for _, f := range v.filters {
		i, applies, err := v.ignore(f)
		if err != nil {
			return nil, err
		}
		// The first reason for a vulnerability stands, as in grype.
		key := vuln.Ignore{Vulnerability: i.Vulnerability, Kind: i.Kind}
		if applies && !seen[key] {
			seen[key] = true
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b vuln.Ignore) int {
		return cmp.Or(cmp.Compare(a.Vulnerability, b.Vulnerability), cmp.Compare(a.Kind, b.Kind))
	})
	return out, nil
}

func (v *verdicts) ignore(f grypematch.IgnoreFilter) (i vuln.Ignore, applies bool, err error) {
	switch rule := f.(type) {
	case grypematch.IgnoreRelatedPackage:
		if rule.RelationshipType == artifact.OwnershipByFileOverlapRelationship && rule.RelatedPackageID == subject && rule.VulnerabilityID != "" {
			return vuln.Ignore{Vulnerability: rule.VulnerabilityID, Kind: vuln.IgnoreOwned, Reason: rule.Reason}, true, nil
		}
	case grypematch.IgnoreRule:
		if rule == v.ruleForSame(rule.Vulnerability, rule.Reason) && rule.Vulnerability != "" {
			// A name that grype reads as a pattern may not match itself.
			return vuln.Ignore{Vulnerability: rule.Vulnerability, Kind: vuln.IgnoreSame, Reason: rule.Reason},
				rule.IgnoreMatch(v.matchOf(rule.Vulnerability)) != nil, nil
		}
	}
	return vuln.Ignore{}, false, errs.New(errs.Internal, "match: a matcher gave an ignore rule of an unknown form: %#v", f)
}

// ruleForSame is the one form of rule matchers give for packages of the same
// type, name and version.
func (v *verdicts) ruleForSame(id, reason string) grypematch.IgnoreRule {
	return grypematch.IgnoreRule{
		Vulnerability: id, IncludeAliases: true, Reason: reason,
		Package: grypematch.IgnoreRulePackage{Type: string(v.subject.Type), Name: v.subject.Name, Version: v.subject.Version},
	}
}

func (v *verdicts) matchOf(id string) grypematch.Match {
	m := grypematch.Match{Package: v.subject}
	m.Vulnerability.ID = id
	return m
}

// describe names a package in errors.
func describe(p inventory.Package) string {
	return fmt.Sprintf("%s %.200q %.100q", p.Type, p.Name, p.Version)
}
