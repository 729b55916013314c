package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// The steps until something is queued: registry, endpoint, what was refused
// there, what arrived.

func (f TraceFacts) registrySteps() []TraceStep {
	if f.Configured {
		return nil
	}
	return []TraceStep{{What: AboutRegistry, Mood: Trouble, Text: fmt.Sprintf("no registry is configured for host %s", f.Host)}}
}

func (f TraceFacts) endpointSteps() []TraceStep {
	e := f.Endpoint
	if e == nil {
		return nil
	}
	step := TraceStep{What: AboutEndpoint, At: e.LastDeliveryAt, Mood: Trouble, State: string(e.Silence)}
	switch {
	case e.LastDeliveryAt == nil && !e.Configured:
		step.Text = fmt.Sprintf("registry %s has no webhook in the configuration, so nobody tells of its pushes", f.Target.Registry)
	case e.LastDeliveryAt == nil:
		step.Text = fmt.Sprintf("the endpoint /webhooks/%s has never heard from its registry", f.Target.Registry)
	case !e.Configured:
		step.Text = fmt.Sprintf("registry %s has no webhook in the configuration any more; its endpoint was last heard %s", f.Target.Registry, ago(f.Now.Sub(*e.LastDeliveryAt)))
	case e.Silence == SilenceAlarm:
		step.Text = fmt.Sprintf("the endpoint last heard from its registry %s, which is far longer than usual", ago(f.Now.Sub(*e.LastDeliveryAt)))
	default:
		step.Mood, step.Text = Fine, "the endpoint last heard from its registry "+ago(f.Now.Sub(*e.LastDeliveryAt))
	}
	// Who has the answer need not care how it came.
	if step.Mood == Trouble && f.Scan != nil {
		step.Mood = Note
	}
	return []TraceStep{step}
}

// refusals say what a status means for who sends.
var refusals = map[int]string{
	400: "the body was empty, cut off or no JSON",
	401: "the secret may be wrong",
	403: "the sender may not be who it should be",
	405: "the sender does not use POST",
	413: "the body was larger than limits.webhook_body",
	422: "the sender may not send the configured format",
	429: "there were too many at once",
	503: "they could not be stored; a sender that does not try again has lost them",
	504: "the body took too long to arrive",
}

// rejectedSteps tells of requests that the endpoint refused: of the last hour,
// or where there are none of the last day.
func (f TraceFacts) rejectedSteps() []TraceStep {
	if f.Endpoint == nil {
		return nil
	}
	since, words := time.Hour, "hour"
	if !slices.ContainsFunc(f.Endpoint.Rejected, func(r Rejection) bool { return f.Now.Sub(r.At) <= since }) {
		since, words = 24*time.Hour, "24 hours"
	}
	var steps []TraceStep
	for _, r := range f.Endpoint.Rejected {
		if f.Now.Sub(r.At) > since {
			continue
		}
		i := slices.IndexFunc(steps, func(s TraceStep) bool { return s.State == fmt.Sprint(r.Status) })
		if i < 0 {
			at, n := r.At, 0
			steps = append(steps, TraceStep{What: AboutRejected, At: &at, Mood: Note, State: fmt.Sprint(r.Status), Reason: r.Reason, Count: &n})
			i = len(steps) - 1
		}
		*steps[i].Count++
	}
	for i, s := range steps {
		var status int
		_, _ = fmt.Sscan(s.State, &status) // it was printed from a number
		steps[i].Text = fmt.Sprintf("%s with %s in the last %s: %s", wereRefused(*s.Count), s.State, words, cmp.Or(refusals[status], s.Reason))
		if f.blames(*s.At) {
			steps[i].Mood = Trouble
		}
	}
	if n := f.Endpoint.NoEndpoint; n > 0 && f.unheard() {
		steps = append(steps, TraceStep{What: AboutRejected, Mood: Note, State: "404", Reason: "not_found", Count: &n,
			Text: fmt.Sprintf("in the last 24 hours %s to addresses below /webhooks/ that are no endpoint: the URL of a sender may be misspelt", wereSent(n))})
	}
	return steps
}

// wereRefused begins a sentence about rejected requests. Only about a hundred
// are kept.
func wereRefused(n int) string {
	switch {
	case n == 1:
		return "1 request to the endpoint was refused"
	case n >= 100:
		return "100 requests or more to the endpoint were refused"
	}
	return fmt.Sprintf("%d requests to the endpoint were refused", n)
}

func wereSent(n int) string {
	if n == 1 {
		return "1 request was sent"
	}
	return fmt.Sprintf("%d requests were sent", n)
}

// unheard reports that nobody told of the target.
func (f TraceFacts) unheard() bool { return len(f.Deliveries) == 0 && f.Scan == nil }

// blames reports whether a rejected request may have been the push: nothing told
// of the target, and the endpoint has stored nothing since.
func (f TraceFacts) blames(at time.Time) bool {
	last := f.Endpoint.LastDeliveryAt
	return f.unheard() && (last == nil || last.Before(at))
}

// shownDeliveries is how many of the newest deliveries are told.
const shownDeliveries = 3

func (f TraceFacts) deliverySteps() []TraceStep {
	var steps []TraceStep
	for _, d := range f.Deliveries[:min(len(f.Deliveries), shownDeliveries)] {
		steps = append(steps, deliveryStep(d))
	}
	slices.Reverse(steps)
	switch {
	case len(steps) > 0:
	case f.Target.Registry != UploadRegistry:
		steps = append(steps, f.noDelivery())
	case f.Scan == nil:
		steps = append(steps, TraceStep{What: AboutDelivery, Mood: Trouble, Text: "nothing was uploaded under this name"})
	}
	if d := f.Elsewhere; d != nil && len(f.Deliveries) == 0 {
		at, id := d.ReceivedAt, d.ID
		steps = append(steps, TraceStep{What: AboutDelivery, At: &at, Mood: Trouble, State: d.Verdict, Reason: d.Reason, DeliveryID: &id,
			Text: fmt.Sprintf("an event that names this repository came to the endpoint of registry %s and was ignored: that registry has no such host", d.Registry)})
	}
	return steps
}

func deliveryStep(d Delivery) TraceStep {
	at, id := d.ReceivedAt, d.ID
	step := TraceStep{What: AboutDelivery, At: &at, Mood: Fine, State: d.Verdict, Reason: d.Reason, Digest: d.Digest, DeliveryID: &id}
	action := "a push"
	if d.Action == "delete" {
		action = "a delete"
	}
	step.Text = fmt.Sprintf("the webhook told of %s of %s", action, pushed(d))
	if d.Verdict == "ignored" {
		step.Mood, step.Text = Trouble, "the webhook told of an event that was ignored: "+d.whyIgnored()
	}
	if d.Actor != "" {
		step.Text += ", by " + d.Actor
	}
	if d.Duplicates > 0 {
		step.Text += fmt.Sprintf("; it came again %s", times(d.Duplicates))
	}
	return step
}

// whyIgnored says why an event was ignored, with the host that is not ours.
func (d Delivery) whyIgnored() string {
	words, _ := IgnoredWords(d.Reason)
	if d.Reason == otherRegistry && d.NamedHost != "" {
		return fmt.Sprintf("it names the host %s, which is not one of this registry's", d.NamedHost)
	}
	return words
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// pushed is what a delivery is about.
func pushed(d Delivery) string {
	switch {
	case d.Tag != "" && d.Digest != "":
		return d.Tag + " at " + short(d.Digest)
	case d.Tag != "":
		return d.Tag
	}
	return short(d.Digest)
}

func (f TraceFacts) noDelivery() TraceStep {
	step := TraceStep{What: AboutDelivery, Mood: Trouble, Text: "no webhook told of this repository"}
	if d := f.Neighbour; d != nil {
		at := d.ReceivedAt
		step.At = &at
		step.Text = fmt.Sprintf("no webhook told of %s; the last about this repository was of %s, %s", f.named(), pushed(*d), ago(f.Now.Sub(at)))
	}
	if f.Scan != nil || f.Image != nil {
		step.Mood = Note
	}
	return step
}

// named is the tag or digest that was asked for.
func (f TraceFacts) named() string {
	if f.Target.Digest != "" {
		return short(f.Target.Digest)
	}
	return "tag " + f.Target.Tag
}
