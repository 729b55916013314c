package scan

import (
	"context"
	"errors"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// ErrOutOfTime is in errors of images that took all the time they may have.
var ErrOutOfTime = errors.New("out of time")

// catalogue pulls an image (or reads an upload) and takes its inventory.
func (r *run) catalogue(ctx context.Context, m Manifest, a *Answer) error {
	if err := r.withinLimits(m); err != nil {
		return err
	}
	var doc sbom.Document
	err := r.phase(ctx, PhaseCatalogue, m.Platform.String(), func(ctx context.Context) (n int64, err error) {
		doc, err = r.document(ctx, m)
		return m.ContentSize, err
	})
	if err != nil {
		return errs.Op("scan: catalogue "+string(m.Digest), err)
	}
	r.result.Pulled += m.ContentSize
	r.tracker.Packages(doc.Packages)
	a.Document = &doc
	if a.Partial == "" {
		a.Partial = Partial(doc.OS)
	}
	if a.Partial != "" && doc.Unseen != "" {
		a.Partial += "; "
	}
	a.Partial += doc.Unseen
	return r.phase(ctx, PhaseInventory, m.Platform.String(), func(ctx context.Context) (n int64, err error) {
		a.Inventory, err = r.Matcher.Inventory(ctx, doc)
		doc.Value = nil // it takes room that nobody needs from here on
		return int64(len(doc.JSON)), errs.Op("scan: inventory of "+string(m.Digest), err)
	})
}

func (r *run) document(ctx context.Context, m Manifest) (sbom.Document, error) {
	if m.Kind == image.KindSBOM {
		raw, err := r.Store.Upload(ctx, m.Digest)
		if err != nil {
			return sbom.Document{}, err
		}
		return r.Cataloger.Convert(ctx, raw)
	}
	ref := r.job.Ref
	ref.Digest = m.Digest
	r.tracker.Begin(PhasePull)
	img, err := r.Registry.Image(ctx, ref)
	if err != nil {
		return sbom.Document{}, err
	}
	return r.Cataloger.Catalog(ctx, Follow(r.tracker, img), ref)
}

func (r *run) withinLimits(m Manifest) error {
	switch l := r.Limits; {
	case m.Unread != nil: // nothing is known that a limit could be held against
		return m.Unread
	case l.ImageBytes > 0 && m.ContentSize > l.ImageBytes:
		return errs.New(errs.TooLarge, "scan: layers sum up to %d bytes, the limit is %d", m.ContentSize, l.ImageBytes).
			WithHint("raise limits.image_bytes to scan it")
	case l.Layers > 0 && len(m.Layers) > l.Layers:
		return errs.New(errs.TooLarge, "scan: %d layers, the limit is %d", len(m.Layers), l.Layers).
			WithHint("raise limits.layers to scan it")
	}
	return nil
}

// Partial says why the catalogue of an image for an operating system can never
// be whole; empty when it can.
func Partial(os string) string {
	if os == "windows" {
		return "windows: what Windows itself installs is not seen"
	}
	return ""
}
