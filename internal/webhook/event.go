// Package webhook receives what registries send when something is pushed or
// deleted: it limits the body, verifies the credential on the raw bytes, reads
// the sender's format into events and hands them to a Sink that makes them
// durable before the sender gets its 202.
//
// A format is one file with two pure functions, one line in the table of
// formats.go, a folder of samples under testdata, a section of docs/webhooks.md
// and a page in deploy/registries; a test fails if one of them is missing.
//
// It must not connect anywhere, must not decide what is scanned, and must never
// let a payload choose a host, a credential or a way of verifying.
package webhook

import (
	"context"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Action is what happened to a tag or a manifest.
type Action string

// The actions of accepted events. The event of an ignored item carries the
// sender's own word instead, cleaned and shortened, so that people can see what
// was ignored.
const (
	ActionPush   Action = "push"
	ActionDelete Action = "delete"
)

// Flags of an event.
const (
	// FlagIndex: the media type says image index or manifest list.
	FlagIndex = "index"
	// FlagDigestOnly: no tag was named. The manifest may be an image, a child of
	// an index, an attestation or a referrer; only its content tells.
	FlagDigestOnly = "digest-only"
	// FlagDigestDropped: the digest was not valid; the tag has to be resolved.
	FlagDigestDropped = "digest-dropped"
	// FlagQuarantine: the registry holds the image back until it is released. It
	// can be pulled by its digest alone; the tag does not show it yet.
	FlagQuarantine = "quarantine"
)

// Event is one thing that happened in a registry, normalised.
//
// A push names a tag, a digest or both. A delete with a digest alone says that
// the manifest is gone with all its tags; a delete with a tag says that this tag
// is gone, and with a digest beside it what the tag pointed to, which may be gone
// with it or not: senders differ, so the registry is asked.
type Event struct {
	Action Action
	// Host is the canonical registry host the payload names, "" when none. For
	// an accepted event it is one of the endpoint's names.
	Host       string
	Repository string
	Tag        string
	Digest     image.Digest
	MediaType  string
	// Actor is who did it by the sender's account, at most 256 characters.
	Actor string
	// EventID is the sender's, at most 256 characters; "" when there is none.
	EventID string
	// OccurredAt is the sender's time in UTC, or the time of receipt when there
	// is none or it is before 2000 or more than a day ahead.
	OccurredAt time.Time
	Flags      []string
}

// Item is an event with its verdict.
type Item struct {
	Event Event
	// Ignored is one of Reasons; empty means accepted.
	Ignored string
	// DedupeKey is equal for two deliveries of the same event to one endpoint.
	// No two items of one request share it.
	DedupeKey string
}

// Sink makes the items of one request durable. It must be done when it returns
// nil; on any error the sender is told to come again, so items that were seen
// before must be tolerated. It is not called for a request without events.
type Sink interface {
	Accept(ctx context.Context, registry string, items []Item) error
}

// The reasons for which an event is ignored. They are stored and used as metric
// labels, so their text never changes.
const (
	ReasonPull          = "pull"
	ReasonMount         = "mount"
	ReasonBlob          = "blob"
	ReasonChart         = "chart"
	ReasonSignature     = "signature"
	ReasonAttestation   = "attestation"
	ReasonOtherRegistry = "other_registry" // names a host the endpoint does not have
	ReasonBadRepository = "bad_repository" // the repository breaks the OCI grammar
	ReasonNoReference   = "no_reference"   // neither a usable tag nor a usable digest
	ReasonPing          = "ping"           // a test call
	ReasonReferrer      = "referrer"       // refers to an image and is none itself
	ReasonArtifact      = "artifact"       // neither an image nor anything about one
	ReasonOtherEvent    = "other_event"    // known, and not about content
	ReasonUnknownEvent  = "unknown_event"  // an action or type we do not know
	ReasonMalformed     = "malformed"      // one event of a batch has the wrong shape
)

// Reasons lists every reason for which an event is ignored.
func Reasons() []string {
	return []string{
		ReasonPull, ReasonMount, ReasonBlob, ReasonChart, ReasonSignature, ReasonAttestation, ReasonOtherRegistry,
		ReasonBadRepository, ReasonNoReference, ReasonPing, ReasonReferrer, ReasonArtifact, ReasonOtherEvent, ReasonUnknownEvent, ReasonMalformed,
	}
}

// reasonLabel keeps the metric label inside the fixed list.
func reasonLabel(reason string) string {
	if slices.Contains(Reasons(), reason) {
		return reason
	}
	return "other"
}
