package webhook

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClean(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "robot$payments+ci", "robot$payments+ci"},
		{"other scripts", "Zoë 建築", "Zoë 建築"},
		{"NUL and newline", "a\x00b\nc\x1b[31m", "abc[31m"},
		{"text that turns around", "a\u202eb", "ab"},
		{"invalid UTF-8", "a\xff", "a\ufffd"},
		{"long", strings.Repeat("ü", 300), strings.Repeat("ü", 256)},
	}
	for _, tt := range tests {
		if got := clean(tt.in, maxText); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestSaneTime(t *testing.T) {
	day := 24 * time.Hour
	berlin := time.FixedZone("", 7200)
	tests := []struct {
		name     string
		in, want time.Time
	}{
		{"another zone", time.Date(2026, 11, 23, 13, 0, 0, 1, berlin), time.Date(2026, 11, 23, 11, 0, 0, 1, time.UTC)},
		{"none", time.Time{}, sampleTime},
		{"before 2000", time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), sampleTime},
		{"in a day", sampleTime.Add(day), sampleTime.Add(day)},
		{"after a day", sampleTime.Add(day + 1), sampleTime},
	}
	for _, tt := range tests {
		if got := saneTime(tt.in, sampleTime); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSetKeys(t *testing.T) {
	items := []Item{{DedupeKey: "a"}, {DedupeKey: "a"}, {DedupeKey: "a#2"}, {DedupeKey: "b"}, {DedupeKey: "a"}}
	setKeys(items)
	var got []string
	for _, i := range items {
		got = append(got, i.DedupeKey)
	}
	if diff := cmp.Diff([]string{"a", "a#2", "a#2#2", "b", "a#3"}, got); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestIDKey(t *testing.T) {
	tests := []struct{ name, id, prefix string }{
		{"uuid", "0199c3d2-7a10-7c31-8b6e-5f2f4be1a001", "id:0199c3d2"},
		{"none", "", ""},
		{"long", strings.Repeat("x", 129), "id-sha256:"},
		{"control character", "a\x00", "id-sha256:"},
	}
	for _, tt := range tests {
		if got := idKey(tt.id); !strings.HasPrefix(got, tt.prefix) || len(got) > 140 || tt.id == "" && got != "" {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
	if contentKey("k", "a", "bc") == contentKey("k", "ab", "c") {
		t.Error("parts run into each other")
	}
}
