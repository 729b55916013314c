package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAlibabaACRVerdicts(t *testing.T) {
	const push = `"push_data":{"tag":"1","digest":"` + digestA + `","pushed_at":"2016-11-29 12:25:46"}`
	full := verdict{Repository: "a/b", Tag: "1", Digest: digestA}
	tests := []struct {
		name, body string
		want       verdict
	}{
		{"push", `{` + push + `,"repository":{"repo_full_name":"a/b","region":"cn-hangzhou"}}`, full},
		{"namespace and name", `{` + push + `,"repository":{"namespace":"a","name":"b"}}`, full},
		{"name alone", `{` + push + `,"repository":{"name":"b"}}`, verdict{Repository: "b", Tag: "1", Digest: digestA}},
		{"no repository", `{` + push + `}`, verdict{Tag: "1", Digest: digestA, Ignored: ReasonBadRepository}},
		{"nothing pushed", `{"push_data":{},"repository":{"repo_full_name":"a/b"}}`, verdict{Repository: "a/b", Ignored: ReasonNoReference}},
		{"no push", `{"repository":{"repo_full_name":"a/b"}}`, verdict{Repository: "a/b", Ignored: ReasonUnknownEvent}},
		{"nothing", `{}`, verdict{Ignored: ReasonUnknownEvent}},
		{"digest that is none", `{"push_data":{"tag":"1","digest":"457f4aa83fc9a"},"repository":{"repo_full_name":"a/b"}}`,
			verdict{Repository: "a/b", Tag: "1", Flags: FlagDigestDropped}},
		{"digest in place of the tag", `{"push_data":{"tag":"` + digestA + `"},"repository":{"repo_full_name":"a/b"}}`,
			verdict{Repository: "a/b", Digest: digestA, Flags: FlagDigestOnly}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, verdictOf(parseOne(t, "alibaba-acr", tt.body))); diff != "" {
				t.Errorf("verdict (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAlibabaACRHosts: a region only selects among the names of the registry.
func TestAlibabaACRHosts(t *testing.T) {
	tests := []struct {
		name, host, alias, region string
		want, ignored             string
	}{
		{"Personal Edition", "registry.cn-hangzhou.aliyuncs.com", "", "cn-hangzhou", "registry.cn-hangzhou.aliyuncs.com", ""},
		{"VPC", "registry-vpc.cn-hangzhou.aliyuncs.com", "", "cn-hangzhou", "registry-vpc.cn-hangzhou.aliyuncs.com", ""},
		{"international", "registry-intl.ap-southeast-1.aliyuncs.com", "", "ap-southeast-1", "registry-intl.ap-southeast-1.aliyuncs.com", ""},
		{"instance", "acme-registry.cn-shanghai.cr.aliyuncs.com", "", "cn-shanghai", "acme-registry.cn-shanghai.cr.aliyuncs.com", ""},
		{"newer Personal Edition", "crpi-1a2b.cn-hangzhou.personal.cr.aliyuncs.com", "", "cn-hangzhou", "crpi-1a2b.cn-hangzhou.personal.cr.aliyuncs.com", ""},
		{"alias", "images.acme.test", "Registry.cn-hangzhou.aliyuncs.com", "cn-hangzhou", "registry.cn-hangzhou.aliyuncs.com", ""},
		{"own name", "images.acme.test", "", "cn-hangzhou", "", ""},
		{"no region", "registry.cn-hangzhou.aliyuncs.com", "", "", "", ""},
		{"another region", "registry.cn-hangzhou.aliyuncs.com", "", "cn-beijing", "registry.cn-beijing.aliyuncs.com", ReasonOtherRegistry},
		{"another region of an instance", "acme-registry.cn-shanghai.cr.aliyuncs.com", "", "cn-beijing", "registry.cn-beijing.aliyuncs.com", ReasonOtherRegistry},
		{"region that is a host", "registry.cn-hangzhou.aliyuncs.com", "", "x/@169.254.169.254", "registry.x/@169.254.169.254.aliyuncs.com", ReasonOtherRegistry},
	}
	for _, tt := range tests {
		e := openEndpoint("alibaba-acr")
		e.Host, e.Aliases = tt.host, nil
		if tt.alias != "" {
			e.Aliases = []string{tt.alias}
		}
		body := `{"push_data":{"tag":"1"},"repository":{"repo_full_name":"a/b","region":"` + tt.region + `"}}`
		items, err := parseAlibabaACR(request{endpoint: e, body: []byte(body), received: sampleTime})
		if err != nil || len(items) != 1 || items[0].Event.Host != tt.want || items[0].Ignored != tt.ignored {
			t.Errorf("%s: %+v, %v", tt.name, items, err)
		}
	}
}

func TestAlibabaTime(t *testing.T) {
	want := time.Date(2016, 11, 29, 4, 25, 46, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2016-11-29 12:25:46": want, "2016-11-29T12:25:46+08:00": want, "2016-11-29 12:25": {}, "": {}, "1480393546": {},
	} {
		if got := alibabaTime(s); !got.Equal(want) {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
	}
}

func TestAlibabaACRKey(t *testing.T) {
	key := func(at, tag string) string {
		return parseOne(t, "alibaba-acr", `{"push_data":{"tag":"`+tag+`","pushed_at":"`+at+`"},"repository":{"repo_full_name":"a/b"}}`).DedupeKey
	}
	const now = "2016-11-29 12:25:46"
	if key(now, "1") != key(now, "1") || key(now, "1") == key(now, "2") || key(now, "1") == key("2016-11-29 12:25:47", "1") {
		t.Error("the key does not follow content and time")
	}
	if key("", "1") != "" || key("now", "1") != "" || parseOne(t, "alibaba-acr", `{"push_data":{"tag":"1","pushed_at":1480393546}}`).DedupeKey != "" {
		t.Error("without a time, two events are one delivery")
	}
}

func TestAlibabaACRRefuses(t *testing.T) {
	refuses(t, "alibaba-acr", map[string]int{
		`{"push_data":"x"}`: 422, `{"push_data":{"tag":1}}`: 422, `{"repository":[]}`: 422, `[]`: 422,
		`a=b`: 400, ``: 400, strings.Repeat(`{"a":`, 100): 400,
		`{"x":"` + strings.Repeat("x", 1<<20) + `"}`: 413,
	})
}
