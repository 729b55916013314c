package webhook

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// cloudEvent holds what we use of a CloudEvent (CloudEvents 1.0, "Context
// Attributes"). None of it is believed yet.
type cloudEvent struct {
	ID      string
	Source  string
	Type    string
	Subject string
	Time    string
	// Data is JSON; nil when the event has none, or none that is JSON.
	Data json.RawMessage
	// Malformed is true for an event of a batch that has the wrong shape; then
	// only Raw is set.
	Malformed bool
	// Raw is the event as it came in a structured or batched body.
	Raw json.RawMessage
}

// cloudEvents reads the events of a request, whichever of the three content
// modes it is in (CloudEvents HTTP binding 1.0, section 3): the media types of
// CloudEvents say structured or batch, Ce- headers say binary. Many senders say
// application/json for all of them, so a body with specversion counts as
// structured and an array as a batch. A body that is none of these is the data
// of one event without attributes.
//
// The errors are those of decodeObject. A signature covers the body alone, so
// the headers of a signed request say nothing.
func (r request) cloudEvents() ([]cloudEvent, error) {
	trimmed := bytes.TrimLeft(r.body, " \t\r\n")
	if len(trimmed) > 0 && trimmed[0] == '[' {
		return r.batchedEvents()
	}
	mediaType := strings.ToLower(r.header.Get("Content-Type"))
	if !strings.HasPrefix(mediaType, "application/cloudevents") && r.isBinaryEvent() {
		e, err := r.binaryEvent()
		return []cloudEvent{e}, err
	}
	var required struct { // in every CloudEvent
		SpecVersion json.RawMessage `json:"specversion"`
		Type        json.RawMessage `json:"type"`
	}
	if err := decodeObject(r.body, &required); err != nil {
		return nil, err
	}
	if required.SpecVersion == nil && required.Type == nil {
		return []cloudEvent{{Data: r.body, Raw: r.body}}, nil
	}
	var e structuredEvent
	err := decode(r.body, &e)
	return []cloudEvent{e.event(r.body)}, err
}

func (r request) isBinaryEvent() bool {
	return !r.endpoint.Auth.isHMAC() && (r.header.Get("Ce-Type") != "" || r.header.Get("Ce-Specversion") != "")
}

// structuredEvent is an event in the JSON format (CloudEvents JSON event format
// 1.0, section 3).
type structuredEvent struct {
	ID      string          `json:"id"`
	Source  string          `json:"source"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Time    string          `json:"time"`
	Data    json.RawMessage `json:"data"`
	Base64  string          `json:"data_base64"`
}

func (s structuredEvent) event(raw []byte) cloudEvent {
	e := cloudEvent{ID: s.ID, Source: s.Source, Type: s.Type, Subject: s.Subject, Time: s.Time, Data: s.Data, Raw: raw}
	if decoded, err := base64.StdEncoding.DecodeString(s.Base64); e.Data == nil && err == nil && json.Valid(decoded) {
		e.Data = decoded
	}
	return e
}

// batchedEvents reads an array. One event of a wrong shape costs only itself.
func (r request) batchedEvents() ([]cloudEvent, error) {
	raws, err := decodeArray(r.body)
	if err != nil {
		return nil, err
	}
	events := make([]cloudEvent, 0, len(raws))
	for _, raw := range raws {
		var s structuredEvent
		if err := decodeObject(raw, &s); err != nil {
			events = append(events, cloudEvent{Malformed: true, Raw: raw})
			continue
		}
		events = append(events, s.event(raw))
	}
	return events, nil
}

// decodeArray reads a body that is an array of events without looking into
// them. The errors are those of decodeObject.
func decodeArray(body []byte) ([]json.RawMessage, error) {
	if tooDeep(body) {
		return nil, errs.New(errs.Invalid, "webhook: the body nests deeper than %d", maxDepth)
	}
	var raws []json.RawMessage
	if err := decode(body, &raws); err != nil {
		return nil, err
	}
	if len(raws) > maxEvents {
		return nil, errs.New(errs.Malformed, "webhook: the body holds %d events, more than %d", len(raws), maxEvents).
			WithHint("send them in smaller requests")
	}
	return raws, nil
}

// binaryEvent reads the attributes from headers. One that is given twice is
// refused: a proxy and we might read different ones.
func (r request) binaryEvent() (cloudEvent, error) {
	e := cloudEvent{}
	for name, attribute := range map[string]*string{
		"Ce-Id": &e.ID, "Ce-Source": &e.Source, "Ce-Type": &e.Type, "Ce-Subject": &e.Subject, "Ce-Time": &e.Time,
	} {
		values := r.header.Values(name)
		if len(values) > 1 {
			return cloudEvent{}, errs.New(errs.Malformed, "webhook: header %s is given more than once", name)
		}
		if len(values) == 1 {
			*attribute = ceValue(values[0])
		}
	}
	if len(bytes.TrimSpace(r.body)) == 0 {
		return e, nil
	}
	var object map[string]json.RawMessage
	if err := decodeObject(r.body, &object); err != nil {
		return cloudEvent{}, err
	}
	e.Data = r.body
	return e, nil
}

// ceValue undoes what makes an attribute fit for a header: quotes, then percent
// encoding (CloudEvents HTTP binding 1.0, section 3.1.3.2). What is not encoded
// properly stands for itself.
func ceValue(s string) string {
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		s = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(s[1 : len(s)-1])
	}
	if decoded, err := url.PathUnescape(s); err == nil {
		return decoded
	}
	return s
}

// key tells deliveries of the event apart: the id is only unique within its
// source (CloudEvents 1.0, "id"). Without an id there is none.
func (e cloudEvent) key() string {
	switch {
	case e.Malformed:
		return contentKey("event", string(e.Raw))
	case e.ID == "" || e.Source == "":
		return idKey(e.ID)
	}
	return contentKey("id", e.Source, e.ID)
}

// into reads the data. The error is of kind Malformed when there is none or it
// has another shape.
func (e cloudEvent) into(v any) error {
	if len(e.Data) == 0 {
		return errs.New(errs.Malformed, "webhook: the event has no data that is JSON")
	}
	return decodeObject(e.Data, v)
}

// judgeEvents reads the events of a request with read and judges them. Attributes
// every event has need not be in what read returns. One event of a batch that
// read refuses costs only itself; alone it refuses the request.
func (r request) judgeEvents(read func(cloudEvent) (claim, error)) ([]Item, error) {
	events, err := r.cloudEvents()
	if err != nil {
		return nil, err
	}
	items := make([]Item, 0, len(events))
	for _, e := range events {
		c, err := claim{ignored: ReasonMalformed}, error(nil)
		if !e.Malformed {
			c, err = read(e)
		}
		switch {
		case err != nil && len(events) == 1:
			return nil, err
		case err != nil:
			c = claim{action: Action(e.Type), ignored: ReasonMalformed}
		}
		c.eventID, c.key = cmp.Or(c.eventID, e.ID), cmp.Or(c.key, e.key())
		if c.occurredAt.IsZero() {
			c.occurredAt = parseTime(e.Time)
		}
		items = append(items, r.judge(c))
	}
	return items, nil
}

// maxOrigin bounds what of a request is sent back in a header; origins are host
// names.
const maxOrigin = 256

// greetOrigin answers the OPTIONS request by which a sender asks whether we want
// its events (CloudEvents HTTP webhook 1.0, section 4): we do, at any rate. The
// address for a later answer is not visited, since this is the answer. It
// returns nil for a request of another method.
func greetOrigin(r request) (*Greeting, error) {
	if r.method != http.MethodOptions {
		return nil, nil
	}
	origin := r.header.Get("WebHook-Request-Origin")
	if origin == "" || len(origin) > maxOrigin || strings.ContainsFunc(origin, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, errs.New(errs.Malformed, "webhook: header WebHook-Request-Origin is missing or no host name")
	}
	header := http.Header{}
	header.Set("Allow", "POST, OPTIONS")
	header.Set("WebHook-Allowed-Origin", origin)
	header.Set("WebHook-Allowed-Rate", "*")
	return &Greeting{Reason: "abuse_protection", Header: header}, nil
}
