package notify_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// message reads what a webhook was sent.
func message(t *testing.T, r received) report.News {
	t.Helper()
	var event struct {
		Type string      `json:"type"`
		Data report.News `json:"data"`
	}
	if err := json.Unmarshal(r.body, &event); err != nil {
		t.Fatal(err)
	}
	return event.Data
}

func TestThreeThousandImagesMakeOneMessage(t *testing.T) {
	f := newFleet(t)
	f.build(100, 3000)
	hook := newReceiver(t, nil)
	n := notifier(t, f, everything(), hook.webhook(t))
	start := time.Now()
	f.adopt("CVE-2026-0001", vuln.SeverityCritical)
	round(t, n)
	t.Logf("told after %s", time.Since(start))
	sent := hook.got()
	if len(sent) != 1 {
		t.Fatalf("%d messages, want one", len(sent))
	}
	news := message(t, sent[0])
	if news.Kind != report.NewsGrouped || news.Counts.Findings != 100 || news.Counts.Repositories != 100 {
		t.Errorf("%s, %+v", news.Kind, news.Counts)
	}
	reach := news.Groups[0].Reach
	if reach == nil || reach.Repositories != 100 || reach.Images != 3000 || reach.Tags != 3000 || len(reach.Examples) != 5 || !reach.Truncated {
		t.Fatalf("reach %+v", reach)
	}
	if s := reach.Shared; s == nil || s.Images != 3000 || s.Layers != 2 || s.Size != 32<<20 || s.Base != "registry.example.com/base/debian:12" {
		t.Errorf("shared %+v", s)
	}
	v := news.Groups[0].Vulnerability
	if v.ID != "CVE-2026-0001" || v.Package != "libssl3" || v.FixVersion != "3.0.15-1" || len(v.Versions) != 1 || v.Versions[0] != "3.0.11-1" {
		t.Errorf("vulnerability %+v", v)
	}
	if want := "https://tidewaiter.example/api/v1/vulnerabilities/CVE-2026-0001/images"; news.Link != want || !news.Truncated {
		t.Errorf("link %q, truncated %v", news.Link, news.Truncated)
	}
	// A build that says the same makes no events, and nobody is told.
	round(t, n)
	if again := hook.got(); len(again) != 1 {
		t.Errorf("%d messages after a second run", len(again))
	}
}

// A transaction that takes its ids first and commits last must not be passed over.
func TestEventsThatCommitLateAreTold(t *testing.T) {
	f := newFleet(t)
	f.build(2, 4)
	hook := newReceiver(t, nil)
	n := notifier(t, f, everything(), hook.webhook(t))
	f.open("CVE-2026-0001")
	f.open("CVE-2026-0002")
	slow, err := f.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Exec(t.Context(), tellQuery, "CVE-2026-0001", "high", 4, "opened", "team/app-1"); err != nil {
		t.Fatal(err)
	}
	f.exec(tellQuery, "CVE-2026-0002", "high", 4, "opened", "team/app-2")
	round(t, n)
	if sent := hook.got(); len(sent) != 1 || message(t, sent[0]).Groups[0].Vulnerability.ID != "CVE-2026-0002" {
		t.Fatalf("%d messages before the slow transaction", len(sent))
	}
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	round(t, n)
	sent := hook.got()
	if len(sent) != 2 {
		t.Fatalf("%d messages, want two", len(sent))
	}
	if got := message(t, sent[1]); got.Groups[0].Vulnerability.ID != "CVE-2026-0001" || got.Counts.Findings != 1 {
		t.Errorf("the second is about %+v", got.Groups[0].Vulnerability)
	}
}

// The process dies at any point between the commit of the events and the end of the
// sending: nothing is lost, and no group is made twice.
func TestAProcessThatDies(t *testing.T) {
	f := newFleet(t)
	f.build(2, 4)
	hook := newReceiver(t, nil)
	first := notifier(t, f, everything(), hook.webhook(t))
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	if err := first.Round(t.Context()); err != nil { // and dies before it sends
		t.Fatal(err)
	}
	if len(hook.got()) != 0 || f.count("notification WHERE state = 'queued'") != 1 {
		t.Fatal("the message is not queued")
	}
	// A second one claims it, sends it, and dies before it says so.
	due, err := f.Store.ClaimNotification(t.Context(), "hook", time.Hour)
	if err != nil || due == nil {
		t.Fatalf("claim: %v, %v", due, err)
	}
	third := notifier(t, f, everything(), hook.webhook(t))
	round(t, third)
	if len(hook.got()) != 0 {
		t.Fatal("sent although another process does")
	}
	f.exec(`UPDATE notification SET lease_until = now() - interval '1 second'`)
	round(t, third)
	sent := hook.got()
	if len(sent) != 1 || sent[0].header.Get("Webhook-Id") != due.MessageID {
		t.Fatalf("%d messages, want one under the id of the first", len(sent))
	}
	if err := f.Store.FinishNotification(t.Context(), *due, report.NotificationAttempt{Error: "late"}, time.Time{}); !errs.Is(err, errs.Canceled) {
		t.Errorf("a lease that ran out still counts: %v", err)
	}
	round(t, third)
	if len(hook.got()) != 1 || f.count("notification") != 1 || f.count("notification WHERE state = 'sent'") != 1 {
		t.Errorf("%d messages, %d notifications", len(hook.got()), f.count("notification"))
	}
}

func TestTwoProcessesMakeOneMessage(t *testing.T) {
	f := newFleet(t)
	f.build(2, 4)
	hook := newReceiver(t, nil)
	one, two := notifier(t, f, everything(), hook.webhook(t)), notifier(t, f, everything(), hook.webhook(t))
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	var both sync.WaitGroup
	for _, n := range []*notify.Notifier{one, two} {
		both.Go(func() {
			if err := n.Round(t.Context()); err != nil {
				t.Error(err)
			}
			if err := n.Send(t.Context(), "hook"); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	round(t, one)
	if len(hook.got()) != 1 {
		t.Errorf("%d messages", len(hook.got()))
	}
}

func TestAReceiverThatFailsGetsItLater(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	hook := newReceiver(t, func(n int, w http.ResponseWriter) {
		if n < 3 {
			http.Error(w, "out of order", http.StatusBadGateway)
		}
	})
	n := notifier(t, f, everything(), hook.webhook(t))
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	for range 3 {
		round(t, n)
	}
	sent := hook.got()
	if len(sent) != 3 || sent[0].header.Get("Webhook-Id") != sent[2].header.Get("Webhook-Id") || string(sent[0].body) != string(sent[2].body) {
		t.Fatalf("%d requests; all have to be the same message", len(sent))
	}
	log, err := f.Store.Notification(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if log.State != report.NewsSent || log.Attempts != 3 || len(log.Tries) != 3 {
		t.Fatalf("%+v", log)
	}
	if last := log.Tries[2]; last.Status != http.StatusBadGateway || last.Answer != "out of order\n" || last.Error == "" {
		t.Errorf("the first try: %+v", last)
	}
	if log.Tries[0].Error != "" {
		t.Errorf("the last try: %+v", log.Tries[0])
	}
}

func TestGivenUpAndSentAgainOnRequest(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	broken := true
	hook := newReceiver(t, func(_ int, w http.ResponseWriter) {
		if broken {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	n := notifier(t, f, everything(), hook.webhook(t))
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	for range 5 {
		round(t, n)
	}
	if got := len(hook.got()); got != 3 { // the pauses of the test are two
		t.Fatalf("%d attempts", got)
	}
	list, err := f.Store.Notifications(t.Context(), report.NotificationFilter{State: report.NewsFailed}, report.Page{})
	if err != nil || len(list.Items) != 1 || list.Items[0].LastError != "the receiver answered 401 Unauthorized" {
		t.Fatalf("%+v, %v", list.Items, err)
	}
	broken = false
	if again, err := f.Store.Redeliver(t.Context(), list.Items[0].ID); err != nil || again.State != report.NewsQueued || again.Attempts != 0 {
		t.Fatalf("%+v, %v", again, err)
	}
	round(t, n)
	sent := hook.got()
	if len(sent) != 4 || sent[3].header.Get("Webhook-Id") != list.Items[0].MessageID {
		t.Errorf("%d requests", len(sent))
	}
	if _, err := f.Store.Redeliver(t.Context(), 99); !errs.Is(err, errs.NotFound) {
		t.Errorf("redelivery of nothing: %v", err)
	}
}

func TestAPushMakesOneMessagePerImage(t *testing.T) {
	w := postgrestest.New(t)
	f := &fleet{w, t}
	hook := newReceiver(t, nil)
	n := notifier(t, f, everything(), hook.webhook(t))
	for _, v := range []vuln.Vulnerability{
		{Ref: postgrestest.OpenSSL, Severity: vuln.SeverityHigh},
		{Ref: postgrestest.Log4Shell, Severity: vuln.SeverityCritical, KEV: []vuln.KnownExploited{{CVE: "CVE-2021-44228"}}},
	} {
		w.Know(v)
	}
	digest := w.Push("team/app", "1.0", postgrestest.App("app", "linux/amd64"))
	round(t, n)
	w.Push("team/app", "1.1", postgrestest.App("app", "linux/amd64")) // what the repository has anyway
	round(t, n)
	sent := hook.got()
	if len(sent) != 1 {
		t.Fatalf("%d messages, want one", len(sent))
	}
	news := message(t, sent[0])
	image := news.Groups[0].Image
	if news.Kind != report.NewsPush || image == nil || image.Repository != postgrestest.Host+"/team/app" || image.Tag != "1.0" || image.Digest != string(digest) {
		t.Fatalf("%s, %+v", news.Kind, image)
	}
	worst := image.Findings[0]
	if worst.Package != "log4j-core" || worst.Version != "2.14.1" || worst.FixVersion != "2.15.0" || !worst.KnownExploited || worst.Severity != "critical" {
		t.Errorf("the worst is %+v", worst)
	}
	if len(image.Findings) != news.Counts.Findings || image.Truncated {
		t.Errorf("%d of %d findings, truncated %v", len(image.Findings), news.Counts.Findings, image.Truncated)
	}
}

func TestRulesChoose(t *testing.T) {
	f := newFleet(t)
	f.build(4, 8)
	f.open("CVE-2026-0001")
	tests := []struct {
		name   string
		change func(*notify.Rule)
		want   int // repositories
	}{
		{"all", func(*notify.Rule) {}, 4},
		{"registry", func(r *notify.Rule) { r.Registries = []string{"main"} }, 4},
		{"another registry", func(r *notify.Rule) { r.Registries = []string{"sboms"} }, 0},
		{"repository", func(r *notify.Rule) { r.Repositories = []string{"other/**", "team/app-[1]", "team/*-2"} }, 1},
		{"dots are dots", func(r *notify.Rule) { r.Repositories = []string{"team.app-2"} }, 0},
		{"severity", func(r *notify.Rule) { r.SeverityRank = vuln.SeverityCritical.Rank() }, 0},
		{"fixable", func(r *notify.Rule) { r.Fixable = true }, 4},
		{"exploited", func(r *notify.Rule) { r.KnownExploited = true }, 0},
		{"kind", func(r *notify.Rule) { r.Kinds = []string{"closed"} }, 0},
		{"cause", func(r *notify.Rule) { r.Causes = []string{"push"} }, 0},
		{"tag", func(r *notify.Rule) { r.Tags = []string{"v*"} }, 4},
		{"one tag", func(r *notify.Rule) { r.Tags = []string{"v1"} }, 1},
		{"tags that hold nothing", func(r *notify.Rule) { r.Tags = []string{"release-*"} }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			hook := newReceiver(t, nil)
			rule := everything()
			rule.Name, rule.Limit = tt.name, 0
			tt.change(&rule)
			n := notifier(t, &fleet{f.World, t}, rule, hook.webhook(t))
			f.exec(`DELETE FROM repository_finding`)
			f.tell("CVE-2026-0001", vuln.SeverityHigh, "opened")
			round(t, n)
			sent := hook.got()
			if tt.want == 0 {
				if len(sent) != 0 {
					t.Errorf("told %s", sent[0].body)
				}
				return
			}
			if len(sent) != 1 {
				t.Fatalf("%d messages", len(sent))
			}
			if got := message(t, sent[0]); got.Groups[0].Reach.Repositories != tt.want {
				t.Errorf("%d repositories, want %d", got.Groups[0].Reach.Repositories, tt.want)
			}
			if f.count("notification_pending") != 0 || f.count("notification_outbox") != 0 {
				t.Error("something is left")
			}
		})
	}
}

func TestWhatOpensAndClosesAgainIsNoNews(t *testing.T) {
	f := newFleet(t)
	f.build(2, 4)
	hook := newReceiver(t, nil)
	rule := everything()
	rule.Kinds = []string{"opened"}
	n := notifier(t, f, rule, hook.webhook(t))
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	f.tell("CVE-2026-0001", vuln.SeverityHigh, "closed")
	round(t, n)
	if len(hook.got()) != 0 || f.count("notification_pending") != 0 {
		t.Errorf("%d messages", len(hook.got()))
	}
}

func TestManyGroupsMakeOneDigest(t *testing.T) {
	f := newFleet(t)
	f.build(3, 6)
	hook := newReceiver(t, nil)
	n := notifier(t, f, everything(), hook.webhook(t))
	for i := range 25 {
		f.open(fmt.Sprintf("CVE-2026-%04d", i))
	}
	for i := range 25 {
		severity := vuln.SeverityMedium
		if i == 17 {
			severity = vuln.SeverityCritical
		}
		f.tell(fmt.Sprintf("CVE-2026-%04d", i), severity, "opened")
	}
	round(t, n)
	sent := hook.got()
	if len(sent) != 1 {
		t.Fatalf("%d messages, want one digest", len(sent))
	}
	news := message(t, sent[0])
	if news.Kind != report.NewsDigest || news.GroupCount != 25 || len(news.Groups) != 10 || !news.Truncated || news.Counts.Findings != 75 ||
		news.Counts.Repositories != 3 {
		t.Errorf("%s with %d of %d groups, %+v", news.Kind, len(news.Groups), news.GroupCount, news.Counts)
	}
	if news.Groups[0].Vulnerability.ID != "CVE-2026-0017" {
		t.Errorf("the first is %s, not the worst", news.Groups[0].Vulnerability.ID)
	}
}

// However much is new, a rule makes no more messages in ten minutes than its limit;
// what is beyond waits and becomes a digest.
func TestALimitHoldsBackAndLosesNothing(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	hook := newReceiver(t, nil)
	rule := everything()
	rule.Limit = 2
	n := notifier(t, f, rule, hook.webhook(t))
	for i := range 6 {
		f.adopt(fmt.Sprintf("CVE-2026-%04d", i), vuln.SeverityHigh)
		round(t, n)
	}
	if len(hook.got()) != 2 {
		t.Fatalf("%d messages, want the limit", len(hook.got()))
	}
	f.exec(`UPDATE notification SET created_at = created_at - interval '11 minutes'`)
	round(t, notifier(t, f, rule, hook.webhook(t)))
	sent := hook.got()
	if len(sent) != 3 {
		t.Fatalf("%d messages, want one more", len(sent))
	}
	if news := message(t, sent[2]); news.Kind != report.NewsDigest || news.GroupCount != 4 {
		t.Errorf("%s of %d", news.Kind, news.GroupCount)
	}
}

func TestAWindowGathers(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	hook := newReceiver(t, nil)
	rule := everything()
	rule.Window = 24 * time.Hour
	n := notifier(t, f, rule, hook.webhook(t))
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	round(t, n)
	f.adopt("CVE-2026-0002", vuln.SeverityHigh)
	round(t, n)
	if len(hook.got()) != 0 {
		t.Fatal("told before the window is over")
	}
	f.exec(`UPDATE notification_pending SET collected_at = collected_at - interval '25 hours' WHERE vulnerability = 'CVE-2026-0001'`)
	round(t, n)
	sent := hook.got()
	if len(sent) != 1 {
		t.Fatalf("%d messages", len(sent))
	}
	if news := message(t, sent[0]); news.Kind != report.NewsDigest || news.GroupCount != 2 {
		t.Errorf("%s of %d", news.Kind, news.GroupCount)
	}
}

// Without rules nothing is gathered, so that an installation that tells nobody pays
// nothing; and what waits for rules that nobody has any more does not stay for ever.
func TestNothingIsKeptForNobody(t *testing.T) {
	f := newFleet(t)
	f.build(1, 2)
	f.adopt("CVE-2026-0001", vuln.SeverityHigh)
	if n := f.count("notification_outbox"); n != 0 {
		t.Fatalf("%d rows in the outbox without a rule", n)
	}
	hook := newReceiver(t, nil)
	n := notifier(t, f, everything(), hook.webhook(t))
	f.exec(`UPDATE notification_rule SET seen_at = now() - interval '8 days'`)
	f.adopt("CVE-2026-0002", vuln.SeverityHigh)
	if n := f.count("notification_outbox"); n != 0 {
		t.Fatalf("%d rows in the outbox for a rule that nobody looks after", n)
	}
	round(t, n)
	f.adopt("CVE-2026-0003", vuln.SeverityHigh)
	round(t, n)
	if len(hook.got()) != 1 {
		t.Errorf("%d messages", len(hook.got()))
	}
}

// The groups of a build wait until all of its repositories were compared.
func TestABuildIsToldWhenItIsThrough(t *testing.T) {
	f := newFleet(t)
	f.build(2, 4)
	hook := newReceiver(t, nil)
	n := notifier(t, f, everything(), hook.webhook(t))
	f.open("CVE-2026-0001")
	f.exec(`UPDATE repository SET compared = '0/' WHERE name = 'base/debian'`)
	f.exec(tellQuery, "CVE-2026-0001", "high", 4, "opened", "team/app-1")
	round(t, n)
	if len(hook.got()) != 0 {
		t.Fatal("told while repositories are compared")
	}
	f.exec(tellQuery, "CVE-2026-0001", "high", 4, "opened", "team/app-2")
	f.settle()
	round(t, n)
	sent := hook.got()
	if len(sent) != 1 || message(t, sent[0]).Counts.Repositories != 2 {
		t.Errorf("%d messages", len(sent))
	}
}
