package match

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestSatisfies(t *testing.T) {
	for _, tt := range []struct {
		typ, version, constraint string
		want                     bool
	}{
		{"npm", "4.17.15", "< 4.17.21", true},
		{"npm", "4.17.21", "< 4.17.21", false},
		{"npm", "1.3.0", ">= 1.2, < 1.4 || = 2.0.0", true},
		{"npm", "2.0.0", ">= 1.2, < 1.4 || = 2.0.0", true},
		{"deb", "1:1.2.11.dfsg-4", "< 1:1.2.12", true},
		{"deb", "1.2.13", "< 1:1.2.12", true},
		{"deb", "3.0~rc1", "< 3.0", true},
		{"rpm", "0:1.10-1.el8", "> 1.9", true},
		{"python", "1.0rc1", "< 1.0", true},
		{"go-module", "v1.2.3", "<= 1.2.3", true},
		{"apk", "1.36.1-r5", "< 1.36.1-r17", true},
		{"java-archive", "2.0-beta9", "< 2.0", true},
		{"python", "not a version", "< 1.0", false},
		{"npm", "1.0.0", "", true},
	} {
		got, err := Satisfies(tt.typ, tt.version, tt.constraint)
		if err != nil || got != tt.want {
			t.Errorf("%s %q in %q: %v %v, want %v", tt.typ, tt.version, tt.constraint, got, err, tt.want)
		}
	}
	for _, constraint := range []string{"<", "> 1.0 <", "~~ 1", ">= 1.0, <", "(1.0"} {
		if ok, err := Satisfies("npm", "1.0.0", constraint); !errs.Is(err, errs.Invalid) || ok || errs.Hint(err) == "" {
			t.Errorf("constraint %q: %v %v", constraint, ok, err)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	for _, tt := range []struct {
		typ, a, b string
		want      int
	}{
		{"npm", "4.17.15", "4.17.21", -1},
		{"npm", "1.10.0", "1.9.0", 1},
		{"deb", "1:1.2.11.dfsg-4", "1:1.2.12", -1},
		{"deb", "3.0~rc1", "3.0", -1},
		{"deb", "3.0.15-1~deb12u1", "3.0.15-1~deb12u1", 0},
		{"rpm", "0:1.10-1.el8", "1.9-1.el8", 1},
		{"python", "1.0rc1", "1.0", -1},
		{"apk", "1.36.1-r5", "1.36.1-r17", -1},
		{"java-archive", "2.0-beta9", "2.0", -1},
		{"go-module", "v1.2.3", "1.2.4", -1},
	} {
		if got, err := CompareVersions(tt.typ, tt.a, tt.b); err != nil || got != tt.want {
			t.Errorf("%s %q with %q: %d, %v; want %d", tt.typ, tt.a, tt.b, got, err, tt.want)
		}
	}
	if _, err := CompareVersions("python", "not a version", "1.0"); !errs.Is(err, errs.Invalid) {
		t.Errorf("what is no version: %v", err)
	}
}
