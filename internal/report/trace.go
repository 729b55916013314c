package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Trace is the way of one image from the push to its answer, in words: "I pushed,
// where is it?".
type Trace struct {
	Reference  string       `json:"reference"`          // "host/name:tag" or "host/name@digest", as it was asked for
	Registry   string       `json:"registry,omitempty"` // the configured name; empty when no registry has the host
	Repository string       `json:"repository"`         // "host/name"
	Tag        string       `json:"tag,omitempty"`
	Digest     image.Digest `json:"digest,omitempty"` // empty until the tag was resolved
	At         time.Time    `json:"at"`
	// Outcome is the conclusion in one word, Answered whether it is an answer that
	// holds now.
	Outcome  Outcome `json:"outcome"`
	Answered bool    `json:"answered"`
	// Conclusion says it in a sentence, NextStep what to do about it; empty when
	// there is nothing to do.
	Conclusion string      `json:"conclusion"`
	NextStep   string      `json:"next_step,omitempty"`
	Steps      []TraceStep `json:"steps"`
	// Assessment is the answer that stands, if only of the push before; nil when
	// there is none.
	Assessment *Assessment `json:"assessment"`
	Build      *Build      `json:"build"`
}

// Outcome is what a trace came to, in one word.
type Outcome string

// The outcomes.
const (
	OutcomeAnswered    Outcome = "answered"
	OutcomePending     Outcome = "pending" // queued, held, or being scanned
	OutcomeFailed      Outcome = "failed"
	OutcomeCanceled    Outcome = "canceled" // by somebody, and nobody else is going to look
	OutcomeTooLarge    Outcome = "too_large"
	OutcomeUnsupported Outcome = "unsupported"
	OutcomeExcluded    Outcome = "excluded" // left out by a rule
	OutcomeIgnored     Outcome = "ignored"  // its event asked for nothing
	OutcomeGone        Outcome = "gone"
	OutcomeUnknown     Outcome = "unknown"     // nobody told us of it
	OutcomeNoRegistry  Outcome = "no_registry" // its host is not configured
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{OutcomeAnswered, OutcomePending, OutcomeFailed, OutcomeCanceled, OutcomeTooLarge, OutcomeUnsupported, OutcomeExcluded,
		OutcomeIgnored, OutcomeGone, OutcomeUnknown, OutcomeNoRegistry}
}

// TraceStep is one thing that is known, in words for people and in fields for
// programs.
type TraceStep struct {
	// At is when it happened; nil for what has no moment of its own.
	At   *time.Time `json:"at"`
	What What       `json:"what"`
	Mood Mood       `json:"mood"`
	Text string     `json:"text"`

	State      string       `json:"state,omitempty"`  // of a scan or a manifest, or the verdict on a delivery
	Reason     string       `json:"reason,omitempty"` // an error kind, a reason to ignore, a kind of artifact, a rule
	Digest     image.Digest `json:"digest,omitempty"`
	DeliveryID *int64       `json:"delivery_id,omitempty"`
	ScanID     *int64       `json:"scan_id,omitempty"`
	Count      *int         `json:"count,omitempty"` // of rejected requests, or of scans before it
	// Until is when a scan that waits is due.
	Until *time.Time `json:"until,omitempty"`
	// Progress is how far a scan is that runs, or was when it was canceled.
	Progress *Progress `json:"progress,omitempty"`
}

// What a step is about.
type What string

// The subjects, in the order they are told.
const (
	AboutRegistry  What = "registry"
	AboutEndpoint  What = "endpoint"
	AboutRejected  What = "rejected"
	AboutDelivery  What = "delivery"
	AboutScan      What = "scan"
	AboutManifest  What = "manifest"
	AboutRule      What = "rule"
	AboutTag       What = "tag"
	AboutAnswer    What = "answer"
	AboutReconcile What = "reconcile"
)

// Subjects lists what steps can be about.
func Subjects() []What {
	return []What{AboutRegistry, AboutEndpoint, AboutRejected, AboutDelivery, AboutScan, AboutManifest, AboutRule, AboutTag, AboutAnswer, AboutReconcile}
}

// Mood says how a step is to be read.
type Mood string

// The moods.
const (
	Fine    Mood = "fine"
	Waiting Mood = "waiting"
	Trouble Mood = "trouble" // it stops here, or may
	Note    Mood = "note"
)

// Moods lists the moods.
func Moods() []Mood { return []Mood{Fine, Waiting, Trouble, Note} }

// TraceFacts is all that is stored of a target, for Tell to make words of.
type TraceFacts struct {
	Now    time.Time
	Target Target
	Host   string // of its registry; as it was written when none has it
	// Configured is false when no registry has the host.
	Configured bool
	// Limited readers are told nothing of endpoints.
	Limited bool
	// Known tells whether the repository was ever seen.
	Known bool
	// ExcludedBy names the rule that leaves the whole repository out.
	ExcludedBy string

	Endpoint *Contact // nil for limited readers
	// Deliveries are those about the target, newest first. Neighbour is the newest
	// about anything else in the repository, Elsewhere one that named it at another
	// registry's endpoint.
	Deliveries []Delivery
	Neighbour  *Delivery
	Elsewhere  *Delivery

	Scan  *Scan // the newest of the target; of an image in an index, that of the index
	Queue *QueuePlace
	// Image is what GET /image says; nil until the target was resolved. LeftOutBy
	// names the rule that leaves it out of the repository.
	Image     *Image
	LeftOutBy string
	// TagNow is where the tag points; TagGoneAt when it was dropped, nil when it
	// is there or never was.
	TagNow    *TagPointer
	TagGoneAt *time.Time
	// Indexes are those that hold the manifest, as "host/name:tag" or a digest.
	Indexes []string

	Reconciled  *time.Time // when the newest whole reconciliation finished
	Reconciling bool
	ListedAt    *time.Time // when the repository was last looked at by one
	Build       *Build
}

// TagPointer is where a tag points, and pointed before.
type TagPointer struct {
	Digest   image.Digest
	MovedAt  time.Time
	Before   image.Digest // empty when it never pointed elsewhere
	LastSeen time.Time
}

// QueuePlace is where a scan stands that waits, or what it is doing.
type QueuePlace struct {
	InLine     bool // else it waits for its time
	Before     int  // scans before it in the line of its registry, at most MaxBefore
	Running    int  // scans of its registry that run
	MaxRunning *int // nil for no limit
	// Busy: the same target is being scanned now.
	Busy bool
	// LastStarted is when a scan of the registry last began.
	LastStarted *time.Time
	// Cataloguing lists the platforms a running scan reads, empty strings for
	// images without one.
	Cataloguing []string
}

// MaxBefore bounds the count of scans before one.
const MaxBefore = 10_000

// Contact is what a trace needs of an endpoint.
type Contact struct {
	Configured     bool
	LastDeliveryAt *time.Time
	Silence        Silence
	// Rejected are the newest rejected requests, newest first, at most about a
	// hundred of the last day.
	Rejected []Rejection
	// NoEndpoint counts requests of the last day to addresses that are no
	// endpoint.
	NoEndpoint int
}
