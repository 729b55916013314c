package scan

import (
	"context"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// lateStore does not know an image when it is first asked, and does once it is
// reserved: another scan has answered it in between.
type lateStore struct {
	Store
	reserved bool
}

func (s *lateStore) Known(context.Context, image.Digest, string) (Known, error) {
	return Known{Catalogued: s.reserved, Current: s.reserved}, nil
}

func (s *lateStore) Reserve(context.Context, Job, image.Digest) error {
	s.reserved = true
	return nil
}

type anyVersion struct{ Cataloger }

func (anyVersion) Version() string { return "v1" }

// Two scans of one digest may both find it unknown. The one that comes second to
// the reservation, when the first has answered, does nothing: neither the
// registry nor the cataloger is asked, which would fail here.
func TestAnImageThatAnotherScanAnsweredMeanwhileIsNotReadAgain(t *testing.T) {
	store := &lateStore{}
	r := &run{Scanner: &Scanner{Store: store, Cataloger: anyVersion{}}}
	if err := r.image(t.Context(), Manifest{Digest: "sha256:aa", Kind: image.KindImage}); err != nil {
		t.Fatal(err)
	}
	if !store.reserved {
		t.Error("the image was not reserved")
	}
}
