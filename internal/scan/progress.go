package scan

import (
	"context"
	"sync"
)

// Progress is how far a running scan is. Bytes, layers and packages are of the
// image it is at.
type Progress struct {
	Phase    string `json:"phase"` // as Phase.Name; empty before the first
	Platform string `json:"platform,omitempty"`
	// Image counts from 1 to Images, those of the index to look at; both are zero
	// until the target was resolved.
	Image  int `json:"image"`
	Images int `json:"images"`
	// Bytes are the compressed bytes of layers that are there, read now or kept
	// from before; BytesOf is how many there will be.
	Bytes    int64 `json:"bytes"`
	BytesOf  int64 `json:"bytes_of"`
	Layers   int   `json:"layers"`
	LayersOf int   `json:"layers_of"`
	Packages int   `json:"packages"` // zero until they are known
}

// Tracker follows a scan. A nil *Tracker follows nothing. It is safe for
// concurrent use.
type Tracker struct {
	mu     sync.Mutex
	now    Progress
	layers []layerProgress
}

type layerProgress struct {
	size, read int64
	done       bool
}

type trackerKey struct{}

// WithTracker lets whoever works under ctx tell t how far it is.
func WithTracker(ctx context.Context, t *Tracker) context.Context {
	return context.WithValue(ctx, trackerKey{}, t)
}

// TrackerOf returns who is to be told; nil for nobody.
func TrackerOf(ctx context.Context) *Tracker {
	t, _ := ctx.Value(trackerKey{}).(*Tracker)
	return t
}

// Progress returns how far the scan is; the zero value when nobody follows it.
func (t *Tracker) Progress() Progress {
	if t == nil {
		return Progress{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.now
}

// change does something to what is known.
func (t *Tracker) change(do func()) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	do()
}

// Begin notes that a phase begins.
func (t *Tracker) Begin(phase string) { t.change(func() { t.now.Phase = phase }) }

// Image notes that the scan comes to an image, the number-th of so many.
func (t *Tracker) Image(platform string, number, of int) {
	t.change(func() {
		t.now = Progress{Phase: t.now.Phase, Platform: platform, Image: number, Images: of}
		t.layers = nil
	})
}

// Pull notes that layers of the given compressed sizes are wanted, base first.
func (t *Tracker) Pull(sizes []int64) {
	t.change(func() {
		t.now.Phase = PhasePull
		t.now.Bytes, t.now.BytesOf, t.now.Layers, t.now.LayersOf = 0, 0, 0, len(sizes)
		t.layers = make([]layerProgress, len(sizes))
		for i, size := range sizes {
			t.layers[i].size = size
			t.now.BytesOf += size
		}
		t.catalogue()
	})
}

// LayerRead notes that so many compressed bytes of a layer were read, from its
// beginning: who reads a layer again does not count twice.
func (t *Tracker) LayerRead(number int, bytes int64) {
	t.change(func() {
		l := t.layer(number)
		if bytes = min(bytes, l.size); bytes <= l.read {
			return
		}
		t.now.Bytes += bytes - l.read
		if l.read = bytes; l.read == l.size {
			t.done(l)
		}
	})
}

// LayerDone notes that a layer is there, though it may not have been read now.
// After the last one the image is catalogued.
func (t *Tracker) LayerDone(number int) {
	t.change(func() {
		l := t.layer(number)
		t.now.Bytes += l.size - l.read
		l.read = l.size
		t.done(l)
	})
}

// Packages notes how many packages were found.
func (t *Tracker) Packages(n int) { t.change(func() { t.now.Packages = n }) }

// layer returns a layer; one that nobody asks for when there is none.
func (t *Tracker) layer(number int) *layerProgress {
	if number < 0 || number >= len(t.layers) {
		return &layerProgress{done: true}
	}
	return &t.layers[number]
}

func (t *Tracker) done(l *layerProgress) {
	if !l.done {
		l.done = true
		t.now.Layers++
		t.catalogue()
	}
}

// catalogue goes on to the next phase when every layer is there.
func (t *Tracker) catalogue() {
	if t.now.Phase == PhasePull && t.now.Layers == t.now.LayersOf {
		t.now.Phase = PhaseCatalogue
	}
}
