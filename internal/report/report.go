// Package report holds what readers are told: the shapes of registries,
// repositories, images, findings, scans and the rest as the API shows them, and
// the interface they are read through.
//
// It is responsible for the words of an answer and for the one rule that says
// when an answer is complete: counts never stand alone (docs/design.md, law 3).
// It must not do I/O and must not know SQL or HTTP.
package report

import (
	"context"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Reader answers questions about what is stored. Every method shows one
// database build only, and only what access lets through: what lies outside is
// as if it were not there. Errors have the kinds NotFound, Invalid (a cursor or
// filter that cannot be read), Timeout or Unavailable.
type Reader interface {
	History
	Registries(ctx context.Context, access Access) ([]Registry, error)
	Repositories(ctx context.Context, access Access, filter RepositoryFilter, page Page) (Judged[Repository], error)
	Tags(ctx context.Context, access Access, repository RepositoryRef, page Page) (Judged[Tag], error)
	// TagHistory returns NotFound for a tag that was never seen.
	TagHistory(ctx context.Context, access Access, target Target, page Page) (List[TagEvent], error)
	// Image returns NotFound when neither the tag or digest nor a scan of it is
	// known.
	Image(ctx context.Context, access Access, target Target) (Image, error)
	// Findings returns NotFound when no image of the scope is known.
	Findings(ctx context.Context, access Access, scope FindingScope, filter FindingFilter, page Page) (FindingPage, error)
	// SBOM returns the document of one image. It is Invalid to ask an index of
	// several images without a platform.
	SBOM(ctx context.Context, access Access, target Target, platform image.Platform) (SBOM, error)
	Vulnerability(ctx context.Context, access Access, id string) (Vulnerability, error)
	// VulnerabilityImages returns NotFound for a vulnerability that Vulnerability
	// does not know; for one that only older builds match, an empty list.
	VulnerabilityImages(ctx context.Context, access Access, id string, page Page) (VulnerabilityImages, error)
	// Packages lists the distinct packages a query names, at most MaxPackages.
	Packages(ctx context.Context, query PackageQuery) ([]StoredPackage, error)
	// PackageImages lists the images that hold any of the packages.
	PackageImages(ctx context.Context, access Access, packages []int64, page Page) (Judged[ImageHit], error)
	Scans(ctx context.Context, access Access, filter ScanFilter, page Page) (List[Scan], error)
	Scan(ctx context.Context, access Access, id int64) (Scan, error)
	Deliveries(ctx context.Context, access Access, filter DeliveryFilter, page Page) (List[Delivery], error)
	Reconciliations(ctx context.Context, access Access, filter ReconciliationFilter, page Page) (List[Reconciliation], error)
	Reconciliation(ctx context.Context, access Access, id int64) (ReconciliationReport, error)
	// Schema is the number of the newest migration that the store has.
	Schema(ctx context.Context) (int64, error)
	Builds(ctx context.Context) (Builds, error)
	// Build returns the newest build of a database with what it changes for each
	// distro and ecosystem. The checksum may be shortened to the first eight digits
	// or more; the error is NotFound when no build or Invalid when several begin so.
	Build(ctx context.Context, checksum string) (BuildState, error)
	// Coverage returns NotFound for a registry that is not there.
	Coverage(ctx context.Context, access Access, filter CoverageFilter) (Coverage, error)
	RepositoryCoverage(ctx context.Context, access Access, filter RepositoryCoverageFilter, page Page) (List[RepositoryCoverage], error)
	// Ledger lists what is known of a repository, manifests before targets. It
	// returns NotFound for a repository that is not there.
	Ledger(ctx context.Context, access Access, repository RepositoryRef, filter LedgerFilter, page Page) (List[LedgerItem], error)
	// Trace tells of anything in a registry that is there, known or not. endpoints
	// are the registries whose webhook is configured.
	Trace(ctx context.Context, access Access, target Target, endpoints []string) (Trace, error)
}

// Access limits a reader to the repositories under some prefixes. The zero
// value sees everything.
type Access struct {
	// Prefixes are whole path segments of "host/name", as "host/team/".
	Prefixes []string
}

// Sees reports whether the repository, written "host/name", is within. A prefix
// covers the repository of that very name and all below it, and never a
// neighbour whose name merely begins alike.
func (a Access) Sees(repository string) bool {
	for _, p := range a.Prefixes {
		if strings.HasPrefix(repository+"/", strings.TrimRight(p, "/")+"/") {
			return true
		}
	}
	return len(a.Prefixes) == 0
}

// Limited reports whether anything is hidden.
func (a Access) Limited() bool { return len(a.Prefixes) > 0 }

// UploadRegistry is the name and the host of the built-in registry whose
// repositories hold uploaded SBOMs.
const UploadRegistry = "sboms"

// RepositoryRef names a repository by the configured name of its registry.
type RepositoryRef struct {
	Registry string
	Name     string // without the host
}

// Target names an image: by tag, by digest or by both, where the digest
// decides.
type Target struct {
	RepositoryRef
	Tag    string
	Digest image.Digest
}
