package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// engineCmd measures the scan engine as its users have it: a service of its own
// process, a registry, a Postgres that keeps its word. Everything that is
// compared is measured in the same run, because machines are noisy.
type engineCmd struct {
	Images     string   `required:"" type:"existingdir" help:"OCI layout whose images are named by their ref name annotation."`
	Name       []string `help:"Images to scan; default all of the layout."`
	Database   string   `required:"" type:"path" help:"Vulnerability database: archive or directory."`
	Tidewaiter string   `required:"" type:"existingfile" help:"tidewaiter program, as of 'make build'."`
	Grype      string   `type:"existingfile" help:"grype program to compare with; build it with 'go build github.com/anchore/grype/cmd/grype'."`
	Runs       int      `default:"3" help:"Runs of which the median is shown."`
	Part       []string `default:"images,together,throughput,unchanged" enum:"images,together,throughput,unchanged" help:"What to measure."`
	Base       string   `default:"micro-01" help:"Image that the images of the throughput are derived from."`
	Derived    int      `default:"100" help:"Images of the throughput."`
	Tags       int      `default:"500" help:"Pushes of known digests under new tags."`
	Workers    int      `default:"2" help:"Scans at a time for all but single images."`
	Profile    string   `type:"path" help:"Directory for CPU profiles of the service: of the throughput and of what is unchanged."`
}

// Run is called by kong.
func (c *engineCmd) Run(ctx context.Context) error {
	images, err := c.load()
	if err != nil {
		return err
	}
	y, err := newYard(ctx, c.Database, c.Tidewaiter)
	if err != nil {
		return err
	}
	defer y.close()
	for _, part := range []struct {
		name string
		run  func(context.Context, *yard, map[string]v1.Image) error
	}{{"images", c.single}, {"together", c.together}, {"throughput", c.throughput}, {"unchanged", c.unchanged}} {
		if !slices.Contains(c.Part, part.name) {
			continue
		}
		if err := part.run(ctx, y, images); err != nil {
			return errs.Op(part.name, err)
		}
	}
	return nil
}

// load reads the images that are wanted.
func (c *engineCmd) load() (map[string]v1.Image, error) {
	index, err := layout.ImageIndexFromPath(c.Images)
	if err != nil {
		return nil, err
	}
	list, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	all := len(c.Name) == 0
	images := map[string]v1.Image{}
	for _, m := range list.Manifests {
		ref := m.Annotations["org.opencontainers.image.ref.name"]
		if images[ref], err = index.Image(m.Digest); err != nil {
			return nil, err
		}
		if all {
			c.Name = append(c.Name, ref)
		}
	}
	slices.Sort(c.Name)
	for _, n := range append(slices.Clone(c.Name), c.Base) {
		if images[n] == nil {
			return nil, errs.New(errs.NotFound, "%s has no image named %s", c.Images, n)
		}
	}
	return images, nil
}

// profile is where a CPU profile goes; empty for none.
func (c *engineCmd) profile(name string) string {
	if c.Profile == "" {
		return ""
	}
	return filepath.Join(c.Profile, name+".pprof")
}

// progress says on standard error what goes on: the tables come at the end.
func progress(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
