package app

import (
	"context"
	"runtime"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// manners let the judging of a candidate take half of the processors while this
// process scans, and all of them else. Processes that read images go behind the
// service (internal/sandbox): judging everything again would leave them a tenth.
type manners struct {
	scanning func() bool
	turn     sync.Mutex // of who judges while scans run
}

// polite is a session that judges so.
type polite struct {
	scan.Session
	*manners
}

// Judge judges a few packages at a time (scan.Session).
func (p polite) Judge(ctx context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	const few = 50 // before it looks again whether scans run
	out := make([]inventory.Judgement, 0, len(packages))
	for len(out) < len(packages) {
		rest := packages[len(out):]
		var judged []inventory.Judgement
		var err error
		if p.scanning() {
			judged, err = p.inTurn(ctx, rest[:min(len(rest), max(1, runtime.GOMAXPROCS(0)/2))])
		} else {
			judged, err = p.Session.Judge(ctx, rest[:min(len(rest), few)])
		}
		if err != nil {
			return nil, err
		}
		out = append(out, judged...)
	}
	return out, nil
}

// inTurn judges as many packages as may be judged at once.
func (p polite) inTurn(ctx context.Context, packages []inventory.Package) ([]inventory.Judgement, error) {
	p.turn.Lock()
	defer p.turn.Unlock()
	return p.Session.Judge(ctx, packages)
}
