package api

import (
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

func TestPlacesAreGivenUntilTheyAreTakenAndAgainWhenLeft(t *testing.T) {
	m, err := newMetrics(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &handler{metrics: m}
	places := make(chan struct{}, 1)
	leave, err := h.place(places, "too many of them")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.place(places, "too many of them"); !errs.Is(err, errs.RateLimited) || errs.RetryAfter(err) == 0 {
		t.Errorf("with every place taken: %v", err)
	}
	leave()
	if _, err := h.place(places, "too many of them"); err != nil {
		t.Errorf("after one left: %v", err)
	}
}
