package api_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// notifications are the log in the database, and channels.
type notifications struct {
	*postgres.Store
	channels *notify.Notifier
}

func (n notifications) Test(ctx context.Context, channel string) (report.NotificationTest, error) {
	return n.channels.Test(ctx, channel)
}

const receiverKey = "0123456789abcdef0123456789abcdef"

// receiver takes what is signed with the key, and answers 401 to the rest.
func receiver(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mac := hmac.New(sha256.New, []byte(receiverKey))
		_, _ = io.WriteString(mac, r.Header.Get("Webhook-Id")+"."+r.Header.Get("Webhook-Timestamp")+"."+string(body))
		if r.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
			http.Error(w, "the signature is not mine", http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "thank you")
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// toldBench has two channels to one receiver: good signs with its key, bad with another.
func toldBench(t *testing.T) *bench {
	t.Helper()
	w, address := postgrestest.New(t), receiver(t)
	var channels []notify.Channel
	for name, key := range map[string]string{"good": receiverKey, "bad": strings.ToUpper(receiverKey)} {
		c, err := notify.NewChannel(notify.Settings{
			Name: name, Type: "webhook", URL: address, Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte(key))},
		})
		if err != nil {
			t.Fatal(err)
		}
		channels = append(channels, c)
	}
	n, err := notify.New(notify.Options{Store: w.Store, Channels: channels})
	if err != nil {
		t.Fatal(err)
	}
	return newBench(t, w, func(o *api.Options) { o.Notifications = notifications{w.Store, n} })
}

// tell puts a notification into the log, as one that was sent or given up.
func (b *bench) tell(rule, channel string, state report.NewsState) (id int64) {
	b.t.Helper()
	err := b.Store.Pool().QueryRow(b.t.Context(), `
		INSERT INTO notification (rule, channel, kind, first_event, title, message, state, attempts, last_error, finished_at)
		VALUES ($1, $2, 'push', (SELECT count(*) FROM notification), 'critical in team/secret', '{}', $3, 9, CASE $3 WHEN 'failed' THEN 'refused' ELSE '' END, now())
		RETURNING id`, rule, channel, string(state)).Scan(&id)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

func TestTheLogOfNotifications(t *testing.T) {
	b := toldBench(t)
	first, second, third := b.tell("urgent", "good", report.NewsSent), b.tell("urgent", "bad", report.NewsFailed), b.tell("daily", "good", report.NewsSent)
	for _, tt := range []struct {
		parameters []string
		want       []int64
	}{
		{nil, []int64{third, second, first}},
		{[]string{"rule", "urgent"}, []int64{second, first}},
		{[]string{"channel", "good"}, []int64{third, first}},
		{[]string{"state", "failed"}, []int64{second}},
		{[]string{"rule", "daily", "state", "queued"}, nil},
	} {
		var got []int64
		for cursor := ""; ; {
			page := into[report.List[report.Notification]](t, b.get("/notifications", append([]string{"limit", "1", "cursor", cursor}, tt.parameters...)...))
			for _, n := range page.Items {
				got = append(got, n.ID)
			}
			if cursor = page.NextCursor; cursor == "" {
				break
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v, want %v", tt.parameters, got, tt.want)
		}
	}
	b.get("/notifications", "state", "lost").refused(t, errs.Invalid, "state")
	b.get("/notifications", "cursor", "x").refused(t, errs.Invalid, "cursor")
}

func TestRedelivery(t *testing.T) {
	b := toldBench(t)
	path := "/notifications/" + strconv.FormatInt(b.tell("urgent", "bad", report.NewsFailed), 10) + "/redeliver"
	answer := b.do(http.MethodPost, path, b.token, "", "")
	if got := into[report.Notification](t, answer); answer.status != http.StatusAccepted || got.State != report.NewsQueued || got.Attempts != 0 || got.NextAt == nil || got.FinishedAt != nil {
		t.Errorf("%d %+v", answer.status, got)
	}
	b.do(http.MethodPost, "/notifications/99/redeliver", b.token, "", "").refused(t, errs.NotFound, "")
	b.do(http.MethodPost, "/notifications/x/redeliver", b.token, "", "").refused(t, errs.Invalid, "id")
}

func TestAChannelIsTried(t *testing.T) {
	b := toldBench(t)
	test := func(channel string) reply {
		return b.do(http.MethodPost, "/notifications/channels/"+channel+"/test", b.token, "", "")
	}
	good := into[report.NotificationTest](t, test("good"))
	if !good.Delivered || good.Status != http.StatusOK || good.Answer != "thank you" || good.Error != "" || good.Type != "webhook" || good.Channel != "good" {
		t.Errorf("good: %+v", good)
	}
	if escaped := into[report.NotificationTest](t, test("go%6Fd")); escaped.Channel != "good" {
		t.Errorf("escaped: %+v", escaped)
	}
	bad := into[report.NotificationTest](t, test("bad"))
	if bad.Delivered || bad.Status != http.StatusUnauthorized || bad.Answer != "the signature is not mine\n" || !strings.Contains(bad.Error, "401") {
		t.Errorf("bad: %+v", bad)
	}
	test("nobody").refused(t, errs.NotFound, "channel")
	if log := into[report.List[report.Notification]](t, b.get("/notifications")); len(log.Items) != 0 {
		t.Errorf("tests are in the log: %+v", log.Items)
	}
}

// Messages name every repository, so limited tokens do not see them.
func TestWhoSeesNotifications(t *testing.T) {
	b := toldBench(t)
	id := b.tell("urgent", "good", report.NewsSent)
	redeliver, test := "/notifications/"+strconv.FormatInt(id, 10)+"/redeliver", "/notifications/channels/good/test"
	reader, triage := b.newToken("reader", report.ScopeRead), b.newToken("triage", report.ScopeTriage)
	limited := b.newToken("limited", report.ScopeAdmin, postgrestest.Host+"/team/")
	into[report.List[report.Notification]](t, b.do(http.MethodGet, "/notifications", reader, "", ""))
	got := b.do(http.MethodGet, "/notifications", limited, "", "")
	got.refused(t, errs.Forbidden, "")
	if strings.Contains(string(got.body), "team/secret") {
		t.Errorf("it tells: %s", got.body)
	}
	for _, path := range []string{redeliver, test} {
		for _, token := range []string{reader, triage, limited} {
			b.do(http.MethodPost, path, token, "", "").refused(t, errs.Forbidden, "")
		}
	}
	if log := into[report.List[report.Notification]](t, b.get("/notifications")); log.Items[0].State != report.NewsSent {
		t.Errorf("somebody else sent it again: %+v", log.Items)
	}
}
