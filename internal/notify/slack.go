package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// slack posts to an incoming webhook of Slack. All text from outside stands in
// elements that Slack does not look for markup in (plain_text and rich_text), so
// that no name can mention a channel, disguise a link or restyle the message.
type slack struct {
	named
	*poster
}

func newSlack(s Settings) (Channel, error) {
	p, err := newPoster(s)
	if err != nil {
		return nil, err
	}
	return &slack{named{s.Name, "slack"}, p}, nil
}

// What Slack takes (Block Kit reference).
const (
	slackHeader = 150 // characters
	slackText   = 3000
	slackBlocks = 40 // of 50
)

type fields map[string]any

// slackEscape is for the one text that Slack reads as mrkdwn elsewhere: with these
// three characters escaped, nothing in it is a link or a mention.
func slackEscape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// Send implements Channel.
func (s *slack) Send(ctx context.Context, p Parcel) (Receipt, error) {
	body, err := json.Marshal(slackMessage(cardOf(p.News)))
	if err != nil {
		return Receipt{}, errs.Wrap(errs.Internal, "notify: encode message", err)
	}
	return s.post(ctx, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body)
}

func slackMessage(c card) fields {
	blocks := []fields{{"type": "header", "text": fields{"type": "plain_text", "text": cut(c.title, slackHeader), "emoji": false}}}
	for start := 0; start < len(c.lines) && len(blocks) < slackBlocks; {
		end := start + 1
		for end < len(c.lines) && c.lines[start].item && c.lines[end].item {
			end++
		}
		blocks = append(blocks, slackBlock(c.lines[start:end]))
		start = end
	}
	if c.link != "" && len(c.link) <= slackText {
		blocks = append(blocks, fields{"type": "actions", "elements": []fields{{
			"type": "button", "text": fields{"type": "plain_text", "text": "Read on", "emoji": false}, "url": c.link,
		}}})
	}
	// The text is what notifications on the screen show.
	return fields{"text": slackEscape(cut(c.title, slackText)), "mrkdwn": false, "blocks": blocks, "unfurl_links": false, "unfurl_media": false}
}

// slackBlock is one line, or the items of one list.
func slackBlock(lines []cardLine) fields {
	sections := make([]fields, len(lines))
	for i, l := range lines {
		elements := make([]fields, len(l.runs))
		for n, r := range l.runs {
			element := fields{"type": "text", "text": cut(r.text, slackText)}
			if r.link != "" {
				element = fields{"type": "link", "url": r.link, "text": cut(r.text, slackText)}
			}
			if r.bold {
				element["style"] = fields{"bold": true}
			}
			elements[n] = element
		}
		sections[i] = fields{"type": "rich_text_section", "elements": elements}
	}
	if !lines[0].item {
		return fields{"type": "rich_text", "elements": sections}
	}
	return fields{"type": "rich_text", "elements": []fields{{"type": "rich_text_list", "style": "bullet", "elements": sections}}}
}

// cut shortens a text to a number of characters.
func cut(s string, limit int) string {
	if utf8.RuneCountInString(s) <= limit {
		return s
	}
	runes := []rune(s)
	return string(runes[:limit-1]) + "…"
}
