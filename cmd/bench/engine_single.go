package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// taken is what one way to look at an image took, over all runs.
type taken struct {
	wall, cpu []time.Duration
	resident  []int64
}

func (t *taken) add(p program) {
	t.wall, t.cpu, t.resident = append(t.wall, p.took), append(t.cpu, p.cpu), append(t.resident, p.resident)
}

// single is one image over all runs.
type single struct {
	size                   int64 // compressed layers
	packages               int
	raw, cold, warm, grype taken
	postgres               []time.Duration // CPU during the cold scan
	written, wal           []int64
	phases, warmPhases     map[string][]time.Duration
}

// imagesRepository holds the images that are measured by themselves.
const imagesRepository = "bench/images"

// single measures every image by itself: on a service that knows nothing, then
// with a thin layer on top. Layers and packages of the image are known then.
func (c *engineCmd) single(ctx context.Context, y *yard, images map[string]v1.Image) error {
	results := map[string]*single{}
	for _, n := range c.Name {
		results[n] = &single{phases: map[string][]time.Duration{}, warmPhases: map[string][]time.Duration{}, size: sizeOf(images[n])}
	}
	for run := range c.Runs {
		for _, n := range c.Name {
			progress("run %d of %d: %s", run+1, c.Runs, n)
			if err := c.measure(ctx, y, images[n], n, run, results[n]); err != nil {
				return fmt.Errorf("%s: %w", n, err)
			}
		}
	}
	c.printSingle(results)
	return nil
}

func (c *engineCmd) measure(ctx context.Context, y *yard, img v1.Image, name string, run int, m *single) error {
	if _, err := y.push(ctx, img, imagesRepository, name); err != nil {
		return err
	}
	raw, err := y.raw(ctx, imagesRepository, name)
	if err != nil {
		return err
	}
	m.raw.add(raw)
	if err := c.ours(ctx, y, img, name, run, m); err != nil || c.Grype == "" {
		return err
	}
	grype, err := y.grypeCLI(ctx, c.Grype, imagesRepository, name)
	m.grype.add(grype)
	return err
}

// ours measures a service that was just started.
func (c *engineCmd) ours(ctx context.Context, y *yard, img v1.Image, name string, run int, m *single) error {
	b, err := y.berth(ctx, 1)
	if err != nil {
		return err
	}
	defer b.stop()
	log, err := b.wal(ctx)
	if err != nil {
		return err
	}
	service, database := usageOf(b.pid()), usageOf(y.server.PID())
	cold, err := b.measured(ctx, img, name, m.phases)
	if err != nil {
		return err
	}
	m.cold.add(cold)
	m.postgres = append(m.postgres, usageOf(y.server.PID()).since(database).cpu)
	m.written = append(m.written, usageOf(b.pid()).since(service).written)
	after, err := b.wal(ctx)
	if err != nil {
		return err
	}
	m.wal = append(m.wal, after-log)
	if m.packages, err = b.packages(ctx, name); err != nil {
		return err
	}
	derived, err := thin(img, run, 1, 1)
	if err != nil {
		return err
	}
	warm, err := b.measured(ctx, derived, name+"-thin", m.warmPhases)
	m.warm.add(warm)
	return err
}

// measured scans an image and says what that took.
func (b *berth) measured(ctx context.Context, img v1.Image, tag string, phases map[string][]time.Duration) (p program, err error) {
	before, stop := usageOf(b.pid()), watch(ctx, b.pid())
	err = b.scan(ctx, img, imagesRepository, tag)
	p.cpu, p.resident = usageOf(b.pid()).since(before).cpu, stop()
	if err != nil {
		return p, err
	}
	took, steps, err := b.took(ctx, imagesRepository, tag)
	if err != nil {
		return p, err
	}
	p.took = took
	for _, s := range steps {
		phases[s.Name] = append(phases[s.Name], s.Duration)
	}
	return p, nil
}

// packages counts those of the image behind a tag.
func (b *berth) packages(ctx context.Context, tag string) (n int, err error) {
	const query = `
		SELECT i.package_count FROM tag t JOIN manifest m ON m.id = t.manifest_id JOIN inventory i ON i.id = m.inventory_id
		 WHERE t.name = $1 LIMIT 1`
	return n, b.pool.QueryRow(ctx, query, tag).Scan(&n)
}

func sizeOf(img v1.Image) (n int64) {
	m, err := img.Manifest()
	if err != nil {
		return 0
	}
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}

// median of no values is zero.
func median[T cmp.Ordered](values []T) (zero T) {
	if len(values) == 0 {
		return zero
	}
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
