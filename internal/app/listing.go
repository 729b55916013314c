package app

import (
	"context"
	"fmt"

	"github.com/tidewaiter/tidewaiter/internal/reconcile"
	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// tellSkipped logs what a registry's lists leave out, and keeps it with the
// problems of the reconciliation that read them: without a word, that would look
// like everything there is.
func (a *App) tellSkipped(ctx context.Context, s registry.Skipped) {
	reconcile.Skip(ctx, fmt.Sprintf("%s (%d, as %q)", s.Reason, s.Count, s.Examples))
	a.logger.WarnContext(ctx, "a registry's list was not used as a whole", "registry", s.Registry, "repository", s.Repository,
		"reason", s.Reason, "left_out", s.Count, "examples", s.Examples)
}
