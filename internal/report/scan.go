package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// RunState is where a scan stands.
type RunState string

// The states of a scan. One that will be tried again is queued.
const (
	RunQueued   RunState = "queued"
	RunRunning  RunState = "running"
	RunDone     RunState = "done"
	RunFailed   RunState = "failed"
	RunCanceled RunState = "canceled"
)

// Final reports whether the scan is over.
func (s RunState) Final() bool { return s != RunQueued && s != RunRunning }

// ParseRunState reads a state; the empty string stays empty. The error is of
// kind Invalid.
func ParseRunState(s string) (RunState, error) {
	switch state := RunState(s); state {
	case "", RunQueued, RunRunning, RunDone, RunFailed, RunCanceled:
		return state, nil
	}
	return "", errs.New(errs.Invalid, "state %.40q is not queued, running, done, failed or canceled", s).WithField("state")
}

// ScanFilter narrows a listing of scans; zero fields match all.
type ScanFilter struct {
	Repository *RepositoryRef
	State      RunState
}

// ScanState is a scan in short.
type ScanState struct {
	ID     int64    `json:"id"`
	State  RunState `json:"state"`
	Reason string   `json:"reason,omitempty"` // error kind of the last attempt
	Detail string   `json:"detail,omitempty"` // the same in words
	// CanceledBy is who wanted it canceled; empty for every other scan.
	CanceledBy string    `json:"canceled_by,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	// Progress is how far a scan is that runs, or was when it was canceled; nil
	// before its first second is over, and for all others.
	Progress *Progress `json:"progress,omitempty"`
}

// Scan is one run, newest attempt.
type Scan struct {
	ScanState
	Registry   string       `json:"registry"`
	Repository string       `json:"repository"` // "host/name"
	Tag        string       `json:"tag,omitempty"`
	Digest     image.Digest `json:"digest,omitempty"` // as the event said
	Cause      string       `json:"cause"`
	// Lane is what it goes ahead of: "waiting" before "push" before "rescan" before
	// "backfill".
	Lane    string `json:"lane"`
	Attempt int    `json:"attempt"`
	// Resolved is what the target turned out to be; empty until then.
	Resolved image.Digest `json:"resolved,omitempty"`
	// RunAfter is when a queued scan is due.
	RunAfter    time.Time  `json:"run_after"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
	Phases      []Phase    `json:"phases"`
	PulledBytes int64      `json:"pulled_bytes"`
}

// Phase is one timed step of a scan.
type Phase struct {
	Name     string  `json:"name"`
	Platform string  `json:"platform,omitempty"`
	Seconds  float64 `json:"seconds"`
	// Bytes that the step worked on; packages for the step "match".
	Bytes int64 `json:"bytes"`
}

// DeliveryFilter narrows a listing of deliveries; empty fields match all.
type DeliveryFilter struct {
	Registry string // configured name
	Verdict  string // "accepted" or "ignored"
}

// Delivery is one event a sender told us.
type Delivery struct {
	ID         int64     `json:"id"`
	Registry   string    `json:"registry"`
	ReceivedAt time.Time `json:"received_at"`
	Verdict    string    `json:"verdict"`
	Reason     string    `json:"reason,omitempty"` // why it is ignored
	Action     string    `json:"action,omitempty"`
	// NamedHost is the registry host that the event named; empty when it named
	// none.
	NamedHost string `json:"named_host,omitempty"`
	// Repository is "host/name"; the host is the registry's own, or for an event
	// that is ignored as another registry's the one it named.
	Repository string       `json:"repository,omitempty"`
	Tag        string       `json:"tag,omitempty"`
	Digest     image.Digest `json:"digest,omitempty"`
	Actor      string       `json:"actor,omitempty"`
	EventID    string       `json:"event_id,omitempty"` // the sender's
	OccurredAt *time.Time   `json:"occurred_at,omitempty"`
	ScanID     *int64       `json:"scan_id,omitempty"`
	Duplicates int          `json:"duplicates"` // how often it came again
}
