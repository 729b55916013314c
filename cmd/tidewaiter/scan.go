package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/registry"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// Exit codes of scan besides those of every command.
const (
	exitFindings = 2
	exitUnknown  = 3
)

// scanCmd is tidewaiter scan.
type scanCmd struct {
	Image        string    `arg:"" help:"Image: host/name:tag, host/name@digest, oci-dir:PATH[:REF] or docker-archive:PATH[:REF]."`
	Output       string    `short:"o" enum:"table,json,grype-json,sarif,cyclonedx-json,spdx-json,syft-json" default:"table" help:"Form of the report: ${enum}."`
	File         string    `placeholder:"FILE" help:"Write the report to a file instead of standard output."`
	FailOn       threshold `placeholder:"SEVERITY" help:"Exit with 2 when a finding is at or above: critical, high, medium, low, negligible or unknown; with 3 when there is none but something could not be judged."`
	AllowPartial bool      `help:"With --fail-on, do not exit with 3 when only a part of the image could be judged."`
	ShowIgnored  bool      `help:"List ignored findings, too, in table and json; grype-json always has them."`
	Platform     string    `placeholder:"OS/ARCH" help:"Platform to scan, as linux/arm64; without it, of an index the image for this machine's architecture."`
	DB           string    `name:"db" placeholder:"PATH" help:"Vulnerability database: a directory of tidewaiter vulndb, a directory with vulnerability.db, or an archive."`
	Config       string    `short:"c" placeholder:"FILE" help:"Configuration file of the service, for its registries and its vulnerability database."`
	TempDir      string    `placeholder:"DIR" env:"TIDEWAITER_TEMP_DIR" help:"Where the image is unpacked while it is read."`
	CacheDir     string    `placeholder:"DIR" env:"TIDEWAITER_CACHE_DIR" help:"Keep what was read of layers here, for other images; without it nothing is kept."`
	Quiet        bool      `short:"q" help:"No progress and no notes on standard error."`
}

// Help is shown by --help.
func (scanCmd) Help() string {
	return `Pulls the image, lists what is inside and says what of it is vulnerable, as the service would. It needs neither the service nor Postgres. Registries are asked with the credentials of Docker's config.json, or as --config says.

    tidewaiter scan registry.example/team/app:1.4

    tidewaiter scan oci-dir:./layout:app -o sarif --file app.sarif

    tidewaiter scan docker-archive:app.tar --fail-on high

Without --db the database of the service on this machine is used; where there is none, one is fetched into the user's cache directory and kept up to date there.

A finding whose severity nobody states is below all others: only --fail-on unknown counts it. Findings are counted once per package name, as in the summary.

An answer is partial when the database has no data for some of the packages, or some have no version to compare; it is unknown when that holds for all. With --fail-on neither passes for good.

Exit codes: 0 when the report was written; 1 when it could not be made; 2 when --fail-on was given and a finding that is not ignored is at or above it; 3 when --fail-on was given, there is no such finding, and the answer is unknown, or partial without --allow-partial; 64 when the command line cannot be understood.`
}

// exitError ends the program with a code of its own.
type exitError struct {
	code int
	text string
}

func (e *exitError) Error() string { return e.text }

// ExitCode is read by the part that ends the program.
func (e *exitError) ExitCode() int { return e.code }

// Run is called by kong.
func (c *scanCmd) Run(ctx context.Context, out *output) error {
	// A mistake is told before a database is fetched.
	if err := registry.CheckSource(c.Image); err != nil {
		return errs.Op("scan", err)
	}
	if _, err := c.platform(); err != nil {
		return err
	}
	loaded, err := c.load()
	if err != nil {
		return err
	}
	steps := newProgress(out.Stderr, c.Quiet)
	defer steps.done()
	session, closeSession, err := c.session(ctx, loaded, steps)
	if err != nil {
		return err
	}
	defer closeSession()
	cataloger := catalog.New(c.catalogOptions(loaded))
	result, err := c.scan(ctx, loaded, cataloger, session, steps)
	if err != nil {
		return err
	}
	steps.done()
	if err := c.write(ctx, out.Stdout, cataloger, session, result); err != nil {
		return err
	}
	if !c.Quiet && (c.Output != "table" || c.File != "") {
		note(out.Stderr, session.Caveats(result))
	}
	return c.verdict(result)
}

// load reads the configuration when one is named.
func (c *scanCmd) load() (config.Config, error) {
	if c.Config == "" {
		return config.Default(), nil
	}
	return config.Load(c.Config, os.LookupEnv)
}

func (c *scanCmd) catalogOptions(loaded config.Config) catalog.Options {
	return catalog.Options{
		TempDir: c.tempDir(loaded), CacheDir: c.CacheDir,
		CacheBytes: int64(loaded.Cache.MaxBytes), KeepFree: int64(loaded.Cache.KeepFree),
	}
}

func (c *scanCmd) tempDir(loaded config.Config) string {
	if c.TempDir != "" || c.Config == "" {
		return c.TempDir
	}
	return loaded.TempDir
}

// scan does the work: open the image, catalogue it, judge what is inside.
func (c *scanCmd) scan(ctx context.Context, loaded config.Config, cataloger *catalog.Cataloger, session *match.Session, steps *progress) (match.Result, error) {
	platform, err := c.platform()
	if err != nil {
		return match.Result{}, err
	}
	steps.start("open " + c.Image)
	img, ref, err := registry.Open(ctx, c.Image, platform, loaded.RegistrySettings()...)
	if err != nil {
		return match.Result{}, err
	}
	manifest, err := manifestOf(img)
	if err != nil {
		return match.Result{}, errs.Op("scan: read "+c.Image, err)
	}
	steps.start(fmt.Sprintf("read %d layers, %.1f MB", len(manifest.Layers), float64(manifest.ContentSize)/1e6))
	doc, err := c.catalogue(ctx, cataloger, img, ref, steps)
	if err != nil {
		return match.Result{}, err
	}
	steps.start(fmt.Sprintf("judge %d packages", doc.Packages))
	inv, err := match.TakeInventory(ctx, doc)
	if err != nil {
		return match.Result{}, err
	}
	result, err := session.JudgeImage(ctx, inv)
	result.Reference, result.Manifest, result.Document = c.Image, manifest, doc
	result.Partial = scan.Partial(manifest.Platform.OS)
	result.ShowIgnored = c.ShowIgnored
	result.Tool = telemetry.ReadBuild(version).Version
	return result, err
}

// catalogue reads the image, and tells how far that is.
func (c *scanCmd) catalogue(ctx context.Context, cataloger *catalog.Cataloger, img v1.Image, ref image.Reference, steps *progress) (sbom.Document, error) {
	tracker := &scan.Tracker{}
	if ref.Digest != "" { // else it is an archive without manifest: to know sizes, its layers would have to be compressed
		img = scan.Follow(tracker, img)
	}
	defer steps.follow(func() string { return soFar(tracker.Progress()) })()
	return cataloger.Catalog(scan.WithTracker(ctx, tracker), img, ref)
}

func (c *scanCmd) platform() (image.Platform, error) {
	if c.Platform == "" {
		return image.Platform{}, nil
	}
	p, err := image.ParsePlatform(c.Platform)
	if err != nil {
		return image.Platform{}, &usageError{err: err, command: "tidewaiter scan"}
	}
	return p, nil
}

// write makes the report, in the file only when it is whole.
func (c *scanCmd) write(ctx context.Context, stdout io.Writer, cataloger *catalog.Cataloger, session *match.Session, r match.Result) (err error) {
	if c.File == "" {
		return c.render(ctx, stdout, cataloger, session, r)
	}
	f, err := os.CreateTemp(filepath.Dir(c.File), ".tidewaiter-*")
	if err != nil {
		return errs.Wrap(errs.Invalid, "scan: write "+c.File, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if err := c.render(ctx, f, cataloger, session, r); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return errs.Wrap(errs.Invalid, "scan: write "+c.File, err)
	}
	if err := f.Close(); err != nil {
		return errs.Wrap(errs.Invalid, "scan: write "+c.File, err)
	}
	return errs.Wrap(errs.Invalid, "scan: write "+c.File, os.Rename(f.Name(), c.File))
}

func (c *scanCmd) render(ctx context.Context, w io.Writer, cataloger *catalog.Cataloger, session *match.Session, r match.Result) error {
	// These two say what is inside, not what is wrong with it.
	form := sbom.Format(c.Output)
	if form != sbom.SPDXJSON && form != sbom.SyftJSON {
		return session.Report(ctx, w, match.Format(c.Output), r)
	}
	document, err := cataloger.Encode(ctx, r.Document.JSON, form)
	if err != nil {
		return err
	}
	_, err = w.Write(document)
	return err
}

func note(w people, caveats []string) {
	for _, text := range caveats {
		_, _ = fmt.Fprintf(w, "note: %s\n", line(text))
	}
}
