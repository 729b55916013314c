package scan_test

import (
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestABuildThatChangesTooMuchHasToWait(t *testing.T) {
	limits := scan.Thresholds{Closed: 10, ScopeClosed: 30, MinMatches: 100, Records: 50, MinRecords: 20}
	matches := func(pairs ...any) map[string]scan.MatchChange {
		out := map[string]scan.MatchChange{}
		for i := 0; i < len(pairs); i += 3 {
			out[pairs[i].(string)] = scan.MatchChange{Before: pairs[i+1].(int), Closed: pairs[i+2].(int)}
		}
		return out
	}
	for _, c := range []struct {
		name   string
		report scan.BuildReport
		want   []string // words of the reason, in their order; none lets it go on
	}{
		{"nothing", scan.BuildReport{}, nil},
		{"as many as allowed", scan.BuildReport{Matches: matches("distro:debian:12", 1000, 100)}, nil},
		{"one more than allowed", scan.BuildReport{Matches: matches("distro:debian:12", 1000, 101)}, []string{"101 of all 1000", "11 %, allowed are 10 %"}},
		{"too few to say", scan.BuildReport{Matches: matches("distro:debian:12", 99, 99)}, nil},
		{"one distro among many", scan.BuildReport{Matches: matches("distro:debian:12", 10000, 0, "distro:alpine:3.20", 100, 31)}, []string{"31 of the 100 open matches of distro:alpine:3.20"}},
		{"what opens does not matter", scan.BuildReport{Matches: map[string]scan.MatchChange{"ecosystem:npm": {Before: 100, Opened: 100000}}}, nil},
		{"emptied", scan.BuildReport{Before: scan.Volume{"distro:debian:12": 20}, After: scan.Volume{}}, []string{"nothing about distro:debian:12", "had 20 records"}},
		{"hardly known before", scan.BuildReport{Before: scan.Volume{"distro:debian:12": 19}}, nil},
		{"half", scan.BuildReport{Before: scan.Volume{"ecosystem:npm": 100}, After: scan.Volume{"ecosystem:npm": 50}}, nil},
		{"less than half", scan.BuildReport{Before: scan.Volume{"ecosystem:npm": 100}, After: scan.Volume{"ecosystem:npm": 49}}, []string{"49 records about ecosystem:npm", "51 % fewer"}},
		{"more than before", scan.BuildReport{Before: scan.Volume{"ecosystem:npm": 100}, After: scan.Volume{"ecosystem:npm": 500}}, nil},
		{"worst first, and not all", scan.BuildReport{
			Before:  scan.Volume{"a": 100, "b": 100, "c": 100, "d": 100, "e": 100, "f": 100},
			After:   scan.Volume{"a": 40, "b": 30, "c": 20, "d": 10, "e": 5},
			Matches: matches("x", 100, 35),
		}, []string{"f any more", "95 %", "90 %", "80 %", "70 %", "and 3 more"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := limits.Hold(c.report)
			if (got == "") != (c.want == nil) {
				t.Fatalf("reason %q", got)
			}
			rest := got
			for _, words := range c.want {
				_, after, ok := strings.Cut(rest, words)
				if !ok {
					t.Fatalf("%q does not say %q (in this order)", got, words)
				}
				rest = after
			}
		})
	}
}
