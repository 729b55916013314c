package vulndb

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// DefaultProvider is whose advisories those are that no known publisher's id
// begins: part of the namespace findings show.
const DefaultProvider = "osv"

// BuildOptions says what to build a database from, and into what.
type BuildOptions struct {
	// From is a directory of advisories: OSV records, vunnel envelopes and
	// vunnel workspaces, however deep. Files of other kinds are skipped.
	From string
	// Sample builds from the facts in this package instead of a directory, and
	// marks the result as a sample.
	Sample bool
	// Out is the archive to write, ending in .tar.zst or .tar.gz, or the
	// directory to write one into. A latest.json is written beside it, so that
	// a directory that ends in "v6" can be served as a mirror.
	Out string
	// Provider names the publisher of advisories with an unknown prefix; empty
	// means DefaultProvider.
	Provider string
	// Built dates the database, by which Update goes. Zero means now, for the
	// sample the date of its facts.
	Built time.Time
}

// BuildReport says what was built.
type BuildReport struct {
	Archive  string    `json:"archive"`  // path of the archive
	Latest   string    `json:"latest"`   // path of the latest.json beside it
	Checksum string    `json:"checksum"` // the name the build gets when it is installed
	Built    time.Time `json:"built"`
	Sample   bool      `json:"sample"`
	// Records counts what got in, by provider.
	Records map[string]int `json:"records"`
	// Skipped lists what did not, with the reason.
	Skipped []Skipped `json:"skipped"`
}

// Build writes a database archive from advisory files. It needs no network and
// no installed database, and it installs nothing: Import does.
//
// What cannot be used is listed in the report; the build fails with
// errs.Invalid only when nothing is left. The report is returned with that
// error too, so that the reasons are known.
func (l *Library) Build(ctx context.Context, opts BuildOptions, progress Progress) (BuildReport, error) {
	return Build(ctx, opts, progress)
}

// Build is Library.Build, for callers without a library.
func Build(ctx context.Context, opts BuildOptions, progress Progress) (BuildReport, error) {
	report, err := buildArchive(ctx, opts, progress)
	return report, errs.Op("vulndb: build", err)
}

func buildArchive(ctx context.Context, opts BuildOptions, progress Progress) (BuildReport, error) {
	opts, err := checkOptions(opts)
	if err != nil {
		return BuildReport{}, err
	}
	out, err := newArchive(opts)
	if err != nil {
		return BuildReport{}, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(out.path), ".vulndb-build-*")
	if err != nil {
		return BuildReport{}, diskError("vulndb: make a working directory", err)
	}
	defer os.RemoveAll(tmp)
	if err := checkPath(tmp); err != nil {
		return BuildReport{}, err
	}
	report := BuildReport{Built: opts.Built, Sample: opts.Sample, Records: map[string]int{}}
	if err := fillDatabase(ctx, tmp, opts, &report, progress); err != nil {
		return report, err
	}
	if report.Checksum, err = out.write(ctx, tmp, progress); err != nil {
		return report, err
	}
	report.Archive, report.Latest = out.path, out.latest()
	return report, nil
}

func checkOptions(opts BuildOptions) (BuildOptions, error) {
	switch {
	case !opts.Built.IsZero():
	case opts.Sample:
		opts.Built = sampleDate
	default:
		opts.Built = time.Now()
	}
	opts.Built = opts.Built.UTC().Truncate(time.Second)
	if opts.Provider == "" {
		opts.Provider = DefaultProvider
	}
	switch {
	case opts.Out == "":
		return opts, errs.New(errs.Invalid, "vulndb: no place to write to is named")
	case (opts.From == "") == !opts.Sample:
		return opts, errs.New(errs.Invalid, "vulndb: build from either a directory of advisories or the sample")
	case !providerName.MatchString(opts.Provider):
		return opts, errs.New(errs.Invalid, "vulndb: %q is not a provider's name", opts.Provider).
			WithHint("use lower-case letters, digits, dots and dashes")
	}
	return opts, nil
}

// fillDatabase writes the database of a build into dir.
func fillDatabase(ctx context.Context, dir string, opts BuildOptions, report *BuildReport, progress Progress) error {
	b, err := newBuilder(dir)
	if err != nil {
		return err
	}
	err = addAll(ctx, b, opts, report, progress)
	if err == nil && b.records == 0 {
		err = errs.New(errs.Invalid, "vulndb: none of the advisories can be used (%d reasons)", len(report.Skipped)).
			WithHint("%s", firstReasons(report.Skipped))
	}
	if err != nil {
		_ = b.close(opts.Built) // only to release the file; the build has failed already
		return err
	}
	return b.close(opts.Built)
}

// addAll adds the sample's records, or the advisories of a directory.
func addAll(ctx context.Context, b *builder, opts BuildOptions, report *BuildReport, progress Progress) error {
	if opts.Sample {
		n, err := addSample(ctx, b)
		if err != nil {
			return err
		}
		report.Records[SampleProvider] = n
		return nil
	}
	root, sources, skipped, err := findSources(opts.From)
	if err != nil {
		return err
	}
	a := &adder{
		builder: b, converter: converter{opts.Provider}, root: root,
		built: opts.Built, providers: report.Records, skipped: skipped,
	}
	defer func() { report.Skipped = a.skipped }()
	for i, s := range sources {
		if err := a.add(ctx, s); err != nil {
			return err
		}
		progress.report("building", int64(i+1), int64(len(sources)))
	}
	return nil
}

// firstReasons puts the first few reasons into one line.
func firstReasons(skipped []Skipped) string {
	const few = 3
	var lines []string
	for _, s := range skipped[:min(few, len(skipped))] {
		lines = append(lines, s.String())
	}
	if len(lines) == 0 {
		return "the directory holds no .json files"
	}
	return strings.Join(lines, "; ")
}
