package report

import (
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// State is where a manifest stands.
type State string

// The states of a manifest.
const (
	StateQueued      State = "queued"
	StateRunning     State = "running"
	StateDone        State = "done"
	StateFailed      State = "failed"
	StateUnsupported State = "unsupported"
	StateTooLarge    State = "too_large"
	// StateCanceled: nobody is going to look at it, because somebody canceled the
	// scan that was to.
	StateCanceled State = "canceled"
)

// Final reports whether the state stays as it is until somebody asks again.
func (s State) Final() bool { return s != StateQueued && s != StateRunning }

// Presence says whether a repository still has a manifest.
type Presence string

// The presences.
const (
	Present  Presence = "present"
	Gone     Presence = "gone"
	Excluded Presence = "excluded" // left out by a rule of the configuration
	// Unseen is a child of an index that the repository never served.
	Unseen Presence = "unseen"
)

// Tag is a live tag with the answer it stands for.
type Tag struct {
	Name      string       `json:"name"`
	Reference string       `json:"reference"` // "host/name:tag"
	Digest    image.Digest `json:"digest"`
	Kind      image.Kind   `json:"kind"`
	MovedAt   time.Time    `json:"moved_at"`   // when it last changed its digest
	CheckedAt time.Time    `json:"checked_at"` // when it was last seen
	State     State        `json:"state"`
	Reason    string       `json:"reason,omitempty"`
	Assessment
	Platforms []string `json:"platforms"` // "linux/amd64"; of images only
}

// TagEvent is a change of a tag as we saw it: a move between two looks leaves no
// trace.
type TagEvent struct {
	Action string `json:"action"` // "set" or "deleted"
	// Digest is what the tag points to from then on, or pointed to until then.
	Digest     image.Digest `json:"digest,omitempty"`
	OccurredAt time.Time    `json:"occurred_at"`
}

// Image is all there is to say of a tag or a digest.
type Image struct {
	Registry   string       `json:"registry"`   // the configured name
	Repository string       `json:"repository"` // "host/name"
	Reference  string       `json:"reference"`  // "host/name:tag" or "host/name@digest"
	Tag        string       `json:"tag,omitempty"`
	Digest     image.Digest `json:"digest,omitempty"` // empty until the tag was resolved
	Kind       image.Kind   `json:"kind,omitempty"`
	MediaType  string       `json:"media_type,omitempty"`
	// ArtifactType is that of an OCI artifact; empty for images.
	ArtifactType string `json:"artifact_type,omitempty"`
	State        State  `json:"state"`
	// Reason is an error kind, or the kind of artifact when unsupported; Detail
	// says the same in words.
	Reason    string     `json:"reason,omitempty"`
	Detail    string     `json:"detail,omitempty"`
	Presence  Presence   `json:"presence,omitempty"`
	Tags      []string   `json:"tags"` // live tags on this very digest, at most MaxTags
	MovedAt   *time.Time `json:"tag_moved_at,omitempty"`
	CheckedAt *time.Time `json:"tag_checked_at,omitempty"`
	FirstSeen *time.Time `json:"first_seen,omitempty"`
	LastSeen  *time.Time `json:"last_seen,omitempty"`
	Assessment
	// Platforms are the images of an index, with its other children; or the
	// image itself.
	Platforms []Platform `json:"platforms"`
	Build     *Build     `json:"build"`
	// LastScan is the newest scan of the target. While it is queued or running
	// the answer may be of what the tag pointed to before.
	LastScan *ScanState `json:"last_scan"`
}

// Settled reports whether the answer stays as it is until the next push.
func (i Image) Settled() bool {
	return i.State.Final() && (i.LastScan == nil || i.LastScan.State.Final())
}

// MaxTags bounds lists of tags inside other answers.
const MaxTags = 50

// Platform is one image of a tag or digest, or another child of an index.
type Platform struct {
	Digest    image.Digest `json:"digest"`
	Kind      image.Kind   `json:"kind"`
	Platform  string       `json:"platform"` // "linux/arm64/v8"; empty when nobody says
	OSVersion string       `json:"os_version,omitempty"`
	State     State        `json:"state"`
	Reason    string       `json:"reason,omitempty"`
	Detail    string       `json:"detail,omitempty"`
	Presence  Presence     `json:"presence"`
	// PresenceReason names the rule that excludes it, or the error on access.
	PresenceReason string `json:"presence_reason,omitempty"`
	// Partial is why the catalogue cannot be whole; empty otherwise.
	Partial string `json:"partial,omitempty"`
	Assessment
	Distro string `json:"distro,omitempty"` // "debian:12"
	// EndOfLife is when the distro's support ends; nil when nobody says.
	EndOfLife       *time.Time `json:"end_of_life,omitempty"`
	EndOfLifePassed bool       `json:"end_of_life_passed"`
	Packages        int        `json:"packages"`
	ContentSize     int64      `json:"content_size"` // compressed bytes of its layers
	Tool            string     `json:"tool,omitempty"`
	ToolVersion     string     `json:"tool_version,omitempty"`
	ScannedAt       *time.Time `json:"scanned_at,omitempty"`
}

// Counted reports whether the platform is part of the answer: an image that the
// repository served and no rule leaves out. One that is gone since keeps its
// answer. An index that could not be followed stands for the images nobody saw.
func (p Platform) Counted() bool {
	unfollowed := p.Kind == image.KindIndex && (p.State == StateFailed || p.State == StateTooLarge) && p.Reason != "platform_failed"
	return (p.Kind == image.KindImage || p.Kind == image.KindSBOM || unfollowed) && (p.Presence == Present || p.Presence == Gone)
}

// Summarise gives the image the state and assessment that its platforms amount
// to; union counts over those that are counted. The state is the one that needs
// most attention: an answer under way, then a failure, then done.
func (i *Image) Summarise(union *Counts) {
	var parts []Assessment
	worst := -1
	for n, p := range i.Platforms {
		if !p.Counted() {
			continue
		}
		parts = append(parts, p.Assessment)
		if worst < 0 || p.State.attention() > i.Platforms[worst].State.attention() {
			worst = n
		}
	}
	i.Assessment = AssessAll(parts, union)
	if i.Kind == image.KindIndex && worst >= 0 {
		w := i.Platforms[worst]
		i.State, i.Reason, i.Detail = w.State, w.Reason, w.Detail
	}
}

func (s State) attention() int {
	switch s {
	case StateRunning:
		return 6
	case StateQueued:
		return 5
	case StateFailed:
		return 4
	case StateCanceled:
		return 3
	case StateTooLarge:
		return 2
	case StateUnsupported:
		return 1
	}
	return 0
}
