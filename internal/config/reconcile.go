package config

import (
	"regexp"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Reconcile is the comparison of what a registry lists with what is known.
type Reconcile struct {
	// Time between two comparisons, counted from the start of the last; 0 for only on demand. The first one is made at once.
	Interval time.Duration `yaml:"interval" default:"24h"`
	// How repositories are found: catalog, harbor, gitlab, dockerhub, ghcr, ecr or none; docs/reconcile.md says what each needs.
	Lister string `yaml:"lister" default:"catalog"`
	// Repositories to look for, without the host: names, and patterns that choose from what is listed, with `*` for any characters but a slash and `**` for any characters. With names alone nothing is listed. Empty means all.
	Repositories []string `yaml:"repositories"`
	// Address of the vendor's interface, as https://gitlab.example; empty means the vendor's own or the registry itself.
	APIURL URL `yaml:"api_url"`
	// Projects, groups, organisations or users to look into, as the vendor calls them.
	Namespaces []string `yaml:"namespaces"`
	// Token for the vendor's interface; empty means the password of `auth`.
	Token Secret `yaml:"token"`
}

// Rules say which images of a registry are wanted.
type Rules struct {
	// When given, only what one of these matches is wanted.
	Include []Rule `yaml:"include"`
	// What the first of these that matches leaves out, included or not.
	Exclude []Rule `yaml:"exclude"`
}

// Rule matches images; all that it says has to hold.
type Rule struct {
	// Name that answers and coverage give as the reason, unique in the registry. `not_included` and `platforms` are taken. Required.
	Name string `yaml:"name"`
	// Repositories without the host, as `team/*`: * stands for any characters but a slash, ** for any characters. Empty means all.
	Repository string `yaml:"repository"`
	// Tags, as `pr-*`; empty means all, and images without a tag too.
	Tag string `yaml:"tag"`
	// Images made longer ago, by the date in their config, when they are looked at; 0 means any age. Dates before 2000 count as no date.
	OlderThan time.Duration `yaml:"older_than"`
}

// minReconcileInterval keeps comparisons from being all a registry does.
const minReconcileInterval = time.Minute

func (r Registry) checkReconcile(ps *Problems, path string) {
	if r.Reconcile.Interval != 0 {
		ps.atLeast(path+".interval", r.Reconcile.Interval, minReconcileInterval)
	}
	r.checkListing(ps, path)
}

func (r Registry) checkRules(ps *Problems, path string) {
	names := map[string]string{}
	for i, rule := range r.Rules.Include {
		rule.check(ps, at(path+".include", i), names)
	}
	for i, rule := range r.Rules.Exclude {
		rule.check(ps, at(path+".exclude", i), names)
	}
}

var (
	ruleName       = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9])?$`)
	repositoryGlob = regexp.MustCompile(`^[a-z0-9._/*-]{1,255}$`)
	tagGlob        = regexp.MustCompile(`^[A-Za-z0-9._*-]{1,128}$`)
)

func (r Rule) check(ps *Problems, path string, taken map[string]string) {
	switch {
	case r.Name == "":
		ps.add(path+".name", "empty")
	case !ruleName.MatchString(r.Name):
		ps.add(path+".name", "%.80q: use letters, digits, and spaces, dots, hyphens or underscores between them, at most 63", r.Name)
	case r.Name == scan.NotIncluded, r.Name == scan.PlatformRule:
		ps.add(path+".name", "%q is a reason with a meaning of its own; choose another", r.Name)
	case taken[r.Name] != "":
		ps.add(path+".name", "%q is the name of %s already", r.Name, taken[r.Name])
	default:
		taken[r.Name] = path
	}
	if r.Repository != "" && !repositoryGlob.MatchString(r.Repository) {
		ps.add(path+".repository", "%.200q can match no repository: write it without the host, in lower case, with * or ** for what varies", r.Repository)
	}
	if r.Tag != "" && !tagGlob.MatchString(r.Tag) {
		ps.add(path+".tag", "%.200q can match no tag: write letters, digits, dots, hyphens and underscores, with * for what varies", r.Tag)
	}
	ps.atLeast(path+".older_than", r.OlderThan, 0)
	if r.Repository == "" && r.Tag == "" && r.OlderThan == 0 {
		ps.add(path, "matches every image; name a repository, a tag or older_than")
	}
}

// ScanRules returns the rules of each registry that has some, by its name.
func (c Config) ScanRules() map[string]scan.Rules {
	out := map[string]scan.Rules{}
	for _, r := range c.Registries {
		rules := scan.Rules{Include: scanRules(r.Rules.Include), Exclude: scanRules(r.Rules.Exclude)}
		if !rules.Empty() {
			out[r.Name] = rules
		}
	}
	return out
}

func scanRules(rules []Rule) []scan.Rule {
	var out []scan.Rule
	for _, r := range rules {
		out = append(out, scan.Rule{Name: r.Name, Repository: scan.NewGlob(r.Repository), Tag: scan.NewGlob(r.Tag), OlderThan: r.OlderThan})
	}
	return out
}
