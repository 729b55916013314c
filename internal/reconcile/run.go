package reconcile

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Run is a claimed reconciliation: what to compare, the lease that entitles to
// it, and how far it came.
type Run struct {
	ID         int64
	Lease      string // a UUID; what is written under another lease is refused
	Registry   string // the configured name
	Host       string // the registry's canonical host
	Repository string // the only one to look at; empty for all
	Requested  bool   // by somebody, and not by the schedule
	// RulesBefore is the fingerprint of the rules that the last whole run of the
	// registry went by; empty when there was none.
	RulesBefore string
	Position    Position
	Counts      Counts
}

// Position is where a run goes on when it was cut off.
type Position struct {
	// Listed is true when everything the registry lists was looked at; what is
	// known and not listed follows.
	Listed bool `json:"listed,omitempty"`
	// Page is the cursor of the page of repositories under way.
	Page string `json:"page,omitempty"`
	// After is the last repository that is done: of that page or, once Listed, of
	// the known ones.
	After string `json:"after,omitempty"`
	// Repository is the one under way, once a page of its tags is done or, once
	// Listed, from its beginning. Tags is the cursor of the page to go on with.
	Repository string `json:"repository,omitempty"`
	Tags       string `json:"tags,omitempty"`
	// Unlisted is why the registry did not list its repositories; empty when it
	// did. The run compares what is known and fails in the end.
	Unlisted string `json:"unlisted,omitempty"`
}

// Counts is what a run came across.
type Counts struct {
	Repositories int64 `json:"repositories"`
	Tags         int64 `json:"tags"` // listed; each is one of the following too
	New          int64 `json:"new"`
	Moved        int64 `json:"moved"`
	Same         int64 `json:"same"`
	Gone         int64 `json:"gone"`     // not there; also tags that are no longer listed, and manifests without a tag
	Excluded     int64 `json:"excluded"` // also repositories left out as a whole
	Retried      int64 `json:"retried"`  // known, but without an answer, or under other rules
	Errors       int64 `json:"errors"`
	Queued       int64 `json:"queued"` // scans
	Requests     int64 `json:"requests"`
}

// minus returns what was added since before.
func (c Counts) minus(before Counts) Counts {
	return Counts{
		Repositories: c.Repositories - before.Repositories, Tags: c.Tags - before.Tags, New: c.New - before.New,
		Moved: c.Moved - before.Moved, Same: c.Same - before.Same, Gone: c.Gone - before.Gone, Excluded: c.Excluded - before.Excluded,
		Retried: c.Retried - before.Retried, Errors: c.Errors - before.Errors, Queued: c.Queued - before.Queued,
		Requests: c.Requests - before.Requests,
	}
}

// Known is what the store has of a tag, or of a manifest without one.
type Known struct {
	// Digest is where the tag points; empty when the tag is not known.
	Digest   image.Digest
	State    scan.ManifestState
	Presence Presence
	Rule     string // that leaves the manifest out
	// Scan is the newest scan of the target.
	Scan LastScan
}

// Presence is whether a repository has a manifest, as far as is known.
type Presence string

// The presences; empty when it was never seen there.
const (
	Present  Presence = "present"
	Gone     Presence = "gone"
	Excluded Presence = "excluded"
)

// LastScan is the newest scan of a target; the zero value when there is none.
type LastScan struct {
	State      scan.State
	Digest     image.Digest // as it was asked for
	Reason     errs.Kind    // of a scan that failed
	FinishedAt time.Time    // zero while it waits or runs
}

// Target is what a scan is queued for.
type Target struct {
	Tag    string // may be empty
	Digest image.Digest
	Cause  scan.Cause
	Why    Why
}

// Manifest is a known manifest without a tag.
type Manifest struct {
	ID int64
	Known
}

// Unresolved is a tag, or a digest without one, that somebody told of and whose
// newest scan failed before it knew what it is. Nothing is known but that scan.
type Unresolved struct {
	ID  int64 // of the scan
	Tag string
	Known
}

// Repository is what the store has of a repository.
type Repository struct {
	ID       int64  // 0 when it is not known
	Excluded string // the rule that left it out as a whole until now
	Served   bool   // the registry once served something of it
}

// Problem is something a run could not look at.
type Problem struct {
	Repository string // empty when it is about the registry
	Tag        string
	Err        error
}
