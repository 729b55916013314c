package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// SBOM reads the document of one image. An index of several images needs a
// platform.
func (s *Store) SBOM(ctx context.Context, access report.Access, target report.Target, platform image.Platform) (report.SBOM, error) {
	const query = `SELECT tool, tool_version, created_at, document FROM sbom WHERE manifest_id = @manifest`
	type row struct {
		Tool        string
		ToolVersion string
		CreatedAt   time.Time
		Document    []byte
	}
	var out report.SBOM
	var packed []byte
	err := s.read(ctx, "read sbom", func(at snapshot) error {
		found, err := findImage(ctx, at, access, target, platform)
		if err != nil {
			return err
		}
		chosen, err := oneImage(found)
		if err != nil {
			return err
		}
		stored, err := rows[row](ctx, at, query, pgx.NamedArgs{"manifest": chosen.ManifestID})
		if err != nil {
			return err
		}
		if len(stored) == 0 {
			return errs.New(errs.NotFound, "there is no SBOM of %s yet: its state is %s", chosen.Digest, chosen.State)
		}
		out = report.SBOM{Digest: chosen.Digest, Platform: chosen.Platform.Platform, Tool: stored[0].Tool,
			ToolVersion: stored[0].ToolVersion, CreatedAt: stored[0].CreatedAt.UTC()}
		packed = stored[0].Document
		return nil
	})
	if err != nil {
		return out, err
	}
	// After the transaction: a large document takes a while.
	out.JSON, err = s.unpack(packed)
	return out, err
}

// oneImage returns the only image of what was found.
func oneImage(found foundImage) (platformRow, error) {
	var images []platformRow
	var names []string
	for _, p := range found.root.images {
		if p.Counted() {
			images, names = append(images, p), append(names, p.Platform.Platform)
		}
	}
	switch len(images) {
	case 0:
		return platformRow{}, errs.New(errs.NotFound, "there is no SBOM of %.400q: its state is %s", found.Reference, found.State)
	case 1:
		return images[0], nil
	}
	return platformRow{}, errs.New(errs.Invalid, "%.400q has several images", found.Reference).
		WithField("platform").WithHint("name one of %.300q as platform, or ask for a digest", names)
}
