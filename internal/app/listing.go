package app

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/registry"
)

// tellSkipped logs what a registry's lists leave out: without a word, that would
// look like everything there is.
func (a *App) tellSkipped(ctx context.Context, s registry.Skipped) {
	a.logger.WarnContext(ctx, "a registry's list was not used as a whole", "registry", s.Registry, "repository", s.Repository,
		"reason", s.Reason, "left_out", s.Count, "examples", s.Examples)
}
