package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"time"
)

// nexusBody is what Sonatype Nexus Repository 3 sends for every kind of its
// webhooks; which field is there tells the kind (Sonatype help, "Example Headers
// And Payloads").
type nexusBody struct {
	Timestamp  string          `json:"timestamp"`
	Initiator  string          `json:"initiator"` // "user/address"
	Source     string          `json:"repositoryName"`
	Action     string          `json:"action"`
	Component  *nexusComponent `json:"component"`
	Asset      json.RawMessage `json:"asset"`
	Repository json.RawMessage `json:"repository"`
	Audit      json.RawMessage `json:"audit"`
}

type nexusComponent struct {
	Format  string `json:"format"`
	Name    string `json:"name"`
	Version string `json:"version"` // a tag, or a digest
}

// verifyNexus: Nexus signs with SHA-1 and can do nothing else.
func verifyNexus(ctx context.Context, r request) error {
	return r.verify(ctx, signing{header: "X-Nexus-Webhook-Signature"})
}

// parseNexus reads the one event of a request. The headers that name its kind
// are not signed, so the body alone decides.
func parseNexus(r request) ([]Item, error) {
	var body nexusBody
	if err := decodeObject(r.body, &body); err != nil {
		return nil, err
	}
	delivery := r.header.Get("X-Nexus-Webhook-Delivery")
	c := claim{
		actor: body.Initiator, eventID: delivery, occurredAt: nexusTime(body.Timestamp), key: body.key(delivery),
	}
	c.action, c.ignored = body.action()
	if body.Component != nil {
		var other string
		c.repository, other = r.endpoint.managed(body.Source, body.Component.Name, PrefixNone)
		c.ignored = cmp.Or(c.ignored, other)
		c.tag = body.Component.Version
	}
	return []Item{r.judge(c)}, nil
}

// action: a component is created and updated several times while it is pushed;
// each may be the one after which the tag points to what is new.
func (b nexusBody) action() (action Action, ignored string) {
	switch {
	case b.Component == nil && (b.Asset != nil || b.Repository != nil || b.Audit != nil):
		return Action(b.Action), ReasonOtherEvent
	case b.Component == nil:
		return Action(b.Action), ReasonUnknownEvent
	case b.Component.Format == "helm":
		return Action(b.Action), ReasonChart
	case b.Component.Format != "docker":
		return Action(b.Action), ReasonArtifact
	}
	switch b.Action {
	case "CREATED", "UPDATED":
		return ActionPush, ""
	case "DELETED":
		return ActionDelete, ""
	}
	return Action(b.Action), ReasonUnknownEvent
}

// key is the delivery's id. Without one the content with its time stands in.
func (b nexusBody) key(delivery string) string {
	switch {
	case delivery != "":
		return idKey(delivery)
	case nexusTime(b.Timestamp).IsZero() || b.Component == nil:
		return ""
	}
	return contentKey("event", b.Source, b.Action, b.Component.Format, b.Component.Name, b.Component.Version, b.Timestamp)
}

// nexusTime reads "2018-04-06T23:35:21.606+0000", whose offset has no colon,
// and RFC 3339.
func nexusTime(s string) time.Time {
	if t, err := time.Parse("2006-01-02T15:04:05-0700", s); err == nil {
		return t
	}
	return parseTime(s)
}
