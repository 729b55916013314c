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
