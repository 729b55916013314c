package registry

import (
	"net/http"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestNextLink(t *testing.T) {
	tests := []struct {
		name   string
		values []string
		want   string
		bad    bool
	}{
		{"none", nil, "", false},
		{"next", []string{`</a?b=c>; rel="next"`}, "/a?b=c", false},
		{"without quotes", []string{`</a>;rel=next`}, "/a", false},
		{"in capitals", []string{`</a>; REL="NEXT"`}, "/a", false},
		{"without a relation", []string{`</a>`}, "/a", false},
		{"another relation", []string{`</a>; rel="prev"`}, "", false},
		{"one of several relations", []string{`</a>; rel="last next"`}, "/a", false},
		{"one of several links", []string{`</a>; rel=prev, </b>; rel=next`}, "/b", false},
		{"one of several headers", []string{`</a>; rel=prev`, `</b>; rel=next`}, "/b", false},
		{"a comma in the target", []string{`</a,b>; rel=next`}, "/a,b", false},
		{"a comma in a title", []string{`</a>; title="x, <y>; rel=next"; rel=prev`}, "", false},
		{"empty", []string{``}, "", false},
		{"an empty target", []string{`<>; rel=next`}, "", false},
		{"no target", []string{`/a; rel=next`}, "", true},
		{"never closed", []string{`</a; rel=next`}, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := nextLink(http.Header{"Link": tt.values})
			if got != tt.want || errs.Is(err, errs.Malformed) != tt.bad {
				t.Errorf("nextLink is %q, %v", got, err)
			}
		})
	}
}

func TestECRHome(t *testing.T) {
	for host, want := range map[string]string{
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com":    "https://api.ecr.eu-central-1.amazonaws.com",
		"123456789012.dkr.ecr-fips.us-east-1.amazonaws.com":  "https://ecr-fips.us-east-1.amazonaws.com",
		"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn":   "https://api.ecr.cn-north-1.amazonaws.com.cn",
		"123456789012.dkr-ecr.eu-central-1.on.aws":           "https://api.ecr.eu-central-1.amazonaws.com",
		"123456789012.dkr.ecr.eu-central-1.amazonaws.com:80": "",
		"123456789012.dkr.ecr.evil.example.com":              "",
		"public.ecr.aws":                                     "",
		"12345.dkr.ecr.eu-central-1.amazonaws.com":           "",
	} {
		if got := ecrHome(host); got != want {
			t.Errorf("ecrHome(%s) is %q, want %q", host, got, want)
		}
	}
}

func TestTrailSurvivesTheDatabase(t *testing.T) {
	in := trail{list: "ecr", pages: 7, empty: 2, mark: 0xfeedfacecafebeef, place: "token with spaces and 1 2 3"}
	out, err := parseTrail("ecr", in.String())
	if err != nil || out != in {
		t.Errorf("%q became %+v, %v", in, out, err)
	}
}
