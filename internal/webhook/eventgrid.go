package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// gridEvent is an event of Azure Event Grid in both of its schemas: its own
// (topic, eventType, eventTime) and CloudEvents (source, type, time), which it
// always sends structured or in batches.
type gridEvent struct {
	ID        string          `json:"id"`
	Topic     string          `json:"topic"`
	EventType string          `json:"eventType"`
	EventTime string          `json:"eventTime"`
	Source    string          `json:"source"`
	Type      string          `json:"type"`
	Time      string          `json:"time"`
	Data      json.RawMessage `json:"data"`

	raw       json.RawMessage
	malformed bool
}

// The values of the header that says what a request of Event Grid's own schema
// is for, and the types of the events in it.
const (
	gridHeader           = "Aeg-Event-Type"
	gridNotification     = "Notification"
	gridValidation       = "SubscriptionValidation"
	gridDeletion         = "SubscriptionDeletion"
	gridValidationEvent  = "Microsoft.EventGrid.SubscriptionValidationEvent"
	gridDeletionEvent    = "Microsoft.EventGrid.SubscriptionDeletedEvent"
	longestValidationKey = 256
)

// verifyEventgrid: Event Grid keeps the query of the URL, adds configured
// headers to deliveries, and cannot sign. Handshakes need the credential too.
func verifyEventgrid(ctx context.Context, r request) error { return r.verify(ctx, signing{}) }

// greetEventgrid answers the handshakes of both schemas. The address by which a
// subscription could be confirmed by hand is not visited.
func greetEventgrid(r request) (*Greeting, error) {
	if greeting, err := greetOrigin(r); greeting != nil || err != nil {
		return greeting, err
	}
	purpose := r.header.Get(gridHeader)
	if strings.EqualFold(purpose, gridNotification) {
		return nil, nil
	}
	events, err := r.gridEvents()
	if err != nil {
		return nil, err
	}
	only := gridEvent{} // a handshake stands alone: among others it is one of them
	if len(events) == 1 {
		only = events[0]
	}
	switch {
	case strings.EqualFold(purpose, gridValidation), only.is(gridValidationEvent):
		return only.validation()
	case strings.EqualFold(purpose, gridDeletion), only.is(gridDeletionEvent):
		return &Greeting{Reason: "subscription_deletion"}, nil
	}
	return nil, nil
}

// validation answers with the code of the event, by status 200: no other counts.
func (e gridEvent) validation() (*Greeting, error) {
	var data struct {
		Code string `json:"validationCode"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || data.Code == "" || len(data.Code) > longestValidationKey {
		return nil, errs.New(errs.Malformed, `webhook: field "data.validationCode" is missing or no short text`)
	}
	return &Greeting{Reason: "subscription_validation", Body: map[string]string{"validationResponse": data.Code}}, nil
}

// parseEventgrid reads a batch. One event of a wrong shape costs only itself.
func parseEventgrid(r request) ([]Item, error) {
	events, err := r.gridEvents()
	if err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(events))
	for _, e := range events {
		items = append(items, r.judge(r.gridClaim(e)))
	}
	return items, nil
}

// gridEvents reads an array of events, or one that stands by itself, as
// structured CloudEvents do.
func (r request) gridEvents() ([]gridEvent, error) {
	body := bytes.TrimLeft(r.body, " \t\r\n")
	if len(body) == 0 || body[0] != '[' {
		var e gridEvent
		err := decodeObject(body, &e)
		e.raw = body
		return []gridEvent{e}, err
	}
	raws, err := decodeArray(body)
	if err != nil {
		return nil, err
	}
	events := make([]gridEvent, 0, len(raws))
	for _, raw := range raws {
		var e gridEvent
		if decodeObject(raw, &e) != nil {
			e = gridEvent{malformed: true}
		}
		e.raw = raw
		events = append(events, e)
	}
	return events, nil
}

func (r request) gridClaim(e gridEvent) claim {
	if e.malformed {
		return claim{ignored: ReasonMalformed, key: contentKey("event", string(e.raw))}
	}
	action, ignored := e.action()
	var inner acrEvent
	if err := decodeObject(e.Data, &inner); err != nil {
		inner = acrEvent{}
		if ignored == "" {
			ignored = ReasonMalformed
		}
	}
	c := inner.claim()
	c.action, c.ignored, c.eventID = action, ignored, e.ID
	if c.host == "" {
		c.host = r.azureHost(e.resource())
	}
	if c.occurredAt.IsZero() {
		c.occurredAt = e.time()
	}
	c.key = e.key(c)
	return c
}

// action translates the types, which old subscriptions get without the
// service's name.
func (e gridEvent) action() (action Action, ignored string) {
	const service = "microsoft.containerregistry."
	name := e.Type
	if name == "" {
		name = e.EventType
	}
	switch strings.TrimPrefix(strings.ToLower(name), service) {
	case "imagepushed":
		return ActionPush, ""
	case "imagedeleted":
		return ActionDelete, ""
	case "chartpushed", "chartdeleted":
		return Action(name), ReasonChart
	}
	if hasAnyPrefix(strings.ToLower(name), "microsoft.eventgrid.") {
		return Action(name), ReasonOtherEvent
	}
	return Action(name), ReasonUnknownEvent
}

func (e gridEvent) is(eventType string) bool {
	return strings.EqualFold(e.EventType, eventType) || strings.EqualFold(e.Type, eventType)
}

// resource is the name of the registry in Azure, the last part of the id of the
// resource the event comes from.
func (e gridEvent) resource() string {
	id := e.Topic
	if id == "" {
		id = e.Source
	}
	return id[strings.LastIndexByte(id, '/')+1:]
}

// azureHost stands in for the host that chart events lack: nothing when the
// resource is the endpoint's registry by the name in its host, else the host
// another registry of that name has.
func (r request) azureHost(resource string) string {
	name := strings.ToLower(resource)
	for _, host := range append([]string{r.endpoint.Host}, r.endpoint.Aliases...) {
		if label, _, _ := strings.Cut(strings.ToLower(host), "."); name == "" || label == name {
			return ""
		}
	}
	return name + ".azurecr.io"
}

// time is when the event was made, a moment after what it tells happened.
func (e gridEvent) time() time.Time {
	if t := parseTime(e.EventTime); !t.IsZero() {
		return t
	}
	return parseTime(e.Time)
}

// key is the event's id, which every further try repeats.
func (e gridEvent) key(c claim) string {
	if e.ID != "" || c.occurredAt.IsZero() {
		return idKey(e.ID)
	}
	return contentKey("event", string(c.action), c.repository, c.tag, c.digest, c.occurredAt.UTC().Format(time.RFC3339Nano))
}
