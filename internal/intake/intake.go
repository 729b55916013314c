// Package intake makes what comes in durable: webhook events, requests for
// scans and uploaded SBOMs each become rows and permits in one transaction.
//
// It is responsible for joining the receiver's words to the store's and the
// queue's. It must not parse what senders send, and must not scan.
package intake

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

// Uploads is the name of the registry that holds uploaded SBOMs.
const Uploads = "sboms"

// Settings say which pushes wait before they are scanned. The zero value lets
// none wait.
type Settings struct {
	// UntaggedHold is for a push without a tag. The event does not say whether it
	// is an image of its own or a child of an index that is on its way.
	UntaggedHold time.Duration
	// Coalesce is for a push of a tag without a digest. Senders of such events
	// send several for one push, and nothing tells them apart.
	Coalesce time.Duration
}

// hold returns how long the scan that an event asks for waits.
func (s Settings) hold(e webhook.Event) time.Duration {
	switch {
	case e.Action != webhook.ActionPush:
		return 0
	case e.Tag == "":
		return s.UntaggedHold
	case e.Digest == "":
		return s.Coalesce
	}
	return 0
}

// byDigest reports whether the tag of an event does not lead to its image yet.
// Asked for the tag, the registry would say that it is gone.
func byDigest(e webhook.Event) bool {
	return e.Digest != "" && slices.Contains(e.Flags, webhook.FlagQuarantine)
}

// Intake accepts work.
type Intake struct {
	store    *postgres.Store
	enqueue  postgres.Enqueue
	names    func(host string) (registry string, ok bool)
	settings Settings
	together together
}

// New returns an intake on a store. names finds the configured registry of a
// host or alias.
func New(store *postgres.Store, enqueue postgres.Enqueue, names func(host string) (string, bool), s Settings) *Intake {
	i := &Intake{store: store, enqueue: enqueue, names: names, settings: s}
	i.together.store = func(ctx context.Context, requests []postgres.Request) error {
		_, err := store.AcceptAll(ctx, requests, enqueue)
		return err
	}
	return i
}

// Accept records the events of one webhook request, together with those of
// others that arrive at the same time. Once it returns nil they survive anything
// but the loss of the database.
func (i *Intake) Accept(ctx context.Context, registry string, items []webhook.Item) (err error) {
	ctx, span := telemetry.StartSpan(ctx, "intake", slog.String("registry", registry), slog.Int("events", len(items)))
	defer func() { span.End(err) }()
	deliveries := make([]postgres.Delivery, len(items))
	for n, item := range items {
		deliveries[n] = postgres.Delivery{
			DedupeKey:  item.DedupeKey,
			Ignored:    item.Ignored,
			Action:     string(item.Event.Action),
			Host:       item.Event.Host,
			Repository: item.Event.Repository,
			Tag:        item.Event.Tag,
			Digest:     item.Event.Digest,
			Actor:      item.Event.Actor,
			EventID:    item.Event.EventID,
			OccurredAt: item.Event.OccurredAt,
			Hold:       i.settings.hold(item.Event),
			ByDigest:   byDigest(item.Event),
		}
	}
	err = i.together.accept(ctx, postgres.Request{Registry: registry, Deliveries: deliveries, Trace: telemetry.TraceParent(ctx)})
	return errs.Op("intake: accept deliveries of "+registry, err)
}

// RequestScan queues a scan that a caller waits for. The error is of kind
// Invalid when the reference's host is no configured registry.
func (i *Intake) RequestScan(ctx context.Context, ref image.Reference) (int64, error) {
	registry, ok := i.names(ref.Registry)
	if !ok {
		return 0, errs.New(errs.Invalid, "intake: no registry is configured for host %q", ref.Registry).
			WithHint("add it to registries in the configuration, or its other name to aliases")
	}
	id, err := i.store.RequestScan(ctx, registry, ref, i.enqueue)
	return id, errs.Op("intake: request scan of "+ref.String(), err)
}

// Hurry lets a queued scan go ahead of pushes, because somebody waits for it.
func (i *Intake) Hurry(ctx context.Context, scanID int64) error {
	return errs.Op("intake: hurry scan", i.store.HurryScan(ctx, scanID))
}

// Upload keeps an SBOM under repository:tag of the registry of uploads and
// queues its judgement.
func (i *Intake) Upload(ctx context.Context, repository, tag string, document []byte) (int64, image.Digest, error) {
	ref, err := image.ParseReference(Uploads + ".invalid/" + repository + ":" + tag)
	if err != nil {
		return 0, "", errs.New(errs.Invalid, "intake: %.200q:%.100q is not a repository and tag", repository, tag)
	}
	digest := image.DigestOf(document)
	id, err := i.store.SaveUpload(ctx, Uploads, ref.Repository, ref.Tag, digest, document, i.enqueue)
	return id, digest, errs.Op("intake: keep SBOM "+ref.Repository+":"+ref.Tag, err)
}
