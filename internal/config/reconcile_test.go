package config

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestRulesAreRead(t *testing.T) {
	c, problems := load([]byte(minimal+`registries:
  - name: prod
    host: registry.example
    reconcile: {interval: 0s}
    rules:
      include:
        - {name: ours, repository: "team/**"}
      exclude:
        - {name: pull requests, tag: pr-*}
        - {name: old, repository: team/attic/*, older_than: 90d}
  - name: other
    host: other.example
`), "", environment())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := Rules{
		Include: []Rule{{Name: "ours", Repository: "team/**"}},
		Exclude: []Rule{{Name: "pull requests", Tag: "pr-*"}, {Name: "old", Repository: "team/attic/*", OlderThan: 90 * 24 * time.Hour}},
	}
	if diff := cmp.Diff(want, c.Registries[0].Rules); diff != "" {
		t.Error(diff)
	}
	if c.Registries[0].Reconcile.Interval != 0 || c.Registries[1].Reconcile.Interval != 24*time.Hour {
		t.Errorf("intervals %v and %v", c.Registries[0].Reconcile.Interval, c.Registries[1].Reconcile.Interval)
	}
	rules := c.ScanRules()
	if len(rules) != 1 {
		t.Errorf("rules of %d registries", len(rules))
	}
	long := time.Now().Add(-100 * 24 * time.Hour)
	for _, tt := range []struct{ repository, tag, want string }{
		{"team/shop", "1.0", ""}, {"team/shop", "pr-7", "pull requests"}, {"team/attic/x", "1", "old"}, {"x", "1", scan.NotIncluded},
	} {
		if got := rules["prod"].Excludes(tt.repository, tt.tag, long, time.Now()); got != tt.want {
			t.Errorf("%s:%s is left out by %q, want %q", tt.repository, tt.tag, got, tt.want)
		}
	}
}

func TestRulesThatMakeNoSenseAreTold(t *testing.T) {
	_, problems := load([]byte(minimal+`registries:
  - name: prod
    host: registry.example
    reconcile: {interval: 1s}
    rules:
      include:
        - {repository: Team/*}
        - {name: a, tag: "pr/*"}
      exclude:
        - {name: a, tag: "pr-*"}
        - {name: not_included, tag: x}
        - {name: platforms, tag: x}
        - {name: "a\nb", tag: x}
        - {name: everything}
        - {name: young, older_than: -1h}
        - {name: x, oder_than: 1h}
        - {name: y, older_than: 1.5d}
`), "", environment())
	var ps Problems
	if !errors.As(error(problems), &ps) {
		t.Fatal("no problems")
	}
	var got []string
	for _, p := range ps {
		got = append(got, p.String())
	}
	want := []string{
		"line 5: registries[0].reconcile.interval: 1s is less than 1m0s",
		"line 8: registries[0].rules.include[0].name: empty",
		`line 8: registries[0].rules.include[0].repository: "Team/*" can match no repository: write it without the host, in lower case, with * or ** for what varies`,
		`line 9: registries[0].rules.include[1].tag: "pr/*" can match no tag: write letters, digits, dots, hyphens and underscores, with * for what varies`,
		`line 11: registries[0].rules.exclude[0].name: "a" is the name of registries[0].rules.include[1] already`,
		`line 12: registries[0].rules.exclude[1].name: "not_included" is a reason with a meaning of its own; choose another`,
		`line 13: registries[0].rules.exclude[2].name: "platforms" is a reason with a meaning of its own; choose another`,
		`line 14: registries[0].rules.exclude[3].name: "a\nb": use letters, digits, and spaces, dots, hyphens or underscores between them, at most 63`,
		"line 15: registries[0].rules.exclude[4]: matches every image; name a repository, a tag or older_than",
		"line 16: registries[0].rules.exclude[5].older_than: -1h0m0s is less than 0s",
		"line 17: registries[0].rules.exclude[6].oder_than: unknown key; known here: name, repository, tag, older_than",
		"line 17: registries[0].rules.exclude[6]: matches every image; name a repository, a tag or older_than",
		`line 18: registries[0].rules.exclude[7].older_than: "1.5d" is not a duration: write a number with a unit, as 30s, 15m, 1h30m or 90d`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
