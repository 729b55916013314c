package catalog

import (
	"context"
	"encoding/json"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
)

// fetchAll makes sure that every layer is kept, and tells the worker where. A
// failure stops the others. It returns when none is under way any more.
func (e *errand) fetchAll(ctx context.Context, stop context.CancelCauseFunc) error {
	var group errgroup.Group
	group.SetLimit(parallelLayers)
	for n := range e.img.layers {
		group.Go(func() error {
			err := e.fetch(ctx, variant{Layer: n})
			if err != nil {
				stop(err)
				return err
			}
			e.tracker.LayerDone(n)
			return nil
		})
	}
	if group.Wait() == nil {
		return nil
	}
	// The first failure, not those of the others that it stopped.
	return e.giveUp(context.Cause(ctx))
}

// giveUp remembers why, unless there was a reason before.
func (e *errand) giveUp(err error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil {
		e.cause = err
	}
	return err
}

// fetch makes sure that a layer is kept, and tells the worker where.
func (e *errand) fetch(ctx context.Context, v variant) (err error) {
	defer recoverInto(&err)
	l := e.img.layers[v.Layer]
	limits := layers.Limits(&spending{layer: l})
	if v.Everything {
		limits = layers.Unlimited{}
	}
	kept, err := e.store.Keep(ctx, l.key(), v.Everything, limits, e.conn.Dir(stageDir), func(ctx context.Context, dir string) error {
		return e.unpack(ctx, l, unpackOrder{variant: v, Dir: dir})
	})
	if err != nil {
		return err
	}
	e.cataloger.options.Metrics.kept(v, kept)
	return e.conn.Send(frame(kindLayer, layerPlace{variant: v, Dir: kept.Dir}))
}

// wanted fetches a layer that the worker asks for: with what was not kept, or once
// more when it made room for another in the meantime.
func (e *errand) wanted(ctx context.Context, f sandbox.Frame) error {
	const patience, each = 16, 4
	var v variant
	if err := json.Unmarshal(f.Body, &v); err != nil || v.Layer < 0 || v.Layer >= len(e.img.layers) {
		return e.conn.Broke("it wants a layer that is not there")
	}
	if e.asked++; e.asked > patience+each*len(e.img.layers) {
		return e.conn.Broke("it wants layers again and again")
	}
	e.count(1)
	e.fetching.Go(func() {
		defer e.count(-1)
		if err := e.fetch(ctx, v); err != nil {
			_ = e.giveUp(err)
			_ = e.conn.Send(frame(kindLayer, layerPlace{variant: v, Failure: failureOf(err)}))
		}
	})
	return nil
}

func (e *errand) count(more int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wants += more
}

// answered hands on what the worker says of a layer.
func (e *errand) answered(f sandbox.Frame) error {
	var u unpacked
	if err := json.Unmarshal(f.Body, &u); err != nil {
		return e.conn.Broke("a message that cannot be read")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	waiting := e.waiting[u.variant]
	if waiting == nil {
		return e.conn.Broke("it read a layer that it was not asked to")
	}
	delete(e.waiting, u.variant)
	waiting <- u
	return nil
}

// unpack has the worker go over a layer while it comes from the registry.
func (e *errand) unpack(ctx context.Context, l *guardedLayer, order unpackOrder) error {
	select {
	case order.Lane = <-e.lanes:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { e.lanes <- order.Lane }()
	blob, err := l.Compressed()
	if err != nil {
		return readError("open layer", err)
	}
	defer func() { _ = blob.Close() }()
	defer context.AfterFunc(ctx, func() { _ = blob.Close() })()

	answer := make(chan unpacked, 1)
	e.mu.Lock()
	e.waiting[order.variant] = answer
	e.mu.Unlock()
	if err := e.conn.Send(frame(kindUnpack, order)); err != nil {
		return err
	}
	said, err := e.stream(order.Lane, blob, answer)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return readError("read layer", err)
	case said.Failure != nil:
		return said.Failure.err()
	case said.DiffID != l.diffID.String():
		return e.conn.Broke("it read another layer than it was asked to")
	}
	return nil
}

// stream sends a blob and returns what the worker says of it. The worker may say
// that something is wrong before the end; that all is well counts only when the
// blob came to its end as well, where its digest is known.
func (e *errand) stream(lane int, blob io.ReadCloser, answer <-chan unpacked) (said unpacked, err error) {
	stop, sent := make(chan struct{}), make(chan error, 1)
	go func() { sent <- e.conn.Stream(lane, blob, stop) }()
	select {
	case said = <-answer:
		if said.Failure != nil {
			close(stop)
			_ = blob.Close()
		}
		err = <-sent
		if said.Failure != nil && !said.Cut {
			err = nil // of the stream that nobody wants any more
		}
		return said, err
	case <-e.over:
		_ = blob.Close()
		<-sent
		return unpacked{}, errOver
	case err = <-sent:
	}
	select {
	case said = <-answer:
	case <-e.over:
		err = errOver
	}
	return said, err
}

// errOver: the job ended before the layer did.
var errOver = errs.New(errs.Canceled, "catalog: the job is over")
