package app

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// judgeShard judges a shard of a candidate that any process brings into force. It
// returns kind NotFound when the database is not to be had here, and Conflict when
// this process judges otherwise than the build says: both leave it to others.
func (k *keeper) judgeShard(ctx context.Context, build vuln.Build, shard scan.Shard) error {
	in, err := k.obtain(ctx, build.Checksum)
	if err != nil {
		return err
	}
	if ours := match.BuildOf(in); !ours.Same(build) {
		return errs.New(errs.Conflict, "app: this process judges with engine %s and matchers %s", ours.EngineVersion, ours.Config)
	}
	session, err := k.engine.OpenCandidate(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	judging := scan.Rejudger{Store: k.store}
	_, err = judging.JudgeShard(ctx, polite{session, k.manners}, shard)
	return err
}
