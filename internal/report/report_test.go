package report_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestAccessSeesWholeSegments(t *testing.T) {
	tests := []struct {
		prefixes []string
		name     string
		want     bool
	}{
		{nil, "host/team/app", true},
		{[]string{"host/team/"}, "host/team/app", true},
		{[]string{"host/team"}, "host/team/app", true},
		{[]string{"host/team/app"}, "host/team/app", true},
		{[]string{"host/"}, "host/team/app", true},
		{[]string{"other/", "host/team/"}, "host/team/app", true},
		{[]string{"host/te"}, "host/team/app", false},
		{[]string{"host/team/ap"}, "host/team/app", false},
		{[]string{"host/team/app/"}, "host/team/apple", false},
		{[]string{"hos"}, "host/team/app", false},
		{[]string{""}, "host/team/app", false},
		{[]string{"/"}, "host/team/app", false},
	}
	for _, tt := range tests {
		if got := (report.Access{Prefixes: tt.prefixes}).Sees(tt.name); got != tt.want {
			t.Errorf("%q sees %s: %v, want %v", tt.prefixes, tt.name, got, tt.want)
		}
	}
}

func TestCursorGivesTheKeyBack(t *testing.T) {
	cursor := report.EncodeCursor("list", "näme/with?odd&parts", -0.1, int64(7))
	var name string
	var risk float64
	var id int64
	ok, err := report.DecodeCursor("list", cursor, &name, &risk, &id)
	if !ok || err != nil || name != "näme/with?odd&parts" || risk != -0.1 || id != 7 {
		t.Errorf("got %v, %v: %q %v %d", ok, err, name, risk, id)
	}
	if strings.ContainsAny(cursor, "+/=&? ") {
		t.Errorf("cursor %q needs escaping in a URL", cursor)
	}
	if ok, err := report.DecodeCursor("list", "", &name); ok || err != nil {
		t.Errorf("empty cursor: %v, %v; want the first page", ok, err)
	}
}

func TestCursorThatIsNotOurs(t *testing.T) {
	for name, cursor := range map[string]string{
		"no base64":           "%%%",
		"no JSON":             "bm9wZQ",
		"another listing":     report.EncodeCursor("tags", "a"),
		"too few parts":       report.EncodeCursor("list"),
		"too many parts":      report.EncodeCursor("list", "a", "b"),
		"another type":        report.EncodeCursor("list", 1),
		"null":                report.EncodeCursor("list", nil),
		"a NUL, not storable": report.EncodeCursor("list", "a\x00b"),
		"huge":                report.EncodeCursor("list", strings.Repeat("a", 20_000)),
	} {
		var key string
		if _, err := report.DecodeCursor("list", cursor, &key); !errs.Is(err, errs.Invalid) || errs.Field(err) != "cursor" {
			t.Errorf("%s: %v, want an invalid cursor", name, err)
		}
	}
}

func TestPageSize(t *testing.T) {
	for limit, want := range map[int]int{0: 50, -1: 50, 1: 1, 500: 500, 501: 500, 1 << 30: 500} {
		if got := (report.Page{Limit: limit}).Size(); got != want {
			t.Errorf("limit %d: %d, want %d", limit, got, want)
		}
	}
}

func TestAssess(t *testing.T) {
	some, none := report.Counts{Total: 2}, report.Counts{}
	tests := []struct {
		name      string
		state     report.State
		judgement *report.Judgement
		answer    report.Answer
		complete  bool
	}{
		{"queued", report.StateQueued, nil, report.Pending, false},
		{"running", report.StateRunning, nil, report.Pending, false},
		{"failed", report.StateFailed, nil, report.None, false},
		{"unsupported", report.StateUnsupported, nil, report.None, false},
		{"findings", report.StateDone, &report.Judgement{Counts: some, Covered: true}, report.Findings, true},
		{"clean", report.StateDone, &report.Judgement{Counts: none, Covered: true}, report.Clean, true},
		{"no findings, some covered", report.StateDone, &report.Judgement{NoData: []string{"ecosystem:gem"}, Covered: true}, report.Partial, false},
		{"no findings, nothing covered", report.StateDone, &report.Judgement{NoData: []string{"distro:centos:7"}}, report.Unknown, false},
		{"findings, not all covered", report.StateDone, &report.Judgement{Counts: some, NoData: []string{"distro:centos:7"}}, report.Partial, false},
		{"the catalogue is not whole", report.StateDone, &report.Judgement{Covered: true, Partial: "windows"}, report.Partial, false},
		{"an answer stands while it is made anew", report.StateRunning, &report.Judgement{Counts: some, Covered: true}, report.Findings, true},
	}
	for _, tt := range tests {
		got := report.Assess(tt.state, tt.judgement)
		if got.Answer != tt.answer || got.Complete != tt.complete || got.NoData == nil || (got.Counts == nil) != (tt.judgement == nil) {
			t.Errorf("%s: %+v, want %s, complete %v", tt.name, got, tt.answer, tt.complete)
		}
	}
}

func TestAssessAll(t *testing.T) {
	of := func(answers ...report.Answer) []report.Assessment {
		var out []report.Assessment
		for _, a := range answers {
			out = append(out, report.Assessment{Answer: a, Complete: a == report.Clean || a == report.Findings, NoData: []string{string(a)}})
		}
		return out
	}
	some, none := &report.Counts{Total: 2}, &report.Counts{}
	tests := []struct {
		name     string
		parts    []report.Assessment
		union    *report.Counts
		answer   report.Answer
		complete bool
	}{
		{"no image", nil, nil, report.None, false},
		{"all clean", of(report.Clean, report.Clean), none, report.Clean, true},
		{"one has findings", of(report.Clean, report.Findings), some, report.Findings, true},
		{"one is not covered", of(report.Clean, report.Unknown), none, report.Partial, false},
		{"none is covered", of(report.Unknown, report.Unknown), none, report.Unknown, false},
		{"one is pending", of(report.Findings, report.Pending), some, report.Pending, false},
		{"one failed", of(report.Clean, report.None), none, report.Partial, false},
		{"all failed", of(report.None, report.None), nil, report.None, false},
	}
	for _, tt := range tests {
		got := report.AssessAll(tt.parts, tt.union)
		if got.Answer != tt.answer || got.Complete != tt.complete || got.NoData == nil {
			t.Errorf("%s: %+v, want %s, complete %v", tt.name, got, tt.answer, tt.complete)
		}
	}
	merged := report.AssessAll(of(report.Unknown, report.Partial, report.Unknown), none)
	if diff := cmp.Diff([]string{"partial", "unknown"}, merged.NoData); diff != "" {
		t.Errorf("no_data (-want +got):\n%s", diff)
	}
}

// The state of an index is the one of its images that needs most attention;
// what is not counted has no say.
func TestSummarise(t *testing.T) {
	part := func(kind image.Kind, presence report.Presence, state report.State) report.Platform {
		return report.Platform{Kind: kind, Presence: presence, State: state, Reason: string(state), Assessment: report.Assess(state, nil)}
	}
	i := report.Image{Kind: image.KindIndex, State: "queued", Platforms: []report.Platform{
		part(image.KindImage, report.Present, report.StateDone),
		part(image.KindImage, report.Gone, report.StateFailed),
		part(image.KindImage, report.Excluded, report.StateQueued),
		part(image.KindImage, report.Unseen, report.StateRunning),
		part(image.KindAttestation, report.Present, report.StateUnsupported),
	}}
	i.Summarise(nil)
	if i.State != report.StateFailed || i.Reason != "failed" {
		t.Errorf("state = %s (%s), want failed", i.State, i.Reason)
	}
}

func TestRepositorySummarise(t *testing.T) {
	some, none := &report.Counts{Total: 2}, &report.Counts{}
	tests := []struct {
		name     string
		images   report.Images
		counts   *report.Counts
		covered  bool
		answer   report.Answer
		complete bool
	}{
		{"nothing tagged", report.Images{}, nil, false, report.None, false},
		{"all failed", report.Images{Total: 2, Failed: 2}, nil, false, report.None, false},
		{"clean", report.Images{Total: 2, Done: 2, Complete: 2}, none, false, report.Clean, true},
		{"findings", report.Images{Total: 2, Done: 2, Complete: 2}, some, false, report.Findings, true},
		{"one failed", report.Images{Total: 2, Done: 1, Complete: 1, Failed: 1}, none, false, report.Partial, false},
		{"one pending", report.Images{Total: 2, Done: 1, Complete: 1, Pending: 1}, some, false, report.Pending, false},
		{"nothing covered", report.Images{Total: 1, Done: 1}, none, false, report.Unknown, false},
		{"something covered", report.Images{Total: 1, Done: 1}, none, true, report.Partial, false},
	}
	for _, tt := range tests {
		r := report.Repository{Images: tt.images}
		r.Summarise(tt.counts, nil, tt.covered)
		if r.Answer != tt.answer || r.Complete != tt.complete || r.NoData == nil {
			t.Errorf("%s: %+v, want %s, complete %v", tt.name, r.Assessment, tt.answer, tt.complete)
		}
	}
}

func TestScopeAllows(t *testing.T) {
	tests := []struct {
		have, need report.Scope
		want       bool
	}{
		{report.ScopeRead, report.ScopeRead, true}, {report.ScopeRead, report.ScopeTriage, false},
		{report.ScopeTriage, report.ScopeRead, true}, {report.ScopeAdmin, report.ScopeTriage, true},
		{"", report.ScopeRead, false}, {"root", report.ScopeRead, false}, {report.ScopeAdmin, "root", false},
	}
	for _, tt := range tests {
		if got := tt.have.Allows(tt.need); got != tt.want {
			t.Errorf("%q allows %q: %v, want %v", tt.have, tt.need, got, tt.want)
		}
	}
}

func TestWordsThatAreRead(t *testing.T) {
	if _, err := report.ParseSort("name"); errs.Field(err) != "sort" {
		t.Errorf("sort: %v", err)
	}
	if _, err := report.ParseIgnoredFilter("yes"); errs.Field(err) != "ignored" {
		t.Errorf("ignored: %v", err)
	}
	if _, err := report.ParseRunState("lost"); errs.Field(err) != "state" {
		t.Errorf("state: %v", err)
	}
	if got, err := report.ParseSort(""); got != report.SortRisk || err != nil {
		t.Errorf("default sort = %q, %v", got, err)
	}
	if got, err := report.ParseIgnoredFilter("false"); got != report.IgnoredLeaveOut || err != nil {
		t.Errorf("ignored=false: %q, %v", got, err)
	}
}
