package catalog

import (
	"context"
	"encoding/json"
	"path/filepath"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/catalog/layers"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// The directories of a worker, in the order of sandbox.Options.Private.
const (
	workDir  = 0 // for temporary files
	stageDir = 1 // where layers are read to
)

// errand is one image in the hands of a worker process: this process fetches what
// the worker asks for, and believes nothing of what it answers.
type errand struct {
	cataloger *Cataloger
	conn      *sandbox.Conn
	img       *guardedImage
	ref       image.Reference
	store     *layers.Store
	tracker   *scan.Tracker
	lanes     chan int // that are free

	fetching sync.WaitGroup
	over     chan struct{} // closed when nothing is heard any more

	mu      sync.Mutex
	waiting map[variant]chan unpacked
	asked   int   // for layers, by the worker
	wants   int   // of them, not answered yet
	settled bool  // the worker can go on with another image
	cause   error // why this process gave up
}

// sendOut has a worker process catalogue an image. The document's Value is its
// inventory.
func (c *Cataloger) sendOut(ctx context.Context, img *guardedImage, ref image.Reference) (doc sbom.Document, err error) {
	err = c.options.Workers.Run(ctx, func(ctx context.Context, conn *sandbox.Conn) error {
		store, err := c.storeFor(conn)
		if err != nil {
			return err
		}
		e := &errand{
			cataloger: c, conn: conn, img: img.again(), ref: ref, store: store, tracker: scan.TrackerOf(ctx),
			lanes: make(chan int, sandbox.Lanes), over: make(chan struct{}), waiting: map[variant]chan unpacked{},
		}
		for n := range sandbox.Lanes {
			e.lanes <- n
		}
		doc, err = e.run(ctx)
		return err
	})
	return doc, err
}

// storeFor returns where layers are kept: the cache, or without one a part of the
// worker's own directory, which is emptied after the job.
func (c *Cataloger) storeFor(conn *sandbox.Conn) (*layers.Store, error) {
	if c.options.CacheDir != "" {
		return c.cache()
	}
	return layers.Open(layers.Settings{Dir: filepath.Join(conn.Dir(stageDir), "layers"), KeepFree: c.options.KeepFree})
}

// run gives the order, fetches the layers and waits for what comes of it.
func (e *errand) run(ctx context.Context) (sbom.Document, error) {
	if err := e.order(); err != nil {
		return sbom.Document{}, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	e.fetching.Go(func() {
		if err := e.fetchAll(ctx, stop); err != nil {
			_ = e.conn.Send(sandbox.Frame{Kind: kindAbandon}) // who listens hears when that fails
		}
	})
	doc, err := e.listen(ctx)
	if err != nil && !e.settled {
		// Nobody may wait for it, and it does not get another job.
		e.conn.Kill()
	}
	close(e.over)
	stop(err)
	e.fetching.Wait()
	return doc, err
}

// order tells the worker of the image.
func (e *errand) order() error {
	manifest, err := e.img.RawManifest()
	if err != nil {
		return readError("read manifest", err)
	}
	config, err := e.img.RawConfigFile()
	if err != nil {
		return readError("read config", err)
	}
	mediaType, err := e.img.MediaType()
	if err != nil {
		return readError("read manifest", err)
	}
	for _, f := range []sandbox.Frame{
		frame(kindImage, imageOrder{Reference: e.ref, MediaType: string(mediaType), Missing: e.img.missing, Bounds: e.cataloger.options.bounds()}),
		{Kind: kindManifest, Body: manifest},
		{Kind: kindConfig, Body: config},
	} {
		if err := e.conn.Send(f); err != nil {
			return err
		}
	}
	return nil
}

// listen takes what the worker says until it says the last.
func (e *errand) listen(ctx context.Context) (sbom.Document, error) {
	for {
		f, err := e.conn.Receive(e.longest)
		if err != nil {
			return sbom.Document{}, err
		}
		switch f.Kind {
		case kindUnpacked:
			err = e.answered(f)
		case kindWanted:
			err = e.wanted(ctx, f)
		case kindFailed:
			return sbom.Document{}, e.failed(f)
		case kindDone:
			return e.receive(f)
		default:
			err = e.conn.Broke("a message that has no place here")
		}
		if err != nil {
			return sbom.Document{}, err
		}
	}
}

// longest bounds each kind of message.
func (e *errand) longest(kind byte) int64 { return e.cataloger.longest(kind) }

func (c *Cataloger) longest(kind byte) int64 {
	const short = 64 << 10
	switch kind {
	case kindUnpacked, kindWanted, kindFailed, kindDone:
		return short
	case kindDocument, kindInventory:
		return int64(c.options.MaxDocumentBytes)
	}
	return -1
}

// failed is the end of a job that came to nothing. What this process knows of the
// reason goes before what the worker makes of it.
func (e *errand) failed(f sandbox.Frame) error {
	var told failure
	if err := json.Unmarshal(f.Body, &told); err != nil {
		return e.conn.Broke("a failure that cannot be read")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// Then nothing is under way any more.
	if e.cause != nil && told.Kind == gaveUp || e.cause == nil && told.Sound && e.wants == 0 {
		e.settled = true
		e.conn.Settle()
	}
	if e.cause != nil {
		return e.cause
	}
	return told.err()
}

func (e *errand) receive(f sandbox.Frame) (sbom.Document, error) {
	return e.cataloger.receive(e.conn, f)
}

// receive takes the three messages of a result.
func (c *Cataloger) receive(conn *sandbox.Conn, f sandbox.Frame) (sbom.Document, error) {
	var o outcome
	if err := json.Unmarshal(f.Body, &o); err != nil || o.Packages < 0 || o.Packages > c.options.MaxPackages {
		return sbom.Document{}, conn.Broke("an outcome that cannot be")
	}
	c.options.Metrics.told(o.Recalled, o.Run)
	doc := sbom.Document{Tool: o.Tool, ToolVersion: o.ToolVersion, Packages: o.Packages, OS: o.OS, Distro: o.Distro}
	body, err := conn.Receive(c.longest)
	if err != nil {
		return sbom.Document{}, err
	}
	encoded, err := conn.Receive(c.longest)
	switch {
	case err != nil:
		return sbom.Document{}, err
	case body.Kind != kindDocument, encoded.Kind != kindInventory:
		return sbom.Document{}, conn.Broke("not the result that was announced")
	}
	doc.JSON = body.Body
	if len(encoded.Body) > 0 {
		inv, err := inventory.Decode(encoded.Body, c.options.MaxPackages)
		if errs.Is(err, errs.Malformed) {
			return sbom.Document{}, conn.Broke(err.Error())
		}
		if err != nil {
			return sbom.Document{}, err
		}
		doc.Value = inv
	}
	return doc, nil
}

// convertOutside has a worker process read a document.
func (c *Cataloger) convertOutside(ctx context.Context, document []byte) (doc sbom.Document, err error) {
	err = c.options.Workers.Run(ctx, func(_ context.Context, conn *sandbox.Conn) error {
		if err := conn.Send(frame(kindBounds, c.options.bounds())); err != nil {
			return err
		}
		if err := conn.Send(sandbox.Frame{Kind: kindConvert, Body: document}); err != nil {
			return err
		}
		f, err := conn.Receive(c.longest)
		switch {
		case err != nil:
			return err
		case f.Kind == kindDone:
			doc, err = c.receive(conn, f)
			return err
		case f.Kind != kindFailed:
			return conn.Broke("a message that has no place here")
		}
		var told failure
		if err := json.Unmarshal(f.Body, &told); err != nil {
			return conn.Broke("a failure that cannot be read")
		}
		if told.Sound {
			conn.Settle()
		}
		return told.err()
	})
	return doc, err
}
