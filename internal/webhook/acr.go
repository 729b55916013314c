package webhook

import (
	"context"
	"slices"
	"strings"
)

// acrEvent is what Azure Container Registry tells of one event, in the body of
// its own webhooks and as the data of Event Grid's events.
type acrEvent struct {
	ID        string `json:"id"`
	Timestamp string `json:"timestamp"`
	Action    string `json:"action"`
	Target    struct {
		MediaType  string `json:"mediaType"` // missing in quarantine events
		Digest     string `json:"digest"`
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
	} `json:"target"`
	Request struct {
		Host string `json:"host"`
	} `json:"request"`
	Actor struct {
		Name string `json:"name"`
	} `json:"actor"`
}

// acrQuarantine is the action of a push that waits for the verdict of a scanner.
const acrQuarantine = "quarantine"

// verifyAcr: the sender cannot sign, it adds configured headers and calls any
// URL.
func verifyAcr(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// parseAcr reads the one event of a webhook.
func parseAcr(r request) ([]Item, error) {
	var e acrEvent
	if err := decodeObject(r.body, &e); err != nil {
		return nil, err
	}
	c := e.claim()
	c.action, c.ignored = acrAction(e.Action)
	c.key = e.key()
	item := r.judge(c)
	if strings.EqualFold(e.Action, acrQuarantine) {
		item.Event.Flags = append(slices.Clip(item.Event.Flags), FlagQuarantine)
	}
	return []Item{item}, nil
}

// acrAction translates the actions. Quarantine is a push to us, the first word
// of an image and meant for scanners.
func acrAction(word string) (action Action, ignored string) {
	switch strings.ToLower(word) {
	case "push", acrQuarantine:
		return ActionPush, ""
	case "delete":
		return ActionDelete, ""
	case "ping":
		return "ping", ReasonPing
	case "chart_push", "chart_delete":
		return Action(word), ReasonChart
	}
	return Action(word), ReasonUnknownEvent
}

// claim holds what both ways of sending have in common.
func (e acrEvent) claim() claim {
	return claim{
		host:       e.Request.Host,
		repository: e.Target.Repository,
		tag:        e.Target.Tag,
		digest:     e.Target.Digest,
		mediaType:  e.Target.MediaType,
		actor:      e.Actor.Name,
		eventID:    e.ID,
		occurredAt: parseTime(e.Timestamp),
	}
}

// key joins the id with the action: nothing says that the quarantine of an image
// and its push after the release have different ids.
func (e acrEvent) key() string {
	switch {
	case e.ID != "":
		return idKey(strings.ToLower(e.Action) + ":" + e.ID)
	case parseTime(e.Timestamp).IsZero():
		return ""
	}
	return contentKey("event", e.Action, e.Target.Repository, e.Target.Tag, e.Target.Digest, e.Timestamp)
}
