package registry

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Whoever asks while a look-up hangs gets the error it came to, and no further
// look-up hangs beside it.
func TestOfLookUpsThatHangThereIsOne(t *testing.T) {
	var before straggler
	var begun atomic.Int32
	release, late := make(chan struct{}), errs.New(errs.Timeout, "late")
	hang := func() (int, error) {
		begun.Add(1)
		<-release
		return 1, nil
	}
	for range 20 {
		if _, err := within(&before, time.Millisecond, late, hang); !errs.Is(err, errs.Timeout) {
			t.Fatalf("a look-up that hangs returned %v", err)
		}
	}
	if n := begun.Load(); n != 1 {
		t.Errorf("%d look-ups hang", n)
	}
	close(release)
	<-before.back
	if got, err := within(&before, time.Minute, late, hang); got != 1 || err != nil {
		t.Errorf("once it is back: %d, %v", got, err)
	}
	if n := begun.Load(); n != 2 {
		t.Errorf("%d look-ups were begun, want 2", n)
	}
}
