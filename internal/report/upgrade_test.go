package report

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// dotted orders versions of numbers with dots between.
func dotted(_, a, b string) (int, error) {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		var m, n int
		var err error
		if i < len(x) {
			if m, err = strconv.Atoi(x[i]); err != nil {
				return 0, errs.New(errs.Invalid, "no version")
			}
		}
		if i < len(y) {
			if n, err = strconv.Atoi(y[i]); err != nil {
				return 0, errs.New(errs.Invalid, "no version")
			}
		}
		if m != n {
			return m - n, nil
		}
	}
	return 0, nil
}

func fix(name, version, id string, severity vuln.Severity, records ...[]string) Fix {
	f := Fix{Package: Package{Type: "npm", Name: name, Version: version}, Vulnerability: id, Severity: severity, Risk: 1}
	for _, r := range records {
		f.Records = append(f.Records, FixVersions{Versions: r})
	}
	return f
}

func TestPlan(t *testing.T) {
	high := vuln.SeverityHigh
	for _, tt := range []struct {
		name    string
		fixes   []Fix
		want    []string // "name to version: closes n, remaining m; steps"
		without int
	}{
		{"one version closes all", []Fix{fix("ssl", "3.0.1", "CVE-1", high, []string{"3.0.15"}), fix("ssl", "3.0.1", "CVE-2", high, []string{"3.0.9"})},
			[]string{"ssl to 3.0.15: 2, 0 left; 3.0.9: 1"}, 0},
		{"as numbers, not as text", []Fix{fix("a", "1.9", "CVE-1", high, []string{"1.10"}), fix("a", "1.9", "CVE-2", high, []string{"1.9.1"})},
			[]string{"a to 1.10: 2, 0 left; 1.9.1: 1"}, 0},
		{"greatest effect first", []Fix{fix("b", "1", "CVE-1", vuln.SeverityLow, []string{"2"}), fix("b", "1", "CVE-2", vuln.SeverityLow, []string{"2"}),
			fix("a", "1", "CVE-1", vuln.SeverityCritical, []string{"2"})},
			[]string{"a to 2: 1, 0 left", "b to 2: 2, 0 left"}, 0},
		{"no fix is counted", []Fix{fix("a", "1", "CVE-1", high), fix("a", "1", "CVE-2", high, []string{"2"}), fix("b", "1", "CVE-3", high)},
			[]string{"a to 2: 1, 1 left"}, 2},
		{"the other release line does not help", []Fix{fix("a", "2.14.1", "CVE-1", high, []string{"2.3.1", "2.15.0"})},
			[]string{"a to 2.15.0: 1, 0 left"}, 0},
		{"a later version of the line", []Fix{fix("a", "3.2.1", "CVE-1", high, []string{"3.2.18", "4.1.8"}), fix("a", "3.2.1", "CVE-2", high, []string{"3.2.20"})},
			[]string{"a to 3.2.20: 2, 0 left; 3.2.18: 1"}, 0},
		{"between the lines is not fixed", []Fix{fix("a", "1.0.0", "CVE-1", high, []string{"1.2.5", "2.0.3"}), fix("a", "1.0.0", "CVE-2", high, []string{"2.0.1"})},
			[]string{"a to 2.0.3: 2, 0 left; 1.2.5: 1"}, 0},
		{"every record has to be fixed", []Fix{fix("a", "1", "CVE-1", high, []string{"2"}, []string{"3"})}, []string{"a to 3: 1, 0 left"}, 0},
		{"versions of one name apart", []Fix{fix("a", "1", "CVE-1", high, []string{"2"}), fix("a", "1.5", "CVE-1", high, []string{"2"})},
			[]string{"a to 2: 1, 0 left", "a to 2: 1, 0 left"}, 0},
		{"what cannot be compared is taken as suggested", []Fix{{Package: Package{Type: "npm", Name: "a", Version: "x"}, Vulnerability: "CVE-1", Severity: high,
			Records: []FixVersions{{Versions: []string{"y", "z"}, Suggested: "z"}}}}, []string{"a to z: 1, 0 left"}, 0},
		{"a fix below the version is none", []Fix{fix("a", "5", "CVE-1", high, []string{"2"})}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := Fixes{Items: tt.fixes}.Plan(dotted)
			var got []string
			closes := 0
			for _, u := range plan.Items {
				line := u.Package.Name + " to " + u.To + ": " + strconv.Itoa(u.Closes.Total) + ", " + strconv.Itoa(u.Remaining) + " left"
				for n, s := range u.Steps {
					line += map[bool]string{true: "; ", false: ", "}[n == 0] + s.Version + ": " + strconv.Itoa(s.Closes)
				}
				got = append(got, line)
				closes += u.Closes.Total
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
			if plan.WithoutFix.Total != tt.without || plan.Closes.Total != closes || plan.UpgradesTotal != len(tt.want) {
				t.Errorf("without fix %d, closes %d of %d, upgrades %d", plan.WithoutFix.Total, plan.Closes.Total, closes, plan.UpgradesTotal)
			}
		})
	}
}

func TestPlanIsBounded(t *testing.T) {
	var fixes []Fix
	for n := range 300 {
		fixes = append(fixes, fix("a", "1", "CVE-"+strconv.Itoa(n), vuln.SeverityHigh, []string{strconv.Itoa(n + 2)}))
	}
	u := Fixes{Items: fixes}.Plan(dotted).Items[0]
	if u.To != "301" || u.Closes.Total != 300 || len(u.Vulnerabilities) != MaxUpgradeFindings || len(u.Steps) != MaxUpgradeSteps || u.Steps[9] != (UpgradeStep{"300", 299}) {
		t.Errorf("to %s closes %d, %d named, steps %v", u.To, u.Closes.Total, len(u.Vulnerabilities), u.Steps)
	}
}
