package report

import "time"

// Endpoint tells how the webhook of a registry fares, from what it stored.
type Endpoint struct {
	// Configured is false for one that is no longer in the configuration.
	Configured bool `json:"configured"`
	// LastDeliveryAt is when an event was last stored; nil when none ever was.
	LastDeliveryAt *time.Time `json:"last_delivery_at"`
	// GapSeconds is the time since then.
	GapSeconds *int64 `json:"gap_seconds"`
	// Pace is how often it is heard usually; nil while nothing was stored.
	Pace *Pace `json:"pace"`
	// Silence judges the present gap by the pace; Silent is true when it is far
	// beyond what is usual.
	Silence Silence `json:"silence"`
	Silent  bool    `json:"silent"`
	// Events are those of the window.
	Events EventCounts `json:"events"`
	// Rejected are the requests of the window, in whole hours, that were refused
	// or could not be stored.
	Rejected Rejected `json:"rejected"`
	// LastIgnored and LastRejected are the newest, at most ten.
	LastIgnored  []Delivery  `json:"last_ignored"`
	LastRejected []Rejection `json:"last_rejected"`
}

// EventCounts count events that were stored.
type EventCounts struct {
	// Received is all that came: accepted, ignored and those that came again.
	Received   int           `json:"received"`
	Accepted   int           `json:"accepted"`
	Ignored    int           `json:"ignored"`
	Duplicates int           `json:"duplicates"` // of events that came first within the window
	Reasons    []ReasonCount `json:"ignored_reasons"`
}

// ReasonCount counts what happened for one reason.
type ReasonCount struct {
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Rejected counts requests that were refused or could not be stored.
type Rejected struct {
	Requests int             `json:"requests"`
	LastAt   *time.Time      `json:"last_at"`
	Reasons  []RejectedCount `json:"reasons"`
}

// RejectedCount counts rejected requests of one status and reason.
type RejectedCount struct {
	Status int    `json:"status"`
	Reason string `json:"reason"`
	Count  int    `json:"count"`
}

// Rejection is one rejected request.
type Rejection struct {
	At     time.Time `json:"at"`
	Status int       `json:"status"` // the HTTP status it was answered with
	Reason string    `json:"reason"`
	Detail string    `json:"detail,omitempty"` // what the sender was told
}

// Silence is what can be said of an endpoint that is not heard.
type Silence string

// The judgements of a gap.
const (
	SilenceUsual Silence = "usual"
	SilenceAlarm Silence = "silent"
	// SilenceUnknown: too little was heard to know what is usual.
	SilenceUnknown Silence = "unknown"
)

// What makes a pace, and what it takes to judge by it.
const (
	// PaceWindow is how far back from the last delivery the pace is measured.
	// A week holds one weekend.
	PaceWindow = 7 * 24 * time.Hour
	// BurstLength is within how long of its first delivery all others are of the
	// same burst: gaps are between bursts, or a push of many layers and tags would
	// make every night an alarm.
	BurstLength = 5 * time.Minute
	// leastBursts and leastHistory are what must have been heard before a gap is
	// judged.
	leastBursts  = 20
	leastHistory = PaceWindow
	// A gap is an alarm when it is alarmFactor times the longest of the window,
	// and never below leastAlarm.
	alarmFactor = 1.5
	leastAlarm  = time.Hour
)

// Pace is how an endpoint was heard in the week before its last delivery.
type Pace struct {
	// Bursts counts deliveries, those within five minutes as one.
	Bursts int `json:"bursts"`
	// The gaps between bursts; zero with less than two.
	MedianGapSeconds  int64 `json:"median_gap_seconds"`
	P95GapSeconds     int64 `json:"p95_gap_seconds"`
	LongestGapSeconds int64 `json:"longest_gap_seconds"`
	// AlarmAfterSeconds is the gap that counts as silence; nil while too little is
	// known.
	AlarmAfterSeconds *int64 `json:"alarm_after_seconds"`
}

// NewPace makes a pace of what was measured. history is the time from the first
// delivery there ever was to the last.
func NewPace(bursts int, median, p95, longest, history time.Duration) Pace {
	p := Pace{Bursts: bursts, MedianGapSeconds: seconds(median), P95GapSeconds: seconds(p95), LongestGapSeconds: seconds(longest)}
	if bursts >= leastBursts && history >= leastHistory {
		alarm := seconds(max(time.Duration(float64(longest)*alarmFactor), leastAlarm))
		p.AlarmAfterSeconds = &alarm
	}
	return p
}

// Judge says whether a gap is far beyond the pace.
func (p Pace) Judge(gap time.Duration) Silence {
	switch {
	case p.AlarmAfterSeconds == nil:
		return SilenceUnknown
	case seconds(gap) > *p.AlarmAfterSeconds:
		return SilenceAlarm
	}
	return SilenceUsual
}

// Hear fills in what follows from the last delivery and the pace.
func (e *Endpoint) Hear(now time.Time, last *time.Time, pace Pace) {
	e.Silence = SilenceUnknown
	if last == nil {
		return
	}
	gap := max(now.Sub(*last), 0)
	whole := seconds(gap)
	e.LastDeliveryAt, e.GapSeconds, e.Pace = last, &whole, &pace
	e.Silence = pace.Judge(gap)
	e.Silent = e.Silence == SilenceAlarm
}

func seconds(d time.Duration) int64 { return int64(d.Round(time.Second) / time.Second) }
