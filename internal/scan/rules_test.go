package scan_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestGlob(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"", "anything/at:all", true},
		{"team/shop", "team/shop", true},
		{"team/shop", "team/shop2", false},
		{"team/*", "team/shop", true},
		{"team/*", "team/shop/web", false},
		{"team/*", "team/", true},
		{"team/**", "team/shop/web", true},
		{"team/**", "team", false},
		{"**/cache", "team/shop/cache", true},
		{"**/cache", "cache", false},
		{"**cache", "cache", true},
		{"*", "team/shop", false},
		{"**", "team/shop", true},
		{"***", "team/shop", true},
		{"pr-*-*", "pr-12-x", true},
		{"1.0", "1x0", false}, // a dot is a dot
		{"v[0-9]+", "v1", false},
		{"v*", "v1\n2", true},
		{"a*b", "axb\n", false},
	}
	for _, tt := range tests {
		t.Run(tt.pattern+" "+tt.name, func(t *testing.T) {
			if got := scan.NewGlob(tt.pattern).Match(tt.name); got != tt.want {
				t.Errorf("%q matches %q: %v, want %v", tt.pattern, tt.name, got, tt.want)
			}
		})
	}
}

var now = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func rule(name, repository, tag string, older time.Duration) scan.Rule {
	return scan.Rule{Name: name, Repository: scan.NewGlob(repository), Tag: scan.NewGlob(tag), OlderThan: older}
}

var rules = scan.Rules{
	Include: []scan.Rule{rule("team", "team/**", "", 0), rule("releases", "other/*", "v*", 0)},
	Exclude: []scan.Rule{rule("old", "team/**", "", 90*day), rule("pull requests", "", "pr-*", 0), rule("caches", "**/cache", "", 0), rule("more", "team/x", "pr-*", 0)},
}

func TestExcludes(t *testing.T) {
	fresh, old := now.Add(-day), now.Add(-91*day)
	tests := []struct {
		name, repository, tag string
		created               time.Time
		want                  string
	}{
		{"wanted", "team/shop", "1.0", fresh, ""},
		{"left out by tag", "team/shop", "pr-1", fresh, "pull requests"},
		{"the first rule that matches counts", "team/x", "pr-1", old, "old"},
		{"left out by repository", "team/shop/cache", "1.0", fresh, "caches"},
		{"without a tag, by repository", "team/shop/cache", "", fresh, "caches"},
		{"without a tag, a rule for tags is not asked", "team/shop", "", fresh, ""},
		{"left out by age", "team/shop", "1.0", old, "old"},
		{"exactly as old as allowed", "team/shop", "1.0", now.Add(-90 * day), ""},
		{"no age is not old", "team/shop", "1.0", time.Time{}, ""},
		{"nor is the epoch of a reproducible build", "team/shop", "1.0", time.Unix(0, 0), ""},
		{"nor 1980", "team/shop", "1.0", time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC), ""},
		{"nor the future", "team/shop", "1.0", now.Add(100 * day), ""},
		{"not included", "elsewhere/shop", "1.0", fresh, scan.NotIncluded},
		{"included by tag", "other/shop", "v1", fresh, ""},
		{"not included by tag", "other/shop", "latest", fresh, scan.NotIncluded},
		{"without a tag, a rule for tags does not include", "other/shop", "", fresh, scan.NotIncluded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rules.Excludes(tt.repository, tt.tag, tt.created, now); got != tt.want {
				t.Errorf("left out by %q, want %q", got, tt.want)
			}
		})
	}
	if got := (scan.Rules{}).Excludes("a", "b", old, now); got != "" {
		t.Errorf("without rules, left out by %q", got)
	}
}

func TestExcludesRepository(t *testing.T) {
	for repository, want := range map[string]string{
		"team/shop": "", "team/shop/cache": "caches", "elsewhere/shop": scan.NotIncluded, "other/shop": "",
	} {
		if got := rules.ExcludesRepository(repository); got != want {
			t.Errorf("%s is left out by %q, want %q", repository, got, want)
		}
	}
}

// What a name tells must agree with what is decided once the age is known.
func TestTagForetellsExcludes(t *testing.T) {
	all := []scan.Rules{
		{}, rules, {Exclude: rules.Exclude}, {Include: rules.Include},
		{Include: []scan.Rule{rule("settled", "", "", 30*day)}},
	}
	for _, r := range all {
		for _, repository := range []string{"team/shop", "team/x", "team/cache", "other/shop", "elsewhere/shop", "elsewhere/cache"} {
			for _, tag := range []string{"", "1.0", "v1", "pr-1"} {
				foretold := r.Tag(repository, tag)
				for _, created := range []time.Time{{}, now, now.Add(-40 * day), now.Add(-100 * day)} {
					got := r.Excludes(repository, tag, created, now)
					if got != "" && !foretold.May(got) || got == "" && foretold.Sure {
						t.Errorf("%s:%s made %v is left out by %q, foretold %+v", repository, tag, created, got, foretold)
					}
				}
			}
		}
	}
}

func TestTag(t *testing.T) {
	tests := []struct {
		repository, tag string
		want            scan.Verdict
	}{
		{"team/shop", "1.0", scan.Verdict{Names: []string{"old"}}},
		{"team/shop", "pr-1", scan.Verdict{Names: []string{"old", "pull requests"}, Sure: true}},
		{"other/shop", "v1", scan.Verdict{}},
		{"other/shop", "latest", scan.Verdict{Names: []string{scan.NotIncluded}, Sure: true}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, rules.Tag(tt.repository, tt.tag)); diff != "" {
			t.Errorf("%s:%s: %s", tt.repository, tt.tag, diff)
		}
	}
}

func TestFingerprint(t *testing.T) {
	seen := map[string]string{}
	for name, r := range map[string]scan.Rules{
		"none": {}, "rules": rules, "exclude": {Exclude: rules.Exclude}, "include": {Include: rules.Exclude},
		"another age":  {Exclude: []scan.Rule{rule("old", "team/**", "", 91*day)}},
		"another glob": {Exclude: []scan.Rule{rule("old", "team/*", "", 90*day)}},
	} {
		if other, taken := seen[r.Fingerprint()]; taken {
			t.Errorf("%s and %s look the same", name, other)
		}
		seen[r.Fingerprint()] = name
	}
	if (scan.Rules{}).Fingerprint() != "" || rules.Fingerprint() != rules.Fingerprint() {
		t.Error("a fingerprint is not stable")
	}
}
