package notify

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// teams posts an adaptive card to a workflow of Microsoft Teams ("When a Teams
// webhook request is received"). All text stands in RichTextBlocks, which know no
// Markdown; a mention needs an entity, and none is sent.
type teams struct {
	named
	*poster
}

func newTeams(s Settings) (Channel, error) {
	p, err := newPoster(s)
	if err != nil {
		return nil, err
	}
	return &teams{named{s.Name, "teams"}, p}, nil
}

// What Teams takes.
const (
	teamsBytes = 27 << 10 // of 28 KB
	teamsLines = 30
	teamsText  = 500 // characters of a text
	teamsLeast = 10  // with so few, teamsLines are below teamsBytes whatever they say
)

// teamsBody shortens the texts until Teams takes the message: names that are long
// must not keep it from being sent.
func teamsBody(c card) ([]byte, error) {
	for limit := teamsText; ; limit /= 2 {
		body, err := json.Marshal(teamsMessage(c, limit))
		if err != nil || len(body) <= teamsBytes || limit <= teamsLeast {
			return body, err
		}
	}
}

// Send implements Channel.
func (t *teams) Send(ctx context.Context, p Parcel) (Receipt, error) {
	body, err := teamsBody(cardOf(p.News))
	if err != nil {
		return Receipt{}, errs.Wrap(errs.Internal, "notify: encode message", err)
	}
	return t.post(ctx, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body)
}

func teamsMessage(c card, limit int) fields {
	body := []fields{{"type": "RichTextBlock", "inlines": []fields{
		{"type": "TextRun", "text": cut(c.title, limit), "weight": "Bolder", "size": "Medium"},
	}}}
	for i, l := range c.lines {
		if i == teamsLines {
			break
		}
		body = append(body, teamsLine(l, limit))
	}
	content := fields{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
		"msteams": fields{"width": "Full"}, "body": body,
	}
	if c.link != "" {
		content["actions"] = []fields{{"type": "Action.OpenUrl", "title": "Read on", "url": c.link}}
	}
	return fields{"type": "message", "summary": cut(c.title, limit), "attachments": []fields{{
		"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": content,
	}}}
}

// teamsLine leaves out links that are long beside the texts.
func teamsLine(l cardLine, limit int) fields {
	var inlines []fields
	if l.item {
		inlines = append(inlines, fields{"type": "TextRun", "text": "• "})
	}
	for _, r := range l.runs {
		inline := fields{"type": "TextRun", "text": cut(r.text, limit)}
		if r.bold {
			inline["weight"] = "Bolder"
		}
		if r.link != "" && len(r.link) <= 4*limit {
			inline["selectAction"] = fields{"type": "Action.OpenUrl", "url": r.link}
		}
		inlines = append(inlines, inline)
	}
	return fields{"type": "RichTextBlock", "spacing": "Small", "inlines": inlines}
}
