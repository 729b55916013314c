package vulndb

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/anchore/grype/grype/db/provider"
	v6 "github.com/anchore/grype/grype/db/v6"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

//go:embed sample/*.json
var sampleFiles embed.FS

// sampleDate is the day the facts describe, and the date of the sample.
var sampleDate = time.Date(2026, time.August, 16, 0, 0, 0, 0, time.UTC)

// BuildSample builds the sample database into dir, which must not hold a
// database yet, indexed and ready to be opened by grype. It needs no network
// and takes well under a second. The result is marked as a sample.
func BuildSample(ctx context.Context, dir string) (Installed, error) {
	if err := checkPath(dir); err != nil {
		return Installed{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Installed{}, diskError("vulndb: make directory", err)
	}
	checksum, err := writeSample(ctx, dir)
	if err != nil {
		return Installed{}, err
	}
	return prepare(ctx, dir, origin{checksum: checksum, source: "sample"}, nil)
}

// InstallSample builds the sample database and makes it the current build.
func (l *Library) InstallSample(ctx context.Context, progress Progress) (Installed, error) {
	s, err := l.newStage(ctx)
	if err != nil {
		return Installed{}, err
	}
	defer s.close()
	progress.report("building", 0, 0)
	checksum, err := writeSample(ctx, s.dir)
	if err != nil {
		return Installed{}, err
	}
	return l.install(ctx, s, origin{checksum: checksum, source: "sample"}, progress)
}

// writeSample writes the sample without indexes and returns its checksum. That
// is of the facts, not of the file: SQLite does not write the same bytes twice,
// and replicas that build the sample must agree on its name.
func writeSample(ctx context.Context, dir string) (string, error) {
	b, err := newBuilder(dir)
	if err != nil {
		return "", err
	}
	_, err = addSample(ctx, b)
	if err := errors.Join(err, b.close(sampleDate)); err != nil {
		return "", errs.Op("vulndb: build the sample", err)
	}
	return sampleChecksum()
}

// sampleChecksum names the sample by its facts and by the schema grype writes.
func sampleChecksum() (string, error) {
	sum := sha256.New()
	fmt.Fprintf(sum, "sample %d.%d.%d %s\n", v6.ModelVersion, v6.Revision, v6.Addition, sampleDate.Format(time.DateOnly))
	err := fs.WalkDir(sampleFiles, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := sampleFiles.ReadFile(path)
		fmt.Fprintf(sum, "%s %d\n%s", path, len(raw), raw)
		return err
	})
	return algorithm + hex.EncodeToString(sum.Sum(nil)), err
}

// addSample adds the facts under the names the real providers have: the sample
// then speaks of the same namespaces as a real database, and findings keep
// their identity when one takes its place. The mark says what it really is. It
// returns how many records it added.
func addSample(ctx context.Context, b *builder) (int, error) {
	f, err := readFacts()
	if err != nil {
		return 0, err
	}
	err = b.mark(v6.Provider{ID: SampleProvider, Version: "1", Processor: "tidewaiter", DateCaptured: &sampleDate})
	if err != nil {
		return 0, err
	}
	records := f.records()
	for _, r := range records {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		item, err := json.Marshal(r.body)
		if err != nil {
			return 0, errs.Wrap(errs.Internal, "vulndb: encode a fact", err)
		}
		state := provider.State{Provider: r.provider, Version: 1, Processor: "tidewaiter", Timestamp: sampleDate}
		if err := b.add(state, r.schema, item); err != nil {
			return 0, errs.Wrap(errs.Internal, "vulndb: a fact of "+r.provider, err)
		}
	}
	return len(records), nil
}
