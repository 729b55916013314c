package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
)

// imageJob is an image that a worker process has to catalogue.
type imageJob struct {
	worker    *worker
	cataloger *Cataloger
	ref       image.Reference
	img       *guardedImage
	ended     chan result // the catalogue, or a layer that cannot be opened

	busy  sync.WaitGroup // with layers
	lanes [sandbox.Lanes]sync.Mutex

	mu     sync.Mutex
	read   []*layers.Layer
	there  int // of read
	failed bool
	again  map[int]chan layerPlace // who waits for everything of a layer
}

// image does a job from its first message to its last.
func (w *worker) image(first sandbox.Frame) {
	j, err := w.begin(first)
	if err != nil {
		w.finish(result{err: err}) // what else comes about this image is lost on us
		return
	}
	r := j.run()
	j.close()
	w.finish(r)
}

// begin reads the order and checks what is known before any layer is read.
func (w *worker) begin(first sandbox.Frame) (*imageJob, error) {
	var order imageOrder
	if err := json.Unmarshal(first.Body, &order); err != nil {
		return nil, toldErr(err)
	}
	told := &toldImage{manifest: (<-w.peer.Frames()).Body, config: (<-w.peer.Frames()).Body, mediaType: order.MediaType}
	img, err := told.image()
	if err != nil {
		return nil, err
	}
	c := w.bound(order.Bounds)
	guarded, err := guard(img, order.Reference.Digest, c.options)
	if err == nil {
		err = guarded.withhold(order.Missing)
	}
	if err != nil {
		return nil, err
	}
	return &imageJob{
		worker: w, cataloger: c, ref: order.Reference, img: guarded, ended: make(chan result, 1),
		read: make([]*layers.Layer, len(guarded.layers)), again: map[int]chan layerPlace{},
	}, nil
}

// run takes orders about layers until the image is catalogued or given up.
func (j *imageJob) run() result {
	j.catalogueIfComplete() // an image may have no layers
	for {
		select {
		case r := <-j.ended:
			return r
		case f := <-j.worker.peer.Frames():
			switch f.Kind {
			case kindUnpack:
				j.unpack(f)
			case kindLayer:
				j.place(f)
			case kindAbandon:
				return result{err: errs.New(gaveUp, "given up")}
			}
		}
	}
}

// close lets go of everything once nobody is at it.
func (j *imageJob) close() {
	j.mu.Lock()
	for _, waiting := range j.again {
		close(waiting)
	}
	j.again = nil
	j.mu.Unlock()
	j.busy.Wait()
	closeLayers(j.read)
}

// unpack goes over a layer that comes on a lane.
func (j *imageJob) unpack(f sandbox.Frame) {
	var order unpackOrder
	if err := json.Unmarshal(f.Body, &order); err != nil {
		j.end(result{err: toldErr(err)})
		return
	}
	j.busy.Go(func() {
		lane := &j.lanes[order.Lane]
		lane.Lock()
		defer lane.Unlock()
		blob := j.worker.peer.Lane(order.Lane)
		defer func() { _ = blob.Close() }()
		answer := unpacked{variant: order.variant, DiffID: j.img.layers[order.Layer].diffID.String()}
		// The rest of the lane is skipped after the answer, also after that of a layer
		// that cannot be unpacked: whoever sends may stop.
		content, err := layers.Decompress(io.NopCloser(blob))
		if err == nil {
			defer func() { _ = content.Close() }()
			l := j.img.layers[order.Layer]
			limits := layers.Limits(&spending{layer: l})
			if order.Everything {
				limits = layers.Unlimited{}
			}
			err = readSafely(func() error {
				return layers.Read(context.Background(), content, answer.DiffID, limits, order.Everything, order.Dir)
			})
		}
		if err != nil {
			answer.Cut, answer.Failure = errors.Is(err, sandbox.ErrCut), failureOf(err)
		}
		_ = j.worker.peer.Send(frame(kindUnpacked, answer))
	})
}

// readSafely makes a panic an error.
func readSafely(read func() error) (err error) {
	defer recoverInto(&err)
	return read()
}

// place opens a layer where it is now, or hears that it will not come.
func (j *imageJob) place(f sandbox.Frame) {
	var at layerPlace
	if err := json.Unmarshal(f.Body, &at); err != nil {
		j.end(result{err: toldErr(err)})
		return
	}
	if at.Everything {
		j.mu.Lock()
		waiting := j.again[at.Layer]
		delete(j.again, at.Layer)
		j.mu.Unlock()
		if waiting != nil {
			waiting <- at
		}
		return
	}
	if at.Failure != nil {
		j.end(result{err: at.Failure.err()})
		return
	}
	j.busy.Go(func() { j.open(at) })
}

// open opens a layer. It may have had to make room meanwhile, and is wanted again
// then.
func (j *imageJob) open(at layerPlace) {
	l, err := layers.Load(at.Dir, func() (*layers.Layer, error) { return j.everything(at.Layer) })
	if errs.Is(err, errs.NotFound) {
		_ = j.worker.peer.Send(frame(kindWanted, at.variant))
		return
	}
	if err != nil {
		j.end(result{err: err})
		return
	}
	j.mu.Lock()
	j.read[at.Layer] = l
	j.there++
	j.mu.Unlock()
	j.catalogueIfComplete()
}

// everything asks for a layer with all its content.
func (j *imageJob) everything(layer int) (*layers.Layer, error) {
	waiting := make(chan layerPlace, 1)
	j.mu.Lock()
	if j.again == nil {
		j.mu.Unlock()
		return nil, errs.New(errs.Canceled, "the job is over")
	}
	j.again[layer] = waiting
	j.mu.Unlock()
	if err := j.worker.peer.Send(frame(kindWanted, variant{Layer: layer, Everything: true})); err != nil {
		return nil, err
	}
	at, ok := <-waiting
	switch {
	case !ok:
		return nil, errs.New(errs.Canceled, "the job is over")
	case at.Failure != nil:
		return nil, at.Failure.err()
	}
	return layers.Load(at.Dir, nil)
}

// catalogueIfComplete begins when every layer is there.
func (j *imageJob) catalogueIfComplete() {
	j.mu.Lock()
	complete := j.there == len(j.read)
	j.mu.Unlock()
	if complete {
		go func() {
			doc, err := j.cataloger.catalogued(context.Background(), j.img, j.ref, j.read)
			j.end(result{doc, err, !panicked(err)})
		}()
	}
}

// end says what came of the job. Only the first counts.
func (j *imageJob) end(r result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.failed {
		j.failed = true
		j.ended <- r
	}
}
