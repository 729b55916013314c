package report

import (
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// EventKind is what became of a finding of a repository.
type EventKind string

// The kinds of event.
const (
	EventOpened       EventKind = "opened"
	EventClosed       EventKind = "closed" // no live tag has it any more
	EventReopened     EventKind = "reopened"
	EventEscalated    EventKind = "escalated"
	EventFixAvailable EventKind = "fix_available"
)

// EventKinds lists every kind of event.
func EventKinds() []EventKind {
	return []EventKind{EventOpened, EventClosed, EventReopened, EventEscalated, EventFixAvailable}
}

// ParseEventKind reads a kind of event. The error is of kind Invalid.
func ParseEventKind(s string) (EventKind, error) {
	if slices.Contains(EventKinds(), EventKind(s)) {
		return EventKind(s), nil
	}
	return "", errs.New(errs.Invalid, "kind %.40q is not opened, closed, reopened, escalated or fix_available", s).WithField("kind")
}

// EventCause is what brought an event about.
type EventCause string

// The causes of events.
const (
	CausePush      EventCause = "push"
	CauseDelete    EventCause = "delete"
	CauseBuild     EventCause = "build" // another vulnerability database
	CauseException EventCause = "exception"
)

// ParseEventCause reads a cause. The error is of kind Invalid.
func ParseEventCause(s string) (EventCause, error) {
	switch c := EventCause(s); c {
	case CausePush, CauseDelete, CauseBuild, CauseException:
		return c, nil
	}
	return "", errs.New(errs.Invalid, "cause %.40q is not push, delete, build or exception", s).WithField("cause")
}

// EventFilter narrows a listing of events; zero fields match all.
type EventFilter struct {
	Registry      string         // configured name
	Repository    *RepositoryRef // nil for all
	Kinds         []EventKind
	Causes        []EventCause
	Severities    []vuln.Severity
	MinSeverity   vuln.Severity
	Package       string // name
	Vulnerability string // any of its names
	Since         time.Time
	Until         time.Time // not included
}

// PackageName names a package whatever its version.
type PackageName struct {
	Type string `json:"type"`
	Name string `json:"name"`
}

// FindingEvent is one change of what the live tags of a repository have. A
// vulnerability in a package of that name counts once, in however many versions
// and images it is.
type FindingEvent struct {
	ID            int64         `json:"id"`
	OccurredAt    time.Time     `json:"occurred_at"`
	Registry      string        `json:"registry"`   // the configured name
	Repository    string        `json:"repository"` // "host/name"
	Kind          EventKind     `json:"kind"`
	Cause         EventCause    `json:"cause"`
	Package       PackageName   `json:"package"`
	Vulnerability string        `json:"vulnerability"` // canonical name
	Severity      vuln.Severity `json:"severity"`      // from then on; of what closed, until then
	// Escalation is why an escalated finding is; nil for other kinds, and for
	// events from before it was kept.
	Escalation *Escalation `json:"escalation"`
	// ScanID, Tag and Digest are of the scan that found out; they are missing when
	// a build is the cause, and when the scan was collected.
	ScanID *int64       `json:"scan_id,omitempty"`
	Tag    string       `json:"tag,omitempty"`
	Digest image.Digest `json:"digest,omitempty"`
	// Build is the checksum of the database it was found with.
	Build string `json:"build,omitempty"`
}

// Escalation is why a finding escalated; at least one of its parts is set.
type Escalation struct {
	SeverityFrom   vuln.Severity `json:"severity_from,omitempty"` // it was before
	KnownExploited bool          `json:"known_exploited"`         // it became so
	// EPSSTo is the estimate that went over the threshold, EPSSFrom the one before;
	// nil when there was none.
	EPSSFrom *float64 `json:"epss_from"`
	EPSSTo   *float64 `json:"epss_to"`
}
