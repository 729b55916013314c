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

// teamsLines keeps a card below the 28 KB that Teams takes.
const (
	teamsLines = 30
	teamsText  = 500 // characters
)

// Send implements Channel.
func (t *teams) Send(ctx context.Context, p Parcel) (Receipt, error) {
	body, err := json.Marshal(teamsMessage(cardOf(p.News)))
	if err != nil {
		return Receipt{}, errs.Wrap(errs.Internal, "notify: encode message", err)
	}
	return t.post(ctx, http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body)
}

func teamsMessage(c card) fields {
	body := []fields{{"type": "RichTextBlock", "inlines": []fields{
		{"type": "TextRun", "text": cut(c.title, teamsText), "weight": "Bolder", "size": "Medium"},
	}}}
	for i, l := range c.lines {
		if i == teamsLines {
			break
		}
		body = append(body, teamsLine(l))
	}
	content := fields{
		"$schema": "http://adaptivecards.io/schemas/adaptive-card.json", "type": "AdaptiveCard", "version": "1.4",
		"msteams": fields{"width": "Full"}, "body": body,
	}
	if c.link != "" {
		content["actions"] = []fields{{"type": "Action.OpenUrl", "title": "Read on", "url": c.link}}
	}
	return fields{"type": "message", "summary": cut(c.title, teamsText), "attachments": []fields{{
		"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": nil, "content": content,
	}}}
}

func teamsLine(l cardLine) fields {
	var inlines []fields
	if l.item {
		inlines = append(inlines, fields{"type": "TextRun", "text": "• "})
	}
	for _, r := range l.runs {
		inline := fields{"type": "TextRun", "text": cut(r.text, teamsText)}
		if r.bold {
			inline["weight"] = "Bolder"
		}
		if r.link != "" {
			inline["selectAction"] = fields{"type": "Action.OpenUrl", "url": r.link}
		}
		inlines = append(inlines, inline)
	}
	return fields{"type": "RichTextBlock", "spacing": "Small", "inlines": inlines}
}
