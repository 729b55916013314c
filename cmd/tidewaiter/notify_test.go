package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestNotify(t *testing.T) {
	told := report.Notification{
		ID: 12, Rule: "urgent", Channel: "tickets", Title: "critical in team/\x1b[2Japp", State: report.NewsFailed, Attempts: 9,
		LastError: "the receiver answered 401 Unauthorized", CreatedAt: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC),
	}
	again := told
	again.State = report.NewsQueued
	good := report.NotificationTest{Channel: "tickets", Type: "webhook", Delivered: true, NotificationAttempt: report.NotificationAttempt{Status: 200, Answer: "thank you"}}
	bad := report.NotificationTest{Channel: "tickets", Type: "webhook", NotificationAttempt: report.NotificationAttempt{Status: 401, Error: "the receiver answered 401 Unauthorized", Answer: "not\nmine"}}
	for _, tt := range []struct {
		name   string
		args   []string
		answer any
		asked  string
		code   int
		words  []string
	}{
		{"log", []string{"log", "--state", "failed"}, report.List[report.Notification]{Items: []report.Notification{told}, NextCursor: "abc"}, "GET /api/v1/notifications", 0,
			[]string{"12 ", "urgent", "tickets", "failed", `team/\x1b[2Japp (the receiver answered 401 Unauthorized)`, "--cursor abc"}},
		{"redeliver", []string{"redeliver", "12"}, again, "POST /api/v1/notifications/12/redeliver", 0, []string{"notification 12 for tickets: queued"}},
		{"redeliver nothing", []string{"redeliver", "13"}, report.NoNotification(13), "POST /api/v1/notifications/13/redeliver", 1, []string{"there is no notification 13"}},
		{"test", []string{"test", "tickets"}, good, "POST /api/v1/notifications/channels/tickets/test", 0, []string{"tickets (webhook) arrived", "status: 200", "answer: thank you"}},
		{"test does not arrive", []string{"test", "tickets"}, bad, "POST /api/v1/notifications/channels/tickets/test", 1,
			[]string{"did not arrive", "error:  the receiver answered 401", "status: 401", `answer: not\nmine`}},
		{"test of no channel", []string{"test", "a/b"}, errs.New(errs.NotFound, "no channel"), "POST /api/v1/notifications/channels/a/b/test", 1, []string{"no channel"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr, asked := asking(t, []any{tt.answer}, append([]string{"notify"}, tt.args...)...)
			if got := strings.Join(asked, ","); code != tt.code || got != tt.asked {
				t.Errorf("code %d after %s, want %d after %s\n%s", code, got, tt.code, tt.asked, stderr)
			}
			for _, words := range tt.words {
				if !strings.Contains(stdout+stderr, words) {
					t.Errorf("it does not say %q:\n%s%s", words, stdout, stderr)
				}
			}
		})
	}
}

func TestNotifyLogFilters(t *testing.T) {
	var query string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query = r.URL.RawQuery
		_, _ = io.WriteString(w, `{"items": []}`)
	}))
	defer server.Close()
	var out, problems bytes.Buffer
	code := run(t.Context(), []string{
		"notify", "log", "--rule", "urgent", "--channel", "a b", "--state", "sent", "--limit", "7", "--cursor", "abc", "--server", server.URL, "--token", "tw_x",
	}, &out, &problems)
	if want := "channel=a+b&cursor=abc&limit=7&rule=urgent&state=sent"; code != 0 || query != want {
		t.Errorf("code %d, query %s, want %s\n%s", code, query, want, problems.String())
	}
}
