package webhook

import (
	"context"
	"net/http"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/webhook/keys"
)

// verifyECRSNS: SNS signs its messages (see checkSNS). A subscription's address
// can hold a password or a secret as well, which is all there is to check in raw
// delivery.
func verifyECRSNS(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// greetECRSNS answers the message that asks to confirm the subscription. Only
// the address on the topic's own host that confirms a subscription of this very
// topic is visited.
func greetECRSNS(r request) (*Greeting, error) {
	m, ok := r.snsMessage()
	if !ok || m.Type != snsConfirmation {
		return nil, nil
	}
	if topic := keys.ConfirmedTopic(m.SubscribeURL); topic == "" || topic != m.Topic {
		return nil, errs.New(errs.Malformed, "webhook: field SubscribeURL does not confirm a subscription of the topic in TopicArn")
	}
	return &Greeting{Reason: "subscription_confirmation", Confirm: m.SubscribeURL}, nil
}

// parseECRSNS reads a message, whose text is an event of EventBridge, or in raw
// delivery the event itself. SNS repeats a message for an hour at most and an
// error is of no use to it: whatever is inside of a message is an item.
func parseECRSNS(r request) ([]Item, error) {
	m, ok := r.snsMessage()
	if !ok {
		return parseECREventBridge(r)
	}
	if m.Type != snsNotification {
		// The address in the farewell would subscribe us again.
		return []Item{r.judge(m.claim(Action(m.Type), ReasonOtherEvent))}, nil
	}
	inner := r
	inner.header, inner.body = http.Header{}, []byte(m.Message)
	inner.received = saneTime(parseTime(m.Timestamp), r.received) // of an event without a time
	items, err := parseECREventBridge(inner)
	if err != nil {
		return []Item{r.judge(m.claim(snsNotification, ReasonMalformed))}, nil //nolint:nilerr // a topic may carry any text; refused, it would come again
	}
	for i := range items {
		if items[i].DedupeKey == "" {
			items[i].DedupeKey = idKey(m.ID)
		}
	}
	return items, nil
}

func (m snsMessage) claim(action Action, ignored string) claim {
	return claim{action: action, ignored: ignored, eventID: m.ID, key: idKey(m.ID), occurredAt: parseTime(m.Timestamp)}
}

// snsMessage reads the body as a message; false for an event in raw delivery and
// for anything else.
func (r request) snsMessage() (snsMessage, bool) {
	var m snsMessage
	if err := decodeObject(r.body, &m); err != nil || m.Topic == "" || m.Type == "" {
		return snsMessage{}, false
	}
	return m, !strings.EqualFold(r.header.Get(snsRawHeader), "true")
}
