// Package scan tells the story of one push: resolve the reference, pull and
// catalogue what is new, take its inventory, judge the packages nobody judged
// yet, store the answer.
//
// It is responsible for the order of the steps, for what is skipped, and for
// the words a scan is described with. It names what it needs of the other rooms
// as small interfaces and must not import them.
package scan

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// State is where a scan stands.
type State string

// The states of a scan. A scan that will be tried again is queued.
const (
	StateQueued   State = "queued"
	StateRunning  State = "running"
	StateDone     State = "done"
	StateFailed   State = "failed"
	StateCanceled State = "canceled"
)

// ReasonCovered is why the scan of an untagged push ended canceled: an index came
// that lists its manifest, and the scan of the index looks at it. ReasonCanceled is
// that of a scan somebody canceled. Other canceled scans gave way to a newer one
// of their target and keep the reason of their last attempt.
const (
	ReasonCovered  = "covered"
	ReasonCanceled = "canceled"
)

// ManifestState is what we know of a manifest. Every manifest has one.
type ManifestState string

// The states of a manifest. Whether a repository still has it is told apart
// from these, by its presence there.
const (
	ManifestQueued      ManifestState = "queued"
	ManifestRunning     ManifestState = "running"
	ManifestDone        ManifestState = "done"
	ManifestFailed      ManifestState = "failed"
	ManifestUnsupported ManifestState = "unsupported"
	ManifestTooLarge    ManifestState = "too_large"
)

// Cause is what asked for a scan.
type Cause string

// The causes of scans.
const (
	CausePush      Cause = "push"
	CauseDelete    Cause = "delete" // somebody says it is gone; the registry is asked
	CauseRequest   Cause = "request"
	CauseUpload    Cause = "upload"
	CauseReconcile Cause = "reconcile"
)

// Job is a claimed scan: what to do, and the lease that entitles to store the
// result.
type Job struct {
	ID         int64
	Lease      string // a UUID; results under another lease are refused
	Attempt    int    // 1 for the first
	Registry   string // the configured name
	Cause      Cause
	Repository int64
	// Ref is the target. Its Registry is the canonical host.
	Ref image.Reference
	// Traces are those of who asked for it, the first ahead of those who joined;
	// see telemetry.Continue.
	Traces []string
}

// The phases of a scan, in their order. Pulling is a part of cataloguing where
// phases are timed.
const (
	PhaseResolve   = "resolve"
	PhasePull      = "pull"
	PhaseCatalogue = "catalogue"
	PhaseInventory = "inventory"
	PhaseMatch     = "match"
	PhaseStore     = "store"
)

// Phase is one timed step of a scan.
type Phase struct {
	Name     string        `json:"name"` // PhaseResolve and so on
	Platform string        `json:"platform,omitempty"`
	Duration time.Duration `json:"duration_ns"`
	Bytes    int64         `json:"bytes,omitempty"`
}

// Layer is one layer of an image with the instruction that made it.
type Layer struct {
	Digest    image.Digest
	DiffID    image.Digest
	MediaType string
	Size      int64
	CreatedBy string // from the config's history; may be empty
}

// Manifest is what a registry serves under a digest.
type Manifest struct {
	Digest       image.Digest
	MediaType    string
	ArtifactType string
	Kind         image.Kind
	Platform     image.Platform
	Size         int64 // bytes of the manifest itself
	ContentSize  int64 // compressed bytes of its layers
	ConfigDigest image.Digest
	Created      time.Time  // when its config says it was made; zero when nobody says
	Layers       []Layer    // of an image
	Children     []Manifest // of an index, in its order
	// Unread is why the content of a child was not read or, of an index, not
	// followed; nil when it was. What is said of an unread child is what the index
	// says, and gives way to what its own content says.
	Unread error
	// Excluded names the rule that leaves the manifest out; empty for one that
	// is wanted.
	Excluded string
}

// Runnable returns the images to catalogue: the manifest itself, or those
// children of an index that are images and not excluded.
func (m Manifest) Runnable() []Manifest {
	if m.Excluded != "" {
		return nil
	}
	if m.Kind == image.KindImage || m.Kind == image.KindSBOM {
		return []Manifest{m}
	}
	var out []Manifest
	for _, c := range m.Children {
		if c.Kind == image.KindImage && c.Excluded == "" {
			out = append(out, c)
		}
	}
	return out
}
