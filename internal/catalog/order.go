package catalog

import (
	"encoding/json"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/sandbox"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// Kinds of frames between this process, which has images and the cache, and a
// worker process, which looks into them. A job begins with kindImage or
// kindConvert and ends with kindFailed, or with the last three.
const (
	// To the worker.
	kindImage    = 16 + iota // imageOrder; the next two follow
	kindManifest             // as the registry has it
	kindConfig               // as the registry has it
	kindConvert              // a document
	kindBounds               // bounds, before kindConvert
	kindUnpack               // unpackOrder; the blob comes on a lane
	kindLayer                // layerPlace
	kindAbandon              // no more of this image

	// From the worker.
	kindUnpacked  // unpacked
	kindWanted    // variant: a layer that is not there (any more)
	kindFailed    // failure
	kindDone      // outcome; the next two follow
	kindDocument  // syft JSON
	kindInventory // as inventory.Encode writes it; empty when nobody took it
)

// bounds are the limits that a worker keeps to.
type bounds struct {
	Bytes, Ratio, Free, Entries int64
	Packages, DocumentBytes     int
	Parallelism                 int
}

func (o Options) bounds() bounds {
	return bounds{o.MaxUncompressedBytes, o.MaxRatio, o.free, o.MaxEntries, o.MaxPackages, o.MaxDocumentBytes, o.Parallelism}
}

func (b bounds) options(tempDir string) Options {
	return Options{
		TempDir: tempDir, MaxUncompressedBytes: b.Bytes, MaxRatio: b.Ratio, free: b.Free, MaxEntries: b.Entries,
		MaxPackages: b.Packages, MaxDocumentBytes: b.DocumentBytes, Parallelism: b.Parallelism,
	}
}

// imageOrder asks for the catalogue of an image. The layers follow one by one.
type imageOrder struct {
	Reference image.Reference
	MediaType string
	Missing   []int // layers that are left out
	Bounds    bounds
}

// variant is a layer by its number, as it is kept: with everything, or with what
// catalogers may ask for.
type variant struct {
	Layer      int
	Everything bool
}

// unpackOrder asks to go over the blob that comes on a lane, and to leave in Dir
// what is to be kept.
type unpackOrder struct {
	variant
	Lane int
	Dir  string
}

// unpacked is the answer to unpackOrder.
type unpacked struct {
	variant
	DiffID  string
	Cut     bool     // the blob broke off
	Failure *failure // what is wrong with the layer
}

// layerPlace says where a layer is, or why it is not.
type layerPlace struct {
	variant
	Dir     string
	Failure *failure
}

// outcome is a document without its text.
type outcome struct {
	Tool, ToolVersion string
	Packages          int
	OS, Distro        string
	// Recalled and Run count catalogers, for the metrics.
	Recalled, Run int
}

func outcomeOf(d sbom.Document, t *tally) outcome {
	return outcome{d.Tool, d.ToolVersion, d.Packages, d.OS, d.Distro, int(t.recalled.Swap(0)), int(t.run.Swap(0))}
}

// failure is an error on its way.
type failure struct {
	Kind       errs.Kind
	Text, Hint string
	// Sound says of a worker that it is as good as before: it noticed in an orderly
	// way, with nothing of the job left.
	Sound bool
}

// gaveUp is the kind of failure of a worker that did what kindAbandon says.
const gaveUp = errs.Canceled

// longestFailure is more than a person reads.
const longestFailure = 2000

func failureOf(err error) *failure {
	return &failure{Kind: errs.KindOf(err), Text: text.Clean(err.Error(), longestFailure), Hint: text.Clean(errs.Hint(err), longestFailure)}
}

// err is the error again. Whoever sent it may say what it likes; the kind is one
// that content can cause.
func (f failure) err() error {
	switch f.Kind {
	case errs.Invalid, errs.TooLarge, errs.Bomb, errs.Unsupported, errs.Malformed, errs.Unavailable:
	default:
		f.Kind = errs.Malformed
	}
	return &errs.Error{Kind: f.Kind, Op: text.Clean(f.Text, longestFailure), Hint: text.Clean(f.Hint, longestFailure)}
}

// frame writes a message.
func frame(kind byte, message any) sandbox.Frame {
	body, err := json.Marshal(message)
	if err != nil {
		panic(errs.Wrap(errs.Internal, "catalog: write message", err)) // only plain data comes here
	}
	return sandbox.Frame{Kind: kind, Body: body}
}
