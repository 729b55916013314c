package scan_test

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func layered(t *testing.T, contents ...string) v1.Image {
	t.Helper()
	img := empty.Image
	for _, c := range contents {
		var err error
		if img, err = mutate.AppendLayers(img, static.NewLayer([]byte(c), types.OCILayer)); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func open(t *testing.T, img v1.Image, layer int) io.ReadCloser {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layers[layer].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func read(t *testing.T, from io.Reader, n int) {
	t.Helper()
	if _, err := io.CopyN(io.Discard, from, int64(n)); err != nil {
		t.Fatal(err)
	}
}

func TestFollowTellsWhatIsReadOfAnImage(t *testing.T) {
	tracker := &scan.Tracker{}
	tracker.Image("linux/arm64", 2, 3)
	img := scan.Follow(tracker, layered(t, "base", "the same", "the same", "on top"))
	of := func(phase string, bytes int64, layers int) scan.Progress {
		return scan.Progress{Phase: phase, Platform: "linux/arm64", Image: 2, Images: 3, Bytes: bytes, BytesOf: 26, Layers: layers, LayersOf: 4}
	}
	tell := func(step string, want scan.Progress) {
		t.Helper()
		if diff := cmp.Diff(want, tracker.Progress()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step, diff)
		}
	}
	tell("at first", of("pull", 0, 0))
	first := open(t, img, 3)
	read(t, first, 2)
	tell("a part of a layer", of("pull", 2, 0))
	again := open(t, img, 3)
	read(t, again, 3)
	read(t, first, 1)
	tell("the same part once more, and a byte", of("pull", 3, 0))
	read(t, again, 3)
	tell("a layer", of("pull", 6, 1))
	tracker.LayerDone(0)
	tracker.LayerDone(0)
	tracker.LayerDone(3)
	tracker.LayerDone(4) // there is none
	tell("one that was kept from before", of("pull", 10, 2))
	read(t, open(t, img, 1), 8)
	tell("a layer that stands in the image twice", of("pull", 18, 3))
	read(t, open(t, img, 2), 8)
	tell("the last", of("catalogue", 26, 4))
	tracker.Packages(7)
	tracker.Begin(scan.PhaseMatch)
	want := of("match", 26, 4)
	want.Packages = 7
	tell("what is inside", want)
	tracker.Image("linux/amd64", 3, 3)
	tell("the next image", scan.Progress{Phase: "match", Platform: "linux/amd64", Image: 3, Images: 3})
}

func TestFollowLeavesContentsAsTheyAre(t *testing.T) {
	img := layered(t, "base", strings.Repeat("x", 100_000))
	followed := scan.Follow(&scan.Tracker{}, img)
	want, err := io.ReadAll(open(t, img, 1))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(open(t, followed, 1))
	if err != nil || !bytes.Equal(want, got) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
	}
}

func TestAnImageWithoutLayersIsCataloguedAtOnce(t *testing.T) {
	tracker := &scan.Tracker{}
	scan.Follow(tracker, layered(t))
	if got := tracker.Progress().Phase; got != scan.PhaseCatalogue {
		t.Errorf("phase %q", got)
	}
}

func TestNobodyNeedsToFollow(t *testing.T) {
	tracker := scan.TrackerOf(t.Context())
	img := layered(t, "base")
	if scan.Follow(tracker, img) != img {
		t.Error("the image is another")
	}
	tracker.Begin(scan.PhaseStore)
	tracker.LayerDone(0)
	tracker.Packages(1)
	if got := tracker.Progress(); got != (scan.Progress{}) {
		t.Errorf("got %+v", got)
	}
}

func TestATrackerIsToldByMany(t *testing.T) {
	tracker := &scan.Tracker{}
	if scan.TrackerOf(scan.WithTracker(t.Context(), tracker)) != tracker {
		t.Fatal("the context does not lead to the tracker")
	}
	img := scan.Follow(tracker, layered(t, strings.Repeat("a", 10_000), strings.Repeat("b", 10_000), strings.Repeat("c", 10_000)))
	var readers sync.WaitGroup
	for i := range 9 {
		content := open(t, img, i%3)
		readers.Go(func() {
			for b := make([]byte, 100); ; {
				if _, err := content.Read(b); err != nil {
					return
				}
				_ = tracker.Progress()
			}
		})
	}
	readers.Wait()
	if got := tracker.Progress(); got.Bytes != 30_000 || got.Layers != 3 || got.Phase != scan.PhaseCatalogue {
		t.Errorf("got %+v", got)
	}
}

func TestLanes(t *testing.T) {
	for priority, want := range map[int]string{
		scan.PriorityRequest: "waiting", scan.PriorityPush: "push", scan.PriorityRescan: "rescan", scan.PriorityReconcile: "backfill",
		100: "waiting", 5: "push", -1: "rescan", -100: "backfill",
	} {
		if got := scan.Lane(priority); got != want {
			t.Errorf("lane of %d is %q, want %q", priority, got, want)
		}
	}
}
