package notify_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// hostileNames are what somebody who names an image, a package or a vulnerability
// may try.
func hostileNames() map[string]string {
	return map[string]string{
		"mention":    "<!channel> <@U1> @everyone",
		"style":      "*_~`bold`~_*",
		"link":       "[x](javascript:alert(1)) <javascript:alert(1)|y> <a href=javascript:alert(1)>z</a>",
		"lines":      "a\r\nBcc: victim@example.com\r\n\r\n.\r\nQUIT",
		"NUL":        "a\x00b\x1b[2J",
		"RTL":        "a\u202egpj\u2066\u200f\u2028\u2029b",
		"not UTF-8":  "a\xff\xfeb",
		"long":       strings.Repeat("x", 100_000),
		"long, wide": strings.Repeat("界", 100_000),
		"quotes":     strings.Repeat(`"\<`, 33_000),
	}
}

// messages are those in which all that comes from outside is the name.
func messages(name string) map[string]report.News {
	counts := report.NewsCounts{Findings: 10, Repositories: 3, Severities: map[string]int{"critical": 10}, Kinds: map[string]int{"opened": 10}}
	image := report.NewsGroup{Cause: "push", Severity: "critical", Counts: counts, Link: "https://tidewaiter.example/?" + name,
		Image: &report.NewsImage{Repository: name, Tag: name, Digest: name}}
	for range 10 {
		image.Image.Findings = append(image.Image.Findings, report.NewsFinding{Vulnerability: name, Package: name, Version: name, FixVersion: name, Severity: "critical"})
	}
	v := report.NewsGroup{Cause: "build", Severity: "critical", Counts: counts, Vulnerability: &report.NewsVulnerability{
		ID: name, Package: name, Versions: []string{name, name}, FixVersion: name, Description: name, Advisory: "https://advisory.example/" + name,
	}, Reach: &report.NewsReach{Repositories: 9, Images: 9, Tags: 9, Shared: &report.NewsLayers{Images: 9, Layers: 2, Base: name, CreatedBy: name}}}
	for range 5 {
		v.Reach.Examples = append(v.Reach.Examples, report.NewsPlace{Repository: name, Tag: name, Tags: 3})
	}
	script := v
	copied := *v.Vulnerability
	copied.Advisory = "javascript://host/%0aalert(1)//" + name
	script.Vulnerability = &copied
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	base := report.News{Rule: "all", Title: name, Since: at, Until: at, Counts: counts, GroupCount: 1}
	of := func(kind report.NewsKind, groups ...report.NewsGroup) report.News {
		n := base
		n.Kind, n.Groups, n.GroupCount, n.Link = kind, groups, len(groups), groups[0].Link
		return n
	}
	return map[string]report.News{
		"push": of(report.NewsPush, image), "grouped": of(report.NewsGrouped, v), "script": of(report.NewsGrouped, script),
		"digest": of(report.NewsDigest, image, v, image, v, image, v, image, v, image, v),
	}
}

// each sends every message with every name through a channel, and checks what came.
func each(t *testing.T, hook *receiver, c notify.Channel, check func(t *testing.T, body []byte)) {
	t.Helper()
	for label, name := range hostileNames() {
		for kind, news := range messages(name) {
			t.Run(label+"/"+kind, func(t *testing.T) {
				before := len(hook.got())
				if _, err := c.Send(t.Context(), notify.Parcel{ID: "1", CreatedAt: time.Now(), News: news}); err != nil {
					t.Fatal(err)
				}
				sent := hook.got()
				if len(sent) != before+1 {
					t.Fatalf("%d requests", len(sent)-before)
				}
				check(t, sent[before].body)
			})
		}
	}
}

// walk calls visit for every object in a JSON document.
func walk(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, inner := range v {
			walk(inner, visit)
		}
	case []any:
		for _, inner := range v {
			walk(inner, visit)
		}
	}
}

// checkTexts fails on texts that are longer than they may be or do not stay on one
// line, and on addresses that are none of the web.
func checkTexts(t *testing.T, o map[string]any, limit int) {
	t.Helper()
	if s, ok := o["text"].(string); ok {
		if n := len([]rune(s)); n > limit {
			t.Errorf("a text of %d characters", n)
		}
		if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("a text with %q", s[i:min(len(s), i+8)])
		}
	}
	if s, ok := o["url"].(string); ok && (!strings.HasPrefix(s, "https://") || len(s) > 3000 || strings.ContainsAny(s, " \r\n<>\x00")) {
		t.Errorf("address %.60q", s)
	}
}

func decode(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var document map[string]any
	if err := json.Unmarshal(body, &document); err != nil {
		t.Fatal(err)
	}
	return document
}

func TestSlackTakesNoNameForMarkup(t *testing.T) {
	hook := newReceiver(t, nil)
	c := channel(t, notify.Settings{Name: "chat", Type: "slack", URL: hook.URL})
	each(t, hook, c, func(t *testing.T, body []byte) {
		document := decode(t, body)
		if s := document["text"].(string); strings.ContainsAny(s, "<>") || document["mrkdwn"] != false {
			t.Errorf("the text for screens is %.80q", s)
		}
		if blocks := document["blocks"].([]any); len(blocks) > 50 {
			t.Errorf("%d blocks", len(blocks))
		}
		walk(document["blocks"], func(o map[string]any) {
			checkTexts(t, o, 3000)
			switch o["type"] {
			case "mrkdwn", "broadcast", "user", "usergroup", "channel", "emoji":
				t.Errorf("an element of type %s", o["type"])
			case "header":
				if s := o["text"].(map[string]any)["text"].(string); len([]rune(s)) > 150 {
					t.Errorf("a header of %d characters", len([]rune(s)))
				}
			}
		})
	})
}

func TestTeamsTakesNoNameForMarkup(t *testing.T) {
	hook := newReceiver(t, nil)
	c := channel(t, notify.Settings{Name: "chat", Type: "teams", URL: hook.URL})
	each(t, hook, c, func(t *testing.T, body []byte) {
		if len(body) > 28<<10 {
			t.Errorf("%d bytes; Teams takes 28 KB", len(body))
		}
		walk(decode(t, body), func(o map[string]any) {
			checkTexts(t, o, 500)
			if o["type"] == "TextBlock" || o["entities"] != nil {
				t.Errorf("an element that knows markup or mentions: %v", o)
			}
		})
	})
}

func TestOtherServicesTakeNoNameForAMention(t *testing.T) {
	hook := newReceiver(t, nil)
	address := "generic://" + strings.TrimPrefix(hook.URL, "http://") + "/in?disabletls=yes"
	c := channel(t, notify.Settings{Name: "chat", Type: "other", URL: address})
	each(t, hook, c, func(t *testing.T, body []byte) {
		s := string(body)
		if n := len([]rune(s)); n > 1800 {
			t.Errorf("%d characters", n)
		}
		for _, bad := range []string{"<", ">", "`", "](", "@everyone", "\x00", "\x1b", "\u202e", "\r"} {
			if strings.Contains(s, bad) {
				t.Errorf("%q is in %.200q", bad, s)
			}
		}
	})
}

// What a webhook is sent is for programs: names come as they are, in valid JSON, and
// never as a header.
func TestAWebhookKeepsNamesAsTheyAre(t *testing.T) {
	hook := newReceiver(t, nil)
	for label, name := range hostileNames() {
		if label == "not UTF-8" { // JSON has no way to say it
			continue
		}
		t.Run(label, func(t *testing.T) {
			before := len(hook.got())
			if _, err := hook.webhook(t).Send(t.Context(), notify.Parcel{ID: "1", News: messages(name)["push"]}); err != nil {
				t.Fatal(err)
			}
			got := hook.got()[before]
			if image := message(t, got).Groups[0].Image; image.Repository != name || image.Findings[9].Package != name {
				t.Errorf("names changed")
			}
			if got.header.Get("Bcc") != "" || !strings.HasPrefix(got.header.Get("Content-Type"), "application/cloudevents+json") {
				t.Errorf("header %v", got.header)
			}
		})
	}
}
