package webhook

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// cdEvent is a CDEvent, which is the data of a CloudEvent (CDEvents, "CloudEvents
// Binding"). The specification's version is not looked at: what we read has been
// the same in all.
type cdEvent struct {
	Context struct {
		ID        string `json:"id"`
		Source    string `json:"source"`
		Type      string `json:"type"`
		Timestamp string `json:"timestamp"`
	} `json:"context"`
	Subject json.RawMessage `json:"subject"`
}

type cdSubject struct {
	ID      string `json:"id"` // a package URL
	Content struct {
		User string `json:"user"`
	} `json:"content"`
}

// verifyCdevents: the producer can do what a script can.
func verifyCdevents(ctx context.Context, r request) error { return r.verify(ctx, plainSigning) }

// parseCdevents reads CDEvents in any content mode.
func parseCdevents(r request) ([]Item, error) { return r.judgeEvents(r.cdClaim) }

// cdClaim reads one event. Its context says again what the attributes of the
// CloudEvent say, and is preferred: in binary mode it is what a signature covers.
func (r request) cdClaim(e cloudEvent) (claim, error) {
	var event cdEvent
	err := e.into(&event)
	about := event.Context
	action, ignored := cdAction(cmp.Or(about.Type, e.Type))
	switch {
	case ignored != "" && action != "":
		return event.complete(claim{action: action, ignored: ignored}), nil
	case err != nil:
		return claim{}, err
	case action == "":
		return claim{}, errs.New(errs.Malformed, `webhook: field "context.type" is missing`)
	}
	var subject cdSubject
	if err := decodeSubject(event.Subject, &subject); err != nil {
		return claim{}, err
	}
	c := r.purlClaim(subject.ID)
	c.action, c.actor = action, subject.Content.User
	return event.complete(c), nil
}

// complete adds what every event says of itself.
func (e cdEvent) complete(c claim) claim {
	c.eventID, c.occurredAt = e.Context.ID, parseTime(e.Context.Timestamp)
	c.key = cloudEvent{ID: e.Context.ID, Source: e.Context.Source}.key()
	return c
}

func decodeSubject(raw json.RawMessage, subject *cdSubject) error {
	if len(raw) == 0 {
		return errs.New(errs.Malformed, `webhook: field "subject" is missing`)
	}
	return decodeObject(raw, subject)
}

// cdAction reads "dev.cdevents.<subject>.<predicate>.<version>". What is packaged
// is not in a registry yet, and what is signed was published before.
func cdAction(eventType string) (action Action, ignored string) {
	name, ok := strings.CutPrefix(eventType, "dev.cdevents.")
	if !ok {
		return Action(eventType), ReasonUnknownEvent
	}
	switch name += "."; {
	case strings.HasPrefix(name, "artifact.published."):
		return ActionPush, ""
	case strings.HasPrefix(name, "artifact.deleted."):
		return ActionDelete, ""
	case strings.HasPrefix(name, "artifact.downloaded."):
		return "pull", ReasonPull
	}
	return Action(eventType), ReasonOtherEvent
}
