package webhook

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/httpserver"
)

// Captured is a request as it was recorded somewhere, to be judged again.
type Captured struct {
	Method string
	// Target is the path and the query, as in the request line. Whatever its path
	// is, only what an endpoint of kind path has behind its name is read of it.
	Target string
	Header http.Header
	Body   []byte
	// At is when the request arrived; the zero time is now, and then nothing is
	// refused for the age the request has by itself.
	At time.Time
}

// The verdicts of Check.
const (
	VerdictEvents    = "events"    // at least one event asks for work
	VerdictIgnored   = "ignored"   // understood, and nothing to do
	VerdictRejected  = "rejected"  // refused
	VerdictHandshake = "handshake" // the sender only asks whether we want its events
)

// reasonNoEvents is the reason of a request without any event.
const reasonNoEvents = "no_events"

// Verdict is what an endpoint would answer to a request, and what it would do.
type Verdict struct {
	Verdict string `json:"verdict"`
	Status  int    `json:"status"`
	// Reason is why nothing is done: of an ignored event one of Reasons, of a
	// rejected request its kind of error.
	Reason string `json:"reason"`
	// Detail is what the sender is told; empty when there is nothing to say.
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
	// Events are those that ask for work, Ignored the others.
	Events  []CheckedEvent `json:"events"`
	Ignored []CheckedEvent `json:"ignored,omitempty"`
	// Answer is the body of a handshake's answer.
	Answer any `json:"answer,omitempty"`
}

// CheckedEvent is an event as Check shows it.
type CheckedEvent struct {
	Action string `json:"action"`
	// Registry is the host the event is about: the endpoint's, or the one that an
	// ignored event named.
	Registry   string    `json:"registry"`
	Repository string    `json:"repository"`
	Tag        string    `json:"tag"`
	Digest     string    `json:"digest"`
	Flags      []string  `json:"flags"`
	Reason     string    `json:"reason,omitempty"`
	MediaType  string    `json:"media_type,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	EventID    string    `json:"event_id,omitempty"`
	OccurredAt time.Time `json:"occurred_at"`
	DedupeKey  string    `json:"dedupe_key"`
}

// Check judges a captured request as the endpoint would, without storing
// anything. Keys may be nil: then nothing is fetched, and no subscription is
// confirmed. The error is of kind Invalid when the endpoint or the target of the
// request is not valid.
func Check(ctx context.Context, e Endpoint, c Captured, keys Keys) (Verdict, error) {
	if err := e.Validate(); err != nil {
		return Verdict{}, err
	}
	target, err := url.ParseRequestURI(c.Target)
	if err != nil {
		return Verdict{}, errs.New(errs.Invalid, "webhook: %.200q is not the target of a request", c.Target)
	}
	d := newDoor(e, keys)
	r := request{
		endpoint: e, method: c.Method, query: target.Query(), header: c.Header, body: c.Body,
		received: c.At, replayed: c.At.IsZero(), keys: d.keys,
	}
	if e.Auth.Kind == AuthPath {
		r.rest = target.Path[strings.LastIndexByte(target.Path, '/')+1:]
	}
	if r.replayed {
		r.received = time.Now()
	}
	return d.verdict(ctx, r), nil
}

func (d door) verdict(ctx context.Context, r request) Verdict {
	if !d.format.takes(r.method) {
		return Verdict{
			Verdict: VerdictRejected, Status: http.StatusMethodNotAllowed, Reason: reasonMethod,
			Detail: "the sender calls with " + strings.Join(d.format.accepted(), " or "), Events: []CheckedEvent{},
		}
	}
	read, err := d.readBounded(ctx, r)
	switch {
	case err != nil:
		return rejection(err)
	case read.greeting != nil:
		return Verdict{
			Verdict: VerdictHandshake, Status: read.greeting.status(), Reason: read.greeting.Reason,
			Answer: read.greeting.Body, Events: []CheckedEvent{},
		}
	}
	return d.judged(read.items)
}

// readBounded does to a body that is there already what the handler does while
// it reads: the credential first where it can be, then the size.
func (d door) readBounded(ctx context.Context, r request) (reading, error) {
	if !d.Auth.needsBody() {
		if err := d.format.verify(ctx, r); err != nil {
			return reading{}, err
		}
	}
	if int64(len(r.body)) > d.maxBody() {
		return reading{}, bodyTooLarge(d.maxBody())
	}
	return d.read(ctx, r)
}

func rejection(err error) Verdict {
	p := httpserver.ProblemOf(err)
	return Verdict{
		Verdict: VerdictRejected, Status: p.Status, Reason: string(p.Kind), Detail: p.Detail, Hint: p.Hint, Events: []CheckedEvent{},
	}
}

func (d door) judged(items []Item) Verdict {
	v := Verdict{Verdict: VerdictIgnored, Status: http.StatusAccepted, Reason: reasonNoEvents, Events: []CheckedEvent{}}
	for _, item := range items {
		if item.Ignored == "" {
			v.Events = append(v.Events, d.checked(item))
		} else {
			v.Ignored = append(v.Ignored, d.checked(item))
		}
	}
	switch {
	case len(v.Events) > 0:
		v.Verdict, v.Reason = VerdictEvents, ""
	case len(v.Ignored) > 0:
		v.Reason = v.Ignored[0].Reason
	}
	return v
}

func (d door) checked(item Item) CheckedEvent {
	e := item.Event
	c := CheckedEvent{
		Action: string(e.Action), Registry: d.canonicalHost(), Repository: e.Repository, Tag: e.Tag, Digest: string(e.Digest),
		Flags: e.Flags, Reason: item.Ignored, MediaType: e.MediaType, Actor: e.Actor, EventID: e.EventID,
		OccurredAt: e.OccurredAt, DedupeKey: item.DedupeKey,
	}
	if item.Ignored == ReasonOtherRegistry {
		c.Registry = e.Host
	}
	if c.Flags == nil {
		c.Flags = []string{}
	}
	return c
}
