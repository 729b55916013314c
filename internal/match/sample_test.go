package match

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
)

// TestSameAsGrype holds our verdicts to those of grype's VulnerabilityMatcher
// over the same SBOMs. The build tag parity does it over real images.
func TestSameAsGrype(t *testing.T) {
	e := sampleEngine(t)
	for name, b := range map[string]*bill{"debian": mixed(), "alpine": onAlpine(), "centos": onCentOS(), "empty": {}} {
		t.Run(name, func(t *testing.T) {
			c, err := read(t.Context(), b.document(t))
			if err != nil {
				t.Fatal(err)
			}
			want := grypeLines(t, plainProvider(t, e.current.installed), c)
			inv := c.inventory(&cpeNames{})
			judgements, err := pin(t, e).Judge(t.Context(), inv.Packages)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, ourLines(inv, judgements)); diff != "" {
				t.Errorf("(-grype +ours):\n%s", diff)
			}
			if wantSome := name == "debian" || name == "alpine"; (len(want) > 0) != wantSome {
				t.Errorf("%d matches: the sample no longer fits the test", len(want))
			}
		})
	}
}

// TestInventoryAndVerdicts follows the packages of one image: what is left out,
// what is ignored and why.
func TestInventoryAndVerdicts(t *testing.T) {
	e := sampleEngine(t)
	inv := take(t, mixed())
	judgements, err := pin(t, e).Judge(t.Context(), inv.Packages)
	if err != nil {
		t.Fatal(err)
	}
	excluded := map[string]string{}
	for _, m := range inv.Members {
		if m.Excluded != "" {
			excluded[inv.Packages[m.Package].Name] = m.Excluded
		}
	}
	if diff := cmp.Diff(map[string]string{"requests": inventory.ExcludedOwned, "nameless": inventory.ExcludedNoVersion}, excluded); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	ignored := map[string]string{}
	counted := map[string]bool{}
	for _, v := range inv.Apply(judgements) {
		for _, o := range inv.Occurrences {
			if key := o.Locations[0].Path + " " + v.Match.ID; o.Member != v.Member {
				continue
			} else if v.Ignored != "" {
				ignored[key] = v.Ignored
			} else {
				counted[key] = true
			}
		}
	}
	want := map[string]string{
		"/usr/bin/tool GO-2023-2402":          "distro-fixed",
		"/var/lib/dpkg/status CVE-2023-45853": reasonExplicit,
	}
	if diff := cmp.Diff(want, ignored); diff != "" {
		t.Errorf("ignored (-want +got):\n%s", diff)
	}
	for _, key := range []string{"/usr/local/bin/app GO-2023-2402", "/usr/bin/tool GO-2024-3321", "/opt/other/node_modules/lodash/package.json GHSA-35jh-r3h4-6jhm"} {
		if !counted[key] {
			t.Errorf("%s does not count", key)
		}
	}
	if inv.Distro.String() != "debian:12" {
		t.Errorf("distro %s", inv.Distro)
	}
}

// TestRebuiltPackagesAreTheSame judges packages that went through storage.
func TestRebuiltPackagesAreTheSame(t *testing.T) {
	for name, b := range map[string]*bill{"debian": mixed(), "alpine": onAlpine(), "centos": onCentOS()} {
		inv := take(t, b)
		for _, p := range inv.Packages {
			rebuilt, err := toGrype(p)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(p, new(cpeNames).fromGrype(rebuilt)); diff != "" {
				t.Errorf("%s: %s (-first +again):\n%s", name, p.Name, diff)
			}
		}
	}
}

func TestCoverage(t *testing.T) {
	s := pin(t, sampleEngine(t))
	at := func(year int, month time.Month, day int) time.Time {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
	}
	debianPoint, alpine99, unknown, alma := mixed(), onAlpine(), onCentOS(), onCentOS()
	debianPoint.distro.VersionID = "12.15"
	alpine99.distro.VersionID = "3.2.0"
	unknown.distro = nil
	alma.distro.ID, alma.distro.VersionID = "almalinux", "9.4"
	for _, tt := range []struct {
		name   string
		bill   *bill
		noData []string
		end    time.Time
	}{
		{"covered but for what has no version", mixed(), []string{"version:npm"}, at(2026, 7, 11)},
		{"a point release of a major release", debianPoint, []string{"version:npm"}, at(2026, 7, 11)},
		{"a minor release", onAlpine(), []string{}, at(2025, 5, 9)},
		{"a release whose neighbours are known", alpine99, []string{"distro:alpine:3.2.0"}, time.Time{}},
		{"a distro through its alias", onCentOS(), []string{"distro:centos:7"}, time.Time{}},
		{"a distro with records that only take away", alma, []string{"distro:almalinux:9.4"}, time.Time{}},
		{"no distro", unknown, []string{"distro:unknown"}, time.Time{}},
		{"nothing", &bill{}, []string{}, time.Time{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inv := take(t, tt.bill)
			noData, end, err := s.Coverage(t.Context(), inv)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.noData, noData); diff != "" {
				t.Errorf("no data (-want +got):\n%s", diff)
			}
			if !end.Equal(tt.end) {
				t.Errorf("end of life %v, want %v", end, tt.end)
			}
		})
	}
}
