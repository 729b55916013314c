package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// ReconciliationFilter narrows a listing of reconciliations; empty fields match
// all.
type ReconciliationFilter struct {
	Registry string // configured name
	State    RunState
}

// Reconciliation is one comparison of what a registry lists with what is known.
type Reconciliation struct {
	ID       int64  `json:"id"`
	Registry string `json:"registry"` // the configured name
	// Repository is the only one looked at, as "host/name"; empty for all.
	Repository string   `json:"repository,omitempty"`
	Cause      string   `json:"cause"` // "schedule" or "request"
	State      RunState `json:"state"`
	// Reason is the error kind of a run that failed.
	Reason string `json:"reason,omitempty"`
	// Detail says the same in words, or what a run that goes on waits for.
	Detail string `json:"detail,omitempty"`
	// LastRepository is the last that was done, without the host; empty before the
	// first of a page.
	LastRepository string               `json:"last_repository,omitempty"`
	Counts         ReconciliationCounts `json:"counts"`
	// Takeovers is how often the run was picked up where a dead process left it.
	Takeovers   int        `json:"takeovers"`
	CreatedAt   time.Time  `json:"created_at"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	HeartbeatAt *time.Time `json:"heartbeat_at,omitempty"` // last sign of life
	FinishedAt  *time.Time `json:"finished_at,omitempty"`
}

// ReconciliationCounts is what a run came across so far.
type ReconciliationCounts struct {
	Repositories int64 `json:"repositories"`
	Tags         int64 `json:"tags"`  // listed; each is one of the following too
	New          int64 `json:"new"`   // not known before
	Moved        int64 `json:"moved"` // known with another digest
	Same         int64 `json:"same"`  // known, answered or being looked at
	// Gone is what is known and not there, as far as the list says; a scan asks.
	Gone     int64 `json:"gone"`
	Excluded int64 `json:"excluded"` // left out by a rule; repositories count once
	Retried  int64 `json:"retried"`  // known without an answer, or under other rules
	Errors   int64 `json:"errors"`   // what could not be looked at
	Queued   int64 `json:"queued"`   // scans
	Requests int64 `json:"requests"` // to the registry
}

// ReconciliationProblem is something a run could not look at.
type ReconciliationProblem struct {
	OccurredAt time.Time `json:"occurred_at"`
	Repository string    `json:"repository,omitempty"` // "host/name"; empty when it is about the registry
	Tag        string    `json:"tag,omitempty"`
	Reason     string    `json:"reason"` // error kind
	Detail     string    `json:"detail"`
}

// ReconciliationReport is a run with its first problems; Counts.Errors tells how
// many there were.
type ReconciliationReport struct {
	Reconciliation
	Problems []ReconciliationProblem `json:"problems"`
}

// NoReconciliation is the error for a run that does not exist, or that the reader
// may not see.
func NoReconciliation(id int64) error {
	return errs.New(errs.NotFound, "there is no reconciliation %d", id)
}
