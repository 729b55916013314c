package app

import (
	"context"
	"io"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

// parcel is an archive in Postgres as the library takes it.
func parcel(a postgres.Archive) vulndb.Parcel {
	return vulndb.Parcel{
		Installed: vulndb.Installed{Checksum: a.Checksum, SchemaVersion: a.SchemaVersion, Built: a.Built.UTC(), Source: a.Source, Sample: a.Sample},
		Database:  a.Database, Digest: a.Digest, Size: a.Size,
	}
}

// obtain finds a build in the library, or brings it there from Postgres, where
// the process that had it first left it.
func (k *keeper) obtain(ctx context.Context, checksum string) (vulndb.Installed, error) {
	in, err := k.library.Get(checksum)
	if !errs.Is(err, errs.NotFound) {
		return in, err
	}
	a, err := k.store.Archive(ctx, checksum)
	if errs.Is(err, errs.NotFound) {
		return in, errs.New(errs.NotFound, "app: vulnerability database %s is neither in %s nor in Postgres", checksum, k.library.Dir()).
			WithHint("run `tidewaiter vulndb import FILE` with that database, or `tidewaiter vulndb update`, where any process of this service runs: the others get it from there")
	}
	if err != nil {
		return in, err
	}
	in, err = k.library.Receive(ctx, parcel(a), func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		return io.NopCloser(k.store.ReadArchive(ctx, a, offset)), nil
	}, nil)
	if err != nil {
		return in, err
	}
	k.logger.InfoContext(ctx, "vulnerability database received", "checksum", checksum, "built", in.Built, "bytes", a.Size)
	return in, nil
}

// publish leaves a build in Postgres for processes that lack it. A failure is
// told and stops nothing: this process has it.
func (k *keeper) publish(ctx context.Context, in vulndb.Installed) {
	switch _, err := k.store.Archive(ctx, in.Checksum); {
	case err == nil:
		return
	case !errs.Is(err, errs.NotFound):
		k.logger.WarnContext(ctx, "vulnerability database not handed on", "checksum", in.Checksum, "error", err)
		return
	}
	err := k.store.Exclusively(ctx, "publish", func(ctx context.Context) error {
		packed, err := k.library.Pack(ctx, in.Checksum, nil)
		if err != nil {
			return err
		}
		defer func() { _ = packed.Close() }()
		return k.store.SaveArchive(ctx, postgres.Archive{
			Checksum: in.Checksum, Database: packed.Database, Digest: packed.Digest, Size: packed.Size,
			SchemaVersion: in.SchemaVersion, Built: in.Built, Source: in.Source, Sample: in.Sample,
		}, packed)
	})
	if err != nil && ctx.Err() == nil {
		k.logger.WarnContext(ctx, "vulnerability database not handed on", "checksum", in.Checksum, "error", err)
	}
}
