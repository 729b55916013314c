package app

import (
	"context"
	"log/slog"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// Verify judges every distinct package again with the build in force, which it
// brings into the library when it is not there, and tells found where what is
// stored is otherwise. It returns how many packages it judged. The error is of
// kind Conflict when this program judges otherwise than the build in force, or
// another build came into force meanwhile.
func Verify(ctx context.Context, store *postgres.Store, library *vulndb.Library, found func(scan.Difference), progress func(done, total int64)) (int64, error) {
	active, err := store.ActiveBuild(ctx)
	if errs.Is(err, errs.NotFound) {
		return 0, errs.New(errs.NotFound, "no vulnerability database is in force yet")
	}
	if err != nil {
		return 0, err
	}
	engine := match.NewEngine(match.Options{})
	k := keeper{library: library, engine: engine, store: store, logger: slog.New(slog.DiscardHandler)}
	in, err := k.obtain(ctx, active.Checksum)
	if err != nil {
		return 0, err
	}
	if ours := match.BuildOf(in); !ours.Same(active) {
		return 0, errs.New(errs.Conflict, "engine %s with matchers %s is in force, this program has %s with %s",
			active.EngineVersion, active.Config, ours.EngineVersion, ours.Config).WithHint("use the program of the version that the service runs")
	}
	session, err := engine.OpenCandidate(ctx, in)
	if err != nil {
		return 0, err
	}
	defer func() { _ = session.Close() }()
	return scan.Verifier{Store: store, Found: found, Progress: progress}.Verify(ctx, session)
}
