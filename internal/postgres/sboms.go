package postgres

import (
	"context"
	"fmt"
	"strings"
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
		if len(stored) == 0 && chosen.State == report.StateDone {
			return errs.New(errs.NotFound, "the SBOM of %s is no longer kept: no tag leads to the image", chosen.Digest).
				WithHint("ask for a scan of it; for how long SBOMs are kept is retention.sboms of the configuration")
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
	for _, p := range found.root.images {
		if p.Counted() {
			images = append(images, p)
		}
	}
	switch len(images) {
	case 0:
		return platformRow{}, errs.New(errs.NotFound, "there is no SBOM of %.400q: its state is %s", found.Reference, found.State)
	case 1:
		return images[0], nil
	}
	return platformRow{}, errs.New(errs.Invalid, "%.400q has several images", found.Reference).
		WithField("platform").WithHint("%s", choices(images))
}

// maxChoices bounds how many images a hint lists.
const maxChoices = 20

// choices says how to name one of several images: by platform, or by digest
// where a platform does not tell them apart.
func choices(images []platformRow) string {
	seen := map[string]bool{}
	var platforms, digests []string
	alike := false
	for _, p := range images {
		name := p.Platform.Platform
		alike = alike || seen[name] || name == ""
		seen[name] = true
		platforms, digests = append(platforms, name), append(digests, strings.TrimSpace(string(p.Digest)+" "+name))
	}
	if alike {
		return "some are for the same platform: ask for one by its digest, as HOST/NAME@DIGEST: " + listed(digests)
	}
	return "name one as platform: " + listed(platforms)
}

func listed(names []string) string {
	if more := len(names) - maxChoices; more > 0 {
		return strings.Join(names[:maxChoices], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}
