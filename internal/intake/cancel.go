package intake

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Cancel ends a scan that waits or runs, because who does not want it. It returns
// the state the scan was in. Errors are NotFound for one that access hides or that
// is not there, Conflict for one that is done or failed.
func (i *Intake) Cancel(ctx context.Context, access report.Access, scanID int64, who string) (report.RunState, error) {
	return i.store.CancelScan(ctx, access, scanID, who)
}
