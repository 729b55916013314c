package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestTokenExpiry(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		name    string
		expires time.Duration
		want    time.Time
		kind    errs.Kind
	}{
		{"never", 0, time.Time{}, ""},
		{"an hour", time.Hour, now.Add(time.Hour), ""},
		{"past", -time.Hour, time.Time{}, errs.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := (&tokenCreateCmd{Expires: tt.expires}).expiry(now)
			if !got.Equal(tt.want) || errs.KindOf(err) != tt.kind {
				t.Errorf("got %v, %v; want %v and kind %q", got, err, tt.want, tt.kind)
			}
		})
	}
}

func TestWriteTokens(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before, after := now.Add(-time.Hour), now.Add(time.Hour)
	tokens := []report.Token{
		{Name: "ci", Scope: report.ScopeTriage, Prefixes: []string{"a.example/x/", "b.example/"}, CreatedAt: before, CreatedBy: "cli:root", ExpiresAt: &after, LastUsedAt: &before},
		{Name: "old", Scope: report.ScopeRead, CreatedAt: before, ExpiresAt: &before},
		{ID: 7, Name: "gone", Scope: report.ScopeAdmin, CreatedAt: before, CreatedBy: "token:\x1b", RevokedAt: &before},
	}
	want := `NAME  SCOPE   REPOSITORIES             CREATED               BY          LAST USED             STATE
ci    triage  a.example/x/ b.example/  2026-01-02T02:04:05Z  cli:root    2026-01-02T02:04:05Z  good until 2026-01-02T04:04:05Z
old   read    all                      2026-01-02T02:04:05Z  -           never                 expired
gone  admin   all                      2026-01-02T02:04:05Z  token:\x1b  never                 revoked
`
	var out bytes.Buffer
	if err := writeTokens(&out, tokens, now); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	out.Reset()
	if err := writeTokensJSON(&out, tokens[2:]); err != nil {
		t.Fatal(err)
	}
	wantJSON := `[
  {
    "id": 7,
    "name": "gone",
    "scope": "admin",
    "prefixes": [],
    "created_at": "2026-01-02T02:04:05Z",
    "created_by": "token:\u001b",
    "revoked_at": "2026-01-02T02:04:05Z"
  }
]
`
	if diff := cmp.Diff(wantJSON, out.String()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}
