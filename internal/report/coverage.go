package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// LedgerState is the one state a known manifest, or a target that no scan has
// resolved yet, has in the ledger of a repository.
type LedgerState string

// The states of the ledger. Of something that is present it is that of the
// manifest; what a rule leaves out or the registry no longer has is told apart.
const (
	LedgerDone        LedgerState = "done"
	LedgerQueued      LedgerState = "queued"
	LedgerRunning     LedgerState = "running"
	LedgerFailed      LedgerState = "failed"
	LedgerCanceled    LedgerState = "canceled" // by somebody, and nobody else is going to look
	LedgerUnsupported LedgerState = "unsupported"
	LedgerTooLarge    LedgerState = "too_large"
	LedgerExcluded    LedgerState = "excluded"
	LedgerGone        LedgerState = "gone"
)

// LedgerStates lists every state of the ledger.
func LedgerStates() []LedgerState {
	return []LedgerState{LedgerDone, LedgerUnsupported, LedgerTooLarge, LedgerExcluded, LedgerQueued, LedgerRunning, LedgerFailed, LedgerCanceled, LedgerGone}
}

// Covered reports whether the state is a standing last word: nothing more is to
// come until something is pushed or a rule changes. A failure is no last word:
// what is in the image is not known.
func (s LedgerState) Covered() bool {
	switch s {
	case LedgerDone, LedgerUnsupported, LedgerTooLarge, LedgerExcluded:
		return true
	}
	return false
}

// LedgerEntry counts what is in one state for one reason.
type LedgerEntry struct {
	State LedgerState `json:"state"`
	// Reason is an error kind, a kind of artifact or the name of a rule, as the
	// state has it; empty where the state says it all.
	Reason string `json:"reason,omitempty"`
	Count  int    `json:"count"`
}

// LedgerCounts counts by state.
type LedgerCounts struct {
	Done        int `json:"done"`
	Queued      int `json:"queued"`
	Running     int `json:"running"`
	Failed      int `json:"failed"`
	Canceled    int `json:"canceled"`
	Unsupported int `json:"unsupported"`
	TooLarge    int `json:"too_large"`
	Excluded    int `json:"excluded"`
	Gone        int `json:"gone"`
}

// Of returns the count of a state; zero for one that does not exist.
func (c LedgerCounts) Of(s LedgerState) int {
	if p := c.at(s); p != nil {
		return *p
	}
	return 0
}

func (c *LedgerCounts) at(s LedgerState) *int {
	switch s {
	case LedgerDone:
		return &c.Done
	case LedgerQueued:
		return &c.Queued
	case LedgerRunning:
		return &c.Running
	case LedgerFailed:
		return &c.Failed
	case LedgerCanceled:
		return &c.Canceled
	case LedgerUnsupported:
		return &c.Unsupported
	case LedgerTooLarge:
		return &c.TooLarge
	case LedgerExcluded:
		return &c.Excluded
	case LedgerGone:
		return &c.Gone
	}
	return nil
}

// Ledger says what became of everything that is known. Each manifest counts once
// in each repository that has it; beside them stand the targets, tags and
// digests, that somebody told us of and that no scan has found out about yet:
// they may hide a manifest that nobody has seen.
type Ledger struct {
	// Known counts all that is not gone, Covered those of it that have a standing
	// last word: done, unsupported, too large or excluded.
	Known   int `json:"known"`
	Covered int `json:"covered"`
	// Share is Covered over Known and Unread; nil while nothing is known. It is 1
	// only when nothing is left.
	Share *float64 `json:"share"`
	// States sums up to Known and what is gone. Unresolved is the part of it that
	// is targets.
	States     LedgerCounts `json:"states"`
	Unresolved int          `json:"unresolved"`
	// Unread counts the repositories and tags that the newest whole reconciliation
	// could not look at. Nobody knows what is in them: each counts in Share as one
	// more that has no last word.
	Unread int `json:"unread"`
	// Reasons splits the states that have reasons, greatest count first, at most
	// MaxReasons.
	Reasons []LedgerEntry `json:"reasons"`
}

// MaxReasons bounds lists of reasons in an answer.
const MaxReasons = 50

// Tally makes the ledger of entries; unresolved are those of targets. Entries of
// the same state and reason are added up.
func Tally(manifests, unresolved []LedgerEntry) Ledger {
	l := Ledger{Reasons: []LedgerEntry{}}
	reasons := map[LedgerEntry]int{}
	add := func(e LedgerEntry) {
		if p := l.States.at(e.State); p != nil {
			*p += e.Count
		}
		if e.Reason != "" {
			reasons[LedgerEntry{State: e.State, Reason: e.Reason}] += e.Count
		}
		if e.State == LedgerGone {
			return
		}
		l.Known += e.Count
		if e.State.Covered() {
			l.Covered += e.Count
		}
	}
	for _, e := range manifests {
		add(e)
	}
	for _, e := range unresolved {
		add(e)
		l.Unresolved += e.Count
	}
	l.weigh()
	for e, n := range reasons {
		e.Count = n
		l.Reasons = append(l.Reasons, e)
	}
	slices.SortFunc(l.Reasons, func(a, b LedgerEntry) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Reason, b.Reason))
	})
	l.Reasons = l.Reasons[:min(len(l.Reasons), MaxReasons)]
	return l
}

// WithUnread is the ledger with what could not be looked at.
func (l Ledger) WithUnread(n int) Ledger {
	l.Unread = n
	l.weigh()
	return l
}

func (l *Ledger) weigh() {
	l.Share = nil
	if all := l.Known + l.Unread; all > 0 {
		share := float64(l.Covered) / float64(all)
		l.Share = &share
	}
}

// CoverageFilter narrows a coverage.
type CoverageFilter struct {
	Registry string        // configured name; empty for all
	Window   time.Duration // how far back events are counted
	// Endpoints are the registries whose webhook is configured.
	Endpoints []string
}

// Bounds of CoverageFilter.Window.
const (
	DefaultWindow = 24 * time.Hour
	MaxWindow     = 30 * 24 * time.Hour
)

// Coverage tells what is known and what became of it, registry by registry.
type Coverage struct {
	// AsOf is the moment the ledgers are of. On a large installation they are made
	// at most once a minute; all else is of the moment of the answer.
	AsOf          time.Time `json:"as_of"`
	WindowSeconds int64     `json:"window_seconds"`
	// Total is over all registries in the list.
	Total Ledger             `json:"total"`
	Items []RegistryCoverage `json:"items"`
	// NoEndpoint counts requests to addresses that are no endpoint: a sender whose
	// URL is wrong. Nil for limited readers.
	NoEndpoint *Rejected `json:"no_endpoint"`
}

// RegistryCoverage is the ledger of a registry, as far as the reader sees it.
type RegistryCoverage struct {
	Registry     string `json:"registry"` // the configured name
	Host         string `json:"host"`
	Repositories int    `json:"repositories"`
	// RepositoriesExcluded are those a rule leaves out as a whole; their images
	// are not looked for.
	RepositoriesExcluded int `json:"repositories_excluded"`
	Ledger
	// OldestAnswerAt is when the oldest answer behind a live tag was made; nil
	// when there is none. It stays true by being judged again, but its list of
	// packages is of that day's cataloguer.
	OldestAnswerAt *time.Time `json:"oldest_answer_at"`
	// ReconciledAt is when the newest whole reconciliation finished; nil when none
	// has.
	ReconciledAt *time.Time `json:"reconciled_at"`
	// Endpoint tells of the webhook; nil when there is none, and for limited
	// readers.
	Endpoint *Endpoint `json:"endpoint"`
}

// RepositoryCoverageFilter narrows a listing of repositories' ledgers.
type RepositoryCoverageFilter struct {
	Registry string // configured name; empty for all
	Prefix   string // of "host/name"
	// Uncovered leaves out repositories where everything has its last word.
	Uncovered bool
}

// RepositoryCoverage is the ledger of a repository.
type RepositoryCoverage struct {
	Registry   string `json:"registry"`   // the configured name
	Repository string `json:"repository"` // "host/name"
	// ExcludedBy names the rule that leaves the whole repository out.
	ExcludedBy string `json:"excluded_by,omitempty"`
	Ledger
	OldestAnswerAt *time.Time `json:"oldest_answer_at"`
	// ListedAt is when a reconciliation last looked at it; nil when none has.
	ListedAt *time.Time `json:"listed_at"`
}

// LedgerFilter narrows a listing of what is known of a repository.
type LedgerFilter struct {
	State LedgerState // empty for all
	// Uncovered leaves out what has its last word, and what is gone.
	Uncovered bool
}

// ParseLedgerState reads a state; the empty string stays empty. The error is of
// kind Invalid.
func ParseLedgerState(s string) (LedgerState, error) {
	if s == "" || slices.Contains(LedgerStates(), LedgerState(s)) {
		return LedgerState(s), nil
	}
	return "", errs.New(errs.Invalid, "state %.40q is not one of done, unsupported, too_large, excluded, queued, running, failed, canceled and gone", s).WithField("state")
}

// LedgerItem is one thing that is known of a repository: a manifest, or a target
// that no scan has found out about yet.
type LedgerItem struct {
	// Unresolved is true for a target. It has a Tag, a Digest as the event said, or
	// both, and the scan that is to find out.
	Unresolved bool         `json:"unresolved"`
	Digest     image.Digest `json:"digest,omitempty"`
	Tag        string       `json:"tag,omitempty"`
	ScanID     *int64       `json:"scan_id,omitempty"`

	Kind     image.Kind  `json:"kind,omitempty"`
	Platform string      `json:"platform,omitempty"` // "linux/amd64"
	Tags     []string    `json:"tags"`               // live tags on this very digest, at most MaxTags
	State    LedgerState `json:"state"`
	Reason   string      `json:"reason,omitempty"`
	Detail   string      `json:"detail,omitempty"` // the same in words
	// Since is when it was first seen, or the scan of a target asked for.
	Since time.Time `json:"since"`
}
