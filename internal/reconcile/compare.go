package reconcile

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Why is what comparing a tag, or a manifest without one, came to.
type Why string

// The outcomes. A scan is queued for all but Same and LeftOut.
const (
	Same    Why = "same"
	LeftOut Why = "excluded" // by a rule, and recorded so
	New     Why = "new"
	Moved   Why = "moved"
	Missing Why = "gone"    // known, but the registry has it no more: the scan asks
	Again   Why = "retried" // known, but without an answer
	Ruled   Why = "rules"   // rules changed: the scan decides anew
)

// stale is how long ago a failure was that trying again may not cure.
const stale = 7 * 24 * time.Hour

// comparison is a reading of the registry beside what is known.
type comparison struct {
	known Known
	head  Head
	rules scan.Verdict
	// changed is true when the rules are not those of the run before.
	changed bool
	now     time.Time
}

// why tells what to do. A scan that waits asks the registry itself, so there is
// nothing to add to it; one that runs may have asked before the tag moved.
func (c comparison) why() Why {
	k := c.known
	switch {
	case k.Scan.State == scan.StateQueued:
		return Same
	case k.Scan.State == scan.StateRunning && (k.Digest == c.head.Digest || k.Scan.Digest == c.head.Digest):
		return Same
	case k.Scan.State == scan.StateFailed && k.Scan.Digest == c.head.Digest && !c.worthAnotherTry():
		return Same
	case k.Digest == "", k.Presence != Present && k.Presence != Excluded:
		return New
	case k.Digest != c.head.Digest:
		return Moved
	case k.Presence == Excluded:
		return c.excluded()
	case c.changed && len(c.rules.Names) > 0:
		return Ruled
	}
	return c.answered()
}

// excluded is for a manifest that is recorded as left out.
func (c comparison) excluded() Why {
	if !c.rules.May(c.known.Rule) || c.changed && !c.rules.Sure {
		return Ruled
	}
	return LeftOut
}

// settled reports whether nothing has to be asked: the name alone says that the
// tag is left out, and that is what is recorded.
func (c comparison) settled() bool {
	return c.rules.Sure && c.known.Presence == Excluded && c.rules.May(c.known.Rule)
}

func (c comparison) answered() Why {
	switch c.known.State {
	case scan.ManifestDone, scan.ManifestUnsupported, scan.ManifestTooLarge:
		return Same
	case scan.ManifestFailed:
		if !c.worthAnotherTry() {
			return Same
		}
	}
	return Again
}

// worthAnotherTry reports whether a scan that failed is tried again: always when
// the reason may have passed, else long ago. That something was not there, or
// not allowed, has passed: the registry just answered.
func (c comparison) worthAnotherTry() bool {
	last := c.known.Scan
	if last.State != scan.StateFailed || c.now.Sub(last.FinishedAt) > stale {
		return true
	}
	switch last.Reason {
	case errs.Malformed, errs.TooLarge, errs.Bomb, errs.Unsupported:
		return false
	}
	return true
}
