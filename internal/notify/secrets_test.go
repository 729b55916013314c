package notify_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

const (
	pathSecret  = "T00PathOfAHook"
	querySecret = "sig-of-a-workflow"
	userSecret  = "horse-battery-of-an-address"
	tokenSecret = "token-of-a-header"
)

// gossip is a receiver that says all it was told, so that the interesting part is at
// the end of what is kept of an answer.
func gossip(t *testing.T, before int) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, password, _ := r.BasicAuth()
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		told := []string{r.URL.Path, r.URL.Query().Get("sig"), r.RequestURI, token, password, r.Header.Get("Authorization")}
		if r.Header.Get("Webhook-Signature") != "" { // who checks it knows the secret
			told = append(told, secret, strings.TrimPrefix(secret, "whsec_"))
		}
		_, _ = io.WriteString(w, strings.Repeat(".", before)+strings.Join(told, " "))
	}))
	t.Cleanup(server.Close)
	return server
}

func secrets() []string {
	return []string{
		pathSecret, querySecret, userSecret, tokenSecret, secret, strings.TrimPrefix(secret, "whsec_"),
		base64.StdEncoding.EncodeToString([]byte("bot:" + userSecret)),
	}
}

// checkSecrets fails where a text holds a secret, or so much of its beginning that
// it was cut in half.
func checkSecrets(t *testing.T, where, s string) {
	t.Helper()
	for _, secret := range secrets() {
		if strings.Contains(s, secret[:8]) {
			t.Errorf("%s holds %s: %s", where, secret, s)
		}
	}
}

func TestTestShowsNoSecret(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("bot:"+userSecret))
	for _, kind := range []string{"webhook", "slack", "teams", "other"} {
		for _, authorization := range []string{"Bearer " + tokenSecret, basic} {
			for _, before := range []int{0, 440, 470, 490, 495, 500, 505, 511, -1} {
				target := closed
				if before >= 0 {
					target = gossip(t, before)
				}
				address := strings.Replace(target.URL, "://", "://bot:"+userSecret+"@", 1) + "/services/" + pathSecret + "?sig=" + querySecret
				s := notify.Settings{Name: "hook", Type: kind, URL: address}
				switch kind {
				case "webhook":
					s.Secrets, s.Authorization = []string{secret}, authorization
				case "other":
					s.URL = "generic" + strings.TrimPrefix(address, "http") + "&disabletls=yes"
				}
				got := try(t, channel(t, s))
				if got.Delivered {
					t.Fatalf("%s is delivered", kind)
				}
				body, err := json.Marshal(got)
				if err != nil {
					t.Fatal(err)
				}
				checkSecrets(t, kind, string(body))
			}
		}
	}
}

func TestSettingsThatAreWrongShowNoSecret(t *testing.T) {
	for name, s := range map[string]notify.Settings{
		"address": {Type: "slack", URL: "https//" + pathSecret + "?sig=" + querySecret},
		"escapes": {Type: "teams", URL: "https://h/%zz" + pathSecret},
		"secret":  {Type: "webhook", URL: "https://h/" + pathSecret, Secrets: []string{secret + "!"}},
		"service": {Type: "other", URL: "nothing://" + userSecret + "@" + pathSecret},
		"in clear": {Type: "email", Email: notify.EmailSettings{
			Host: "h", TLS: "none", Username: "u", Password: userSecret, From: "a@example.com", To: []string{"a@example.com"}}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := notify.NewChannel(s)
			if err == nil {
				t.Fatal("taken")
			}
			checkSecrets(t, "the error", err.Error())
		})
	}
}

// quick is a notifier that makes messages at once and waits as long as pauses say.
func quick(t *testing.T, f *fleet, log io.Writer, c notify.Channel, pauses ...time.Duration) *notify.Notifier {
	t.Helper()
	rule := everything()
	n, err := notify.New(notify.Options{
		Store: f.Store, Channels: []notify.Channel{c}, Rules: []notify.Rule{rule}, Quiet: -1, Pauses: pauses,
		Logger: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheLogAndTheStoreHoldNoSecret(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	server := gossip(t, 480)
	var log bytes.Buffer
	n := quick(t, f, &log, channel(t, notify.Settings{
		Name: "hook", Type: "webhook", Secrets: []string{secret}, Authorization: "Bearer " + tokenSecret,
		URL: server.URL + "/services/" + pathSecret + "?sig=" + querySecret,
	}), time.Hour)
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	round(t, n)
	kept, err := f.Store.Notification(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(kept.Tries) != 1 || kept.Tries[0].Status != http.StatusForbidden || kept.Tries[0].Answer == "" {
		t.Fatalf("%+v", kept)
	}
	body, err := json.Marshal(kept)
	if err != nil {
		t.Fatal(err)
	}
	checkSecrets(t, "the store", string(body))
	if !strings.Contains(log.String(), "notification not sent") {
		t.Fatalf("the log is %s", log.String())
	}
	checkSecrets(t, "the log", log.String())
}

// The time of the next attempt is looked at, not waited for.
func TestAReceiverSaysWhenToComeBack(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	tests := []struct {
		name, header string
		least, most  time.Duration
	}{
		{"seconds", "1800", 30 * time.Minute, 31 * time.Minute},
		{"a date", time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat), 119 * time.Minute, 121 * time.Minute},
		{"sooner than is usual", "1", 8 * time.Minute, 13 * time.Minute},
		{"a date that is over", "Mon, 02 Jan 2006 15:04:05 GMT", 8 * time.Minute, 13 * time.Minute},
		{"nothing", "", 8 * time.Minute, 13 * time.Minute},
		{"nonsense", "soon", 8 * time.Minute, 13 * time.Minute},
		{"less than nothing", "-5", 8 * time.Minute, 13 * time.Minute},
		{"never", "99999999999999999999999", 12 * time.Hour, 12*time.Hour + time.Minute},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hook := newReceiver(t, func(n int, w http.ResponseWriter) {
				if n == 1 {
					w.Header().Set("Retry-After", tt.header)
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			})
			here := &fleet{f.World, t}
			here.exec(`DELETE FROM notification_attempt`)
			here.exec(`DELETE FROM notification`)
			n := quick(t, here, io.Discard, hook.webhook(t), 10*time.Minute)
			start := time.Now()
			here.adopt("CVE-2026-000"+string(rune('1'+i)), vuln.SeverityHigh)
			round(t, n)
			list, err := f.Store.Notifications(t.Context(), report.NotificationFilter{}, report.Page{})
			if err != nil || len(list.Items) != 1 || list.Items[0].NextAt == nil {
				t.Fatalf("%+v, %v", list.Items, err)
			}
			if pause := list.Items[0].NextAt.Sub(start); pause < tt.least || pause > tt.most {
				t.Errorf("the next attempt is in %s, want %s to %s", pause, tt.least, tt.most)
			}
			round(t, n)
			if len(hook.got()) != 1 {
				t.Fatalf("%d attempts before the time", len(hook.got()))
			}
			here.exec(`UPDATE notification SET next_at = now()`)
			round(t, n)
			if len(hook.got()) != 2 || here.count("notification WHERE state = 'sent'") != 1 {
				t.Errorf("%d attempts", len(hook.got()))
			}
		})
	}
}

func TestAReceiverThatIsGoneIsAskedOnce(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	hook := newReceiver(t, func(_ int, w http.ResponseWriter) { w.WriteHeader(http.StatusGone) })
	n := quick(t, f, io.Discard, hook.webhook(t), time.Nanosecond, time.Nanosecond)
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	round(t, n)
	round(t, n)
	if len(hook.got()) != 1 || f.count("notification WHERE state = 'failed'") != 1 {
		t.Errorf("%d attempts", len(hook.got()))
	}
}
