package scan

import (
	"context"
	"log/slog"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// Registry serves manifests and images of the configured registries.
type Registry interface {
	// Resolve reads the manifest behind ref, with the children of an index and
	// the layers of each image. Errors have the kinds NotFound, Unauthorized,
	// RateLimited, Unavailable, Timeout, TooLarge or Malformed.
	Resolve(ctx context.Context, ref image.Reference) (Manifest, error)
	// Image opens the image behind ref, which names a digest. Layers are
	// fetched as they are read.
	Image(ctx context.Context, ref image.Reference) (v1.Image, error)
}

// Cataloger writes the SBOM of an image.
type Cataloger interface {
	// Version names the tool and its settings; another version catalogues anew.
	Version() string
	Catalog(ctx context.Context, img v1.Image, ref image.Reference) (sbom.Document, error)
	// Convert reads a document of any supported format as the syft JSON of an
	// image. The error is of kind Invalid when it cannot be read.
	Convert(ctx context.Context, document []byte) (sbom.Document, error)
}

// Matcher judges packages against the vulnerability database.
type Matcher interface {
	// Inventory reads what there is to match from an SBOM.
	Inventory(ctx context.Context, doc sbom.Document) (*inventory.Inventory, error)
	// Open pins the present database until the session is closed. The error is
	// of kind Unavailable when there is none yet.
	Open(ctx context.Context) (Session, error)
}

// Session is a matcher pinned to one database build.
type Session interface {
	Build() vuln.Build
	// Judge returns one judgement per package, at the same index.
	Judge(ctx context.Context, packages []inventory.Package) ([]inventory.Judgement, error)
	// Vulnerabilities describes records, one for each ref the build knows.
	Vulnerabilities(ctx context.Context, refs []vuln.Ref) ([]vuln.Vulnerability, error)
	// Coverage says for which of the inventory's distro and package types the
	// build has no data, as "distro:centos:7" or "ecosystem:npm", of which types
	// there are packages without a version, as "version:npm", and when support for
	// the distro ends; the zero time when nobody says.
	Coverage(ctx context.Context, inv *inventory.Inventory) (noData []string, endOfLife time.Time, err error)
	Close() error
}

// Known is what the store has of a manifest before a scan.
type Known struct {
	// Catalogued is true when an SBOM of the wanted catalogue version is there.
	Catalogued bool
	// Current is true when every package of its inventory was judged by the
	// active build: there is nothing left to do.
	Current bool
}

// Answer is the outcome of cataloguing and judging one image.
type Answer struct {
	Manifest image.Digest
	// Document and Inventory are nil when the stored ones still hold.
	Document       *sbom.Document
	CatalogVersion string
	Partial        string // why the catalogue cannot be whole; empty otherwise
	Inventory      *inventory.Inventory
	// Build is what judged; Judged maps indexes of Inventory.Packages that were
	// judged now.
	Build           vuln.Build
	Judged          map[int]inventory.Judgement
	Vulnerabilities []vuln.Vulnerability
	NoData          []string
	EndOfLife       time.Time // zero when unknown
}

// Store keeps what scans find. Every write is refused with kind Canceled when
// the job's lease is no longer the scan's own.
type Store interface {
	// SaveManifest records what the target resolved to: manifests, layers,
	// presence in the repository, the tag's pointer. What is not an image is
	// marked unsupported.
	SaveManifest(ctx context.Context, job Job, m Manifest) error
	// TagsOf returns the tags of the job's repository that point to each of the
	// manifests, or to an index that lists it.
	TagsOf(ctx context.Context, job Job, digests []image.Digest) (map[image.Digest][]string, error)
	// SaveGone records that the repository no longer has the target: the tag is
	// dropped, or the digest with every tag that points to it.
	SaveGone(ctx context.Context, job Job) error
	// Known tells what is stored of a manifest.
	Known(ctx context.Context, digest image.Digest, catalogVersion string) (Known, error)
	// Reserve entitles the job to catalogue the manifest. It returns kind
	// Conflict while another scan does.
	Reserve(ctx context.Context, job Job, digest image.Digest) error
	// Inventory reads the stored inventory of a catalogued manifest.
	Inventory(ctx context.Context, digest image.Digest) (*inventory.Inventory, error)
	// Unjudged returns the indexes of fingerprints that no package judged by
	// the build has.
	Unjudged(ctx context.Context, build vuln.Build, fingerprints []inventory.Fingerprint) ([]int, error)
	// SaveAnswer stores an answer in one transaction, the state last. It returns
	// kind Conflict when the active build is not the answer's.
	SaveAnswer(ctx context.Context, job Job, a Answer) error
	// SaveFailure records why a manifest has no (newer) answer.
	SaveFailure(ctx context.Context, job Job, digest image.Digest, cause error) error
	// Upload reads a document that was uploaded in place of an image.
	Upload(ctx context.Context, digest image.Digest) ([]byte, error)
	// SaveFindings compares the repository's findings with what it had before
	// and records the events.
	SaveFindings(ctx context.Context, job Job) error
}

// Limits bound the work on one image. Zero means no limit.
type Limits struct {
	// ImageBytes is the sum of compressed layers.
	ImageBytes int64
	// Layers is how many layers an image may have.
	Layers int
	// Platforms restricts which platforms of an index are scanned; empty means
	// all.
	Platforms []image.Platform
}

// Scanner runs scans. All fields but Limits and Rules are required.
type Scanner struct {
	Registry  Registry
	Cataloger Cataloger
	Matcher   Matcher
	Store     Store
	Limits    Limits
	// Rules say which images of a registry are wanted, by its configured name.
	Rules map[string]Rules
}

// Result is what a finished scan tells about itself.
type Result struct {
	Digest image.Digest
	Phases []Phase
	Pulled int64 // compressed bytes read from the registry
}

// Scan does the whole work for a job. It returns the first error of an image
// after the others were scanned; its kind decides about another attempt. The
// Tracker of ctx, if any, is told how far it is.
func (s *Scanner) Scan(ctx context.Context, job Job) (Result, error) {
	run := &run{Scanner: s, job: job, tracker: TrackerOf(ctx)}
	root, err := run.resolve(ctx)
	if errs.Is(err, errs.NotFound) && run.mayBeEarly() {
		return run.result, errs.New(errs.Unavailable, "scan: the registry tells of %s and does not show it yet", job.Ref)
	}
	if errs.Is(err, errs.NotFound) {
		return run.result, run.gone(ctx, err)
	}
	if err != nil {
		return run.result, err
	}
	run.refuteDelete()
	if root, err = run.exclude(ctx, root); err != nil {
		return run.result, err
	}
	if err := s.Store.SaveManifest(ctx, run.job, root); err != nil {
		return run.result, err
	}
	var failed error
	images := root.Runnable()
	for i, m := range images {
		run.tracker.Image(m.Platform.String(), i+1, len(images))
		if err := run.image(ctx, m); err != nil {
			if endsScan(ctx, err) {
				return run.result, err
			}
			slog.WarnContext(ctx, "image not answered", "digest", m.Digest, "platform", m.Platform.String(), "error", err)
			if saveErr := s.Store.SaveFailure(ctx, run.job, m.Digest, err); saveErr != nil {
				return run.result, saveErr
			}
			failed = firstError(failed, err)
		}
	}
	if err := run.compare(ctx, run.job); err != nil {
		return run.result, err
	}
	return run.result, failed
}

// compare finds out what is new in the repository since before the scan.
func (r *run) compare(ctx context.Context, job Job) error {
	return traced(ctx, "compare", func(ctx context.Context) error { return r.Store.SaveFindings(ctx, job) })
}

// traced does a step as a part of the present trace.
func traced(ctx context.Context, name string, step func(context.Context) error) error {
	ctx, span := telemetry.StartSpan(ctx, name)
	err := step(ctx)
	span.End(err)
	return err
}

// endsScan tells errors that are about the scan from those about one image.
func endsScan(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errs.Is(err, errs.Conflict) || errs.Is(err, errs.Canceled)
}

// run is one scan under way.
type run struct {
	*Scanner
	job     Job
	tracker *Tracker // may be nil
	result  Result
}

func (r *run) resolve(ctx context.Context) (Manifest, error) {
	if r.job.Cause == CauseUpload {
		r.result.Digest = r.job.Ref.Digest
		return Manifest{Digest: r.job.Ref.Digest, Kind: image.KindSBOM}, nil
	}
	var root Manifest
	err := r.phase(ctx, PhaseResolve, "", func(ctx context.Context) (n int64, err error) {
		root, err = r.Registry.Resolve(ctx, r.target())
		return root.Size, err
	})
	r.result.Digest = root.Digest
	return root, errs.Op("scan: resolve "+r.job.Ref.String(), err)
}

// mayBeEarly reports whether the registry may not have what it told of because
// the event was faster than its own stores. It is asked once more after a pause
// before that is believed.
func (r *run) mayBeEarly() bool { return r.job.Cause == CausePush && r.job.Attempt == 1 }

// gone records that the registry does not have the target (any more). For a
// scan that was asked to find out it is the answer, else the reason it failed.
func (r *run) gone(ctx context.Context, cause error) error {
	if err := r.Store.SaveGone(ctx, r.job); err != nil {
		return err
	}
	if err := r.digestGone(ctx); err != nil {
		return err
	}
	// Whoever asked: what closes now was closed by a deletion.
	deleted := r.job
	deleted.Cause = CauseDelete
	if err := r.compare(ctx, deleted); err != nil {
		return err
	}
	if r.job.Cause == CauseDelete {
		return nil
	}
	return cause
}

// refuteDelete makes a push of a delete whose target is there: the event came
// late, or something was pushed in its place since. Rules count for it, and what
// it opens was not opened by a deletion.
func (r *run) refuteDelete() {
	if r.job.Cause == CauseDelete {
		r.job.Cause = CausePush
	}
}

// digestGone looks after the digest too when a delete named a tag and a digest:
// the sender then says that the manifest went, and other tags may have pointed
// to it. A delete may have joined a scan that somebody asked for.
func (r *run) digestGone(ctx context.Context) error {
	if r.job.Cause != CauseDelete && r.job.Cause != CauseRequest || r.job.Ref.Tag == "" || r.job.Ref.Digest == "" {
		return nil
	}
	bare := r.job
	bare.Ref.Tag = ""
	_, err := r.Registry.Resolve(ctx, bare.Ref)
	if errs.Is(err, errs.NotFound) {
		return r.Store.SaveGone(ctx, bare)
	}
	return errs.Op("scan: resolve "+bare.Ref.String(), err)
}

// target is what to resolve. A tag is resolved anew even when the event named a
// digest: the tag may have moved since. The digest of the event is asked for
// only without a tag.
func (r *run) target() image.Reference {
	ref := r.job.Ref
	if ref.Tag != "" {
		ref.Digest = ""
	}
	return ref
}

// exclude marks what a rule of the configuration leaves out: by name and age the
// whole target; by platform the children of an index, and an image that was
// pushed without a tag, which mostly is such a child ahead of its index. What
// somebody tags or asks for is always looked at for its platform.
func (r *run) exclude(ctx context.Context, root Manifest) (Manifest, error) {
	if r.job.Cause == CausePush && r.job.Ref.Tag == "" {
		root.Excluded = r.excluded(root)
	}
	for i, c := range root.Children {
		root.Children[i].Excluded = r.excluded(c)
	}
	return r.rule(ctx, root)
}

// excluded names the rule that leaves an image out; empty when it is wanted.
func (r *run) excluded(m Manifest) string {
	if m.Kind != image.KindImage || len(r.Limits.Platforms) == 0 || slices.ContainsFunc(r.Limits.Platforms, m.Platform.Matches) {
		return ""
	}
	return PlatformRule
}

// image catalogues and judges one image, skipping what is known already.
func (r *run) image(ctx context.Context, m Manifest) error {
	known, err := r.Store.Known(ctx, m.Digest, r.Cataloger.Version())
	if err != nil || known.Catalogued && known.Current {
		return err
	}
	if err := r.Store.Reserve(ctx, r.job, m.Digest); err != nil {
		return err
	}
	// Another scan may have answered it since the question, before the reservation.
	known, err = r.Store.Known(ctx, m.Digest, r.Cataloger.Version())
	if err != nil || known.Catalogued && known.Current {
		return err
	}
	answer := Answer{Manifest: m.Digest, CatalogVersion: r.Cataloger.Version(), Partial: Partial(m.Platform.OS)}
	if known.Catalogued {
		answer.Inventory, err = r.knownInventory(ctx, m)
	} else {
		err = r.catalogue(ctx, m, &answer)
	}
	if err != nil {
		return err
	}
	return r.judgeAndSave(ctx, m, answer)
}

// phase runs a step and notes how long it took. Its bytes are packages for the
// match step.
func (r *run) phase(ctx context.Context, name, platform string, step func(context.Context) (int64, error)) error {
	r.tracker.Begin(name)
	start := time.Now()
	ctx, span := telemetry.StartSpan(ctx, name, slog.String("platform", platform))
	n, err := step(ctx)
	span.End(err)
	r.result.Phases = append(r.result.Phases, Phase{Name: name, Platform: platform, Duration: time.Since(start), Bytes: n})
	return err
}

func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
