package catalog

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"runtime/metrics"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// TakeInventory reads from an SBOM what there is to match.
type TakeInventory func(ctx context.Context, doc sbom.Document) (*inventory.Inventory, error)

// Work does what a worker process does as long as its parent lives: it catalogues
// the images and converts the documents that a Cataloger with Options.Workers
// sends it. It has nothing but what comes on the line and the directories it was
// given. It returns only when it could not begin.
func Work(peer *sandbox.Peer, take TakeInventory) error {
	w := &worker{peer: peer, take: take, cataloger: New(Options{TempDir: peer.Dirs()[workDir]})}
	if err := w.cataloger.Warm(); err != nil {
		return err
	}
	// What was built stays; what it was built from goes.
	debug.FreeOSMemory()
	// Collecting garbage at twice the usual distance saves a tenth of the
	// processor for some 15 MB. GOMEMLIMIT has it collect sooner where that counts.
	debug.SetGCPercent(200)
	if err := peer.Ready(); err != nil {
		return err
	}
	var b bounds
	for f := range peer.Frames() {
		switch f.Kind {
		case kindImage:
			w.image(f)
		case kindBounds:
			if err := json.Unmarshal(f.Body, &b); err != nil {
				return err
			}
		case kindConvert:
			doc, err := w.bound(b).Convert(context.Background(), f.Body)
			w.finish(result{doc, err, !panicked(err)})
		}
		calm()
	}
	return nil
}

// worker is what a worker process has between jobs.
type worker struct {
	peer      *sandbox.Peer
	take      TakeInventory
	cataloger *Cataloger
	tally     tally // of the job
}

// bound returns the cataloger with the limits of a job.
func (w *worker) bound(b bounds) *Cataloger {
	c := *w.cataloger
	c.options = b.options(w.peer.Dirs()[workDir])
	c.options.Metrics = &Metrics{tally: &w.tally}
	return &c
}

// result is what came of a job. One that came to nothing says whether this process
// is as good as before.
type result struct {
	doc   sbom.Document
	err   error
	sound bool
}

// finish sends what came of a job.
func (w *worker) finish(r result) {
	var taken []byte
	if r.err == nil && w.take != nil {
		var inv *inventory.Inventory
		if inv, r.err = w.take(context.Background(), r.doc); r.err == nil {
			taken = inv.Encode()
		}
		r.sound = false // nobody knows what went wrong there
	}
	if r.err != nil {
		told := failureOf(r.err)
		told.Sound = r.sound
		_ = w.peer.Send(frame(kindFailed, told))
		return
	}
	// Sending fails only when nobody is left who listens.
	for _, f := range []sandbox.Frame{
		frame(kindDone, outcomeOf(r.doc, &w.tally)), {Kind: kindDocument, Body: r.doc.JSON}, {Kind: kindInventory, Body: taken},
	} {
		_ = w.peer.Send(f)
	}
}

// calm gives memory back that a large job took, before the next one.
func calm() {
	const large = 192 << 20
	taken := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/unused:bytes"}}
	metrics.Read(taken)
	var n uint64
	for _, s := range taken {
		n += s.Value.Uint64()
	}
	if n > large {
		debug.FreeOSMemory()
	}
}

// toldErr is the failure to read a message of the parent, which is a fault of
// ours.
func toldErr(err error) error { return errs.Wrap(errs.Internal, "catalog: read message", err) }
