package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// scanCmd measures scans of real images: from the push's event to the stored
// answer, on a service that knows nothing yet.
type scanCmd struct {
	Images   string   `required:"" type:"existingdir" help:"OCI layout whose images are named by their ref name annotation."`
	Name     []string `default:"debian-12,go-app,py-django" help:"Images to scan."`
	Database string   `required:"" type:"path" help:"Vulnerability database: archive or directory."`
	Grype    string   `type:"existingfile" help:"grype program to run on the same image in the same run; build it with 'go build github.com/anchore/grype/cmd/grype'."`
	Runs     int      `default:"3" help:"Runs of which the median is shown."`
}

// phases are the steps of a scan, in order.
var phases = []string{"resolve", "catalogue", "inventory", "match", "store"}

// measured is one image over all runs.
type measured struct {
	phase    map[string][]time.Duration
	total    []time.Duration // event accepted to answer stored
	grype    []time.Duration
	rejudge  []time.Duration
	packages int
	storage  [2]storage // before and after, of the last run
}

// Run is called by kong.
func (c *scanCmd) Run(ctx context.Context) error {
	images, err := c.load()
	if err != nil {
		return err
	}
	results := map[string]*measured{}
	for _, n := range c.Name {
		results[n] = &measured{phase: map[string][]time.Duration{}}
	}
	for run := range c.Runs {
		fmt.Fprintf(os.Stderr, "run %d of %d\n", run+1, c.Runs)
		if err := c.once(ctx, images, results); err != nil {
			return err
		}
	}
	c.print(results)
	return nil
}

func (c *scanCmd) load() (map[string]v1.Image, error) {
	index, err := layout.ImageIndexFromPath(c.Images)
	if err != nil {
		return nil, err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	images := map[string]v1.Image{}
	for _, m := range list.Manifests {
		ref := m.Annotations["org.opencontainers.image.ref.name"]
		if !slices.Contains(c.Name, ref) {
			continue
		}
		if images[ref], err = index.Image(m.Digest); err != nil {
			return nil, err
		}
	}
	for _, n := range c.Name {
		if images[n] == nil {
			return nil, errs.New(errs.NotFound, "%s has no image named %s", c.Images, n)
		}
	}
	return images, nil
}

// once measures every image on a fresh service.
func (c *scanCmd) once(ctx context.Context, images map[string]v1.Image, results map[string]*measured) error {
	r, err := newRig(ctx, c.Database, true)
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.until(ctx, `EXISTS (SELECT 1 FROM vuln_build WHERE state = 'active')`); err != nil {
		return err
	}
	for _, n := range c.Name {
		before, err := r.storage(ctx)
		if err != nil {
			return err
		}
		if err := c.scan(ctx, r, images[n], n, results[n]); err != nil {
			return errs.Op("scan "+n, err)
		}
		after, err := r.storage(ctx)
		if err != nil {
			return err
		}
		results[n].storage = [2]storage{before, after}
		if err := r.rejudge(ctx, n, results[n]); err != nil {
			return errs.Op("judge again "+n, err)
		}
	}
	return nil
}

func (c *scanCmd) scan(ctx context.Context, r *rig, img v1.Image, tag string, m *measured) error {
	ref, err := name.NewTag(r.registry.Host()+"/bench/app:"+tag, name.Insecure)
	if err != nil {
		return err
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx)); err != nil {
		return err
	}
	if err := r.until(ctx, `EXISTS (SELECT 1 FROM scan WHERE tag = $1 AND state IN ('done', 'failed'))`, tag); err != nil {
		return err
	}
	var state string
	var raw []byte
	var total float64
	const query = `SELECT state, phases, extract(epoch FROM finished_at - created_at)::float8 FROM scan WHERE tag = $1`
	if err := r.pool.QueryRow(ctx, query, tag).Scan(&state, &raw, &total); err != nil {
		return err
	}
	if state != string(scan.StateDone) {
		return errs.New(errs.Internal, "the scan ended %s", state)
	}
	var steps []scan.Phase
	if err := json.Unmarshal(raw, &steps); err != nil {
		return err
	}
	for _, p := range steps {
		m.phase[p.Name] = append(m.phase[p.Name], p.Duration)
	}
	m.total = append(m.total, time.Duration(total*float64(time.Second)))
	return c.runGrype(ctx, r, ref, m)
}

// runGrype runs the grype CLI on the same image from the same registry with the
// same database, as a process of its own.
func (c *scanCmd) runGrype(ctx context.Context, r *rig, ref name.Tag, m *measured) error {
	if c.Grype == "" {
		return nil
	}
	cache, err := grypeCache(r.library)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.Grype, "registry:"+ref.String(), "-o", "json", "-q")
	cmd.Env = append(os.Environ(), grypeSettings(cache)...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	err = cmd.Run()
	m.grype = append(m.grype, time.Since(start))
	return err
}

func (c *scanCmd) print(results map[string]*measured) {
	fmt.Printf("Cold scans, median of %d, seconds. Total is from the accepted event to the stored answer.\n\n", c.Runs)
	fmt.Println("| image | packages | resolve | pull + catalogue | inventory | match | store | total | grype CLI | grype / total |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	for _, n := range c.Name {
		m := results[n]
		fmt.Printf("| %s | %d |", n, m.packages)
		for _, p := range phases {
			fmt.Printf(" %.3f |", quantile(m.phase[p], .5).Seconds())
		}
		total, grype := quantile(m.total, .5).Seconds(), quantile(m.grype, .5).Seconds()
		fmt.Printf(" %.2f | %.2f | %.1f |\n", total, grype, grype/total)
	}
	fmt.Printf("\nJudging one inventory again, median of %d, without a pull and without an SBOM.\n\n", c.Runs)
	fmt.Println("| image | packages | seconds | milliseconds per package |")
	fmt.Println("|---|---:|---:|---:|")
	for _, n := range c.Name {
		m := results[n]
		again := quantile(m.rejudge, .5)
		fmt.Printf("| %s | %d | %.3f | %.2f |\n", n, m.packages, again.Seconds(), ms(again)/float64(max(m.packages, 1)))
	}
	fmt.Println("\nWhat each image added to the database, in the order scanned; indexes included.")
	fmt.Println()
	printStorage(c.Name, results)
}
