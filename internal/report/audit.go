package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Change is what somebody did or tried to do, as the audit log has it. It never
// holds a secret.
type Change struct {
	// Actor is who: Principal.Actor of a caller, "cli:" and the user of the system
	// for a command that works on the database, or ActorSystem.
	Actor string `json:"actor"`
	// Subject is what the issuer calls the person for good, where their name in Actor
	// may change hands; empty for all but OpenID Connect.
	Subject string `json:"subject,omitempty"`
	// Address is where the request came from; empty for a command.
	Address string `json:"address,omitempty"`
	// Request is the id of the request, as in the log; empty for a command.
	Request string `json:"request_id,omitempty"`
	// Action is a word for the thing and one for what was done, as "scan.cancel".
	Action string `json:"action"`
	// Object is what it was about, named as the API names it.
	Object string `json:"object,omitempty"`
	// Outcome is what became of it.
	Outcome ChangeOutcome `json:"outcome"`
	// Reason is the kind of the error; empty when it was done.
	Reason errs.Kind `json:"reason,omitempty"`
	// Detail is what is worth knowing besides, such as values before and after. It is
	// small.
	Detail map[string]any `json:"detail,omitempty"`
}

// ActorSystem is the service itself.
const ActorSystem = "system"

// ChangeOutcome is what became of a change.
type ChangeOutcome string

// The outcomes.
const (
	ChangeDone    ChangeOutcome = "done"
	ChangeRefused ChangeOutcome = "refused" // it was not allowed, or made no sense
	ChangeFailed  ChangeOutcome = "failed"  // something of ours broke
)

// OutcomeOf is what an error says of the change it ended, with its kind; no error
// says that it was done.
func OutcomeOf(err error) (ChangeOutcome, errs.Kind) {
	kind := errs.KindOf(err)
	switch {
	case err == nil:
		return ChangeDone, ""
	case kind.Meaning().Status >= 500 || kind == errs.Canceled:
		return ChangeFailed, kind
	}
	return ChangeRefused, kind
}

// AuditEntry is a row of the audit log.
type AuditEntry struct {
	ID int64     `json:"id"`
	At time.Time `json:"at"`
	Change
}

// AuditFilter chooses rows of the audit log; the zero value all of them.
type AuditFilter struct {
	Actor string
	// Action is one, or the part before its dot: "token" for all about tokens.
	Action string
	// Object is the whole object.
	Object       string
	Since, Until time.Time // Since is within, Until is not; zero for no bound
}
