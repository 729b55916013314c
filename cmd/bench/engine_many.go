package main

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// profileTime is how long a CPU profile looks at a part.
const profileTime = 6 * time.Second

// many is how one run over many pushes went.
type many struct {
	pushes        int
	took          time.Duration
	cpu, postgres time.Duration
	resident      int64
}

// runs of the same work on fresh services; the median of each figure counts.
type runs []many

func (r runs) median() (m many) {
	var took, cpu, postgres []time.Duration
	var resident []int64
	for _, o := range r {
		m.pushes = o.pushes
		took, cpu, postgres, resident = append(took, o.took), append(cpu, o.cpu), append(postgres, o.postgres), append(resident, o.resident)
	}
	m.took, m.cpu, m.postgres, m.resident = median(took), median(cpu), median(postgres), median(resident)
	return m
}

func (r runs) print(name string) {
	m := r.median()
	n := time.Duration(m.pushes)
	fmt.Printf("| %s | %d | %.2f | %.1f | %.3f | %.3f | %.0f |\n", name, m.pushes, m.took.Seconds(), float64(m.pushes)/m.took.Seconds(),
		(m.cpu / n).Seconds(), (m.postgres / n).Seconds(), megabytes(m.resident))
}

func printManyHeader(text string) {
	fmt.Printf("\n%s\n\n", text)
	fmt.Println("| what | pushes | seconds | per second | CPU s each | + Postgres | memory MB |")
	fmt.Println("|---|---:|---:|---:|---:|---:|---:|")
}

// load tells a service of many pushes and measures until all are answered.
func (b *berth) load(ctx context.Context, all []pushed, profile string) (m many, err error) {
	m.pushes = len(all)
	before, database, stop := usageOf(b.pid()), usageOf(b.server.PID()), watch(ctx, b.pid())
	err = b.profiled(ctx, profile, profileTime, func() (err error) {
		m.took, err = b.burst(ctx, all)
		m.cpu, m.postgres = usageOf(b.pid()).since(before).cpu, usageOf(b.server.PID()).since(database).cpu
		return err
	})
	m.resident = stop()
	return m, err
}

// together pushes all images at once to a service that knows nothing.
func (c *engineCmd) together(ctx context.Context, y *yard, images map[string]v1.Image) error {
	var all []pushed
	for _, n := range c.Name {
		digest, err := y.push(ctx, images[n], "bench/together", n)
		if err != nil {
			return err
		}
		all = append(all, pushed{"bench/together", n, digest})
	}
	var results runs
	for run := range c.Runs {
		progress("run %d of %d: all images together", run+1, c.Runs)
		m, err := c.onFresh(ctx, y, func(b *berth) (many, error) { return b.load(ctx, all, "") })
		if err != nil {
			return err
		}
		results = append(results, m)
	}
	printManyHeader(fmt.Sprintf("All images at once, nothing known, %d workers.", c.Workers))
	results.print("cold")
	return nil
}

func (c *engineCmd) onFresh(ctx context.Context, y *yard, work func(*berth) (many, error)) (many, error) {
	b, err := y.berth(ctx, c.Workers)
	if err != nil {
		return many{}, err
	}
	defer b.stop()
	return work(b)
}

// throughput scans images that are thin layers on a base that is known: as tags
// of one repository, and each in a repository of its own.
func (c *engineCmd) throughput(ctx context.Context, y *yard, images map[string]v1.Image) error {
	spread := map[string][]pushed{}
	order := []string{"a repository each", "one repository"}
	progress("deriving %d images from %s", c.Derived, c.Base)
	for n := range c.Derived {
		img, err := thin(images[c.Base], n, 6, 3)
		if err != nil {
			return err
		}
		for i, repository := range []string{fmt.Sprintf("bench/service-%d", n), "bench/services"} {
			tag := fmt.Sprintf("v%d", n)
			digest, err := y.push(ctx, img, repository, tag)
			if err != nil {
				return err
			}
			spread[order[i]] = append(spread[order[i]], pushed{repository, tag, digest})
		}
	}
	results := map[string]runs{}
	for run := range c.Runs {
		for i, kind := range order {
			progress("run %d of %d: throughput, %s", run+1, c.Runs, kind)
			m, err := c.onFresh(ctx, y, func(b *berth) (many, error) {
				if err := b.scan(ctx, images[c.Base], "bench/base", "base"); err != nil {
					return many{}, err
				}
				return b.load(ctx, spread[kind], c.profile(fmt.Sprintf("throughput-%d-%d", i, run)))
			})
			if err != nil {
				return err
			}
			results[kind] = append(results[kind], m)
		}
	}
	printManyHeader(fmt.Sprintf("Thin layers (6 npm, 3 Python packages, others in each image) on %s, whose layers are known; %d workers.", c.Base, c.Workers))
	for _, kind := range order {
		results[kind].print(kind)
	}
	return nil
}

// unchanged pushes a digest that is known under new tags.
func (c *engineCmd) unchanged(ctx context.Context, y *yard, images map[string]v1.Image) error {
	var all []pushed
	for n := range c.Tags {
		tag := fmt.Sprintf("again-%d", n)
		digest, err := y.push(ctx, images[c.Base], "bench/unchanged", tag)
		if err != nil {
			return err
		}
		all = append(all, pushed{"bench/unchanged", tag, digest})
	}
	var results runs
	for run := range c.Runs {
		progress("run %d of %d: unchanged", run+1, c.Runs)
		m, err := c.onFresh(ctx, y, func(b *berth) (many, error) {
			if err := b.scan(ctx, images[c.Base], "bench/unchanged", "first"); err != nil {
				return many{}, err
			}
			m, err := b.load(ctx, all, c.profile(fmt.Sprintf("unchanged-%d", run)))
			if err != nil {
				return m, err
			}
			return m, b.tagsOf(ctx, "bench/unchanged", len(all)+1)
		})
		if err != nil {
			return err
		}
		results = append(results, m)
	}
	printManyHeader(fmt.Sprintf("A digest that is known, pushed under new tags; %d workers.", c.Workers))
	results.print("unchanged")
	return nil
}

// tagsOf checks that a repository has so many tags with an answer.
func (b *berth) tagsOf(ctx context.Context, repository string, want int) error {
	const query = `
		SELECT count(*) FROM tag t JOIN repository r ON r.id = t.repository_id JOIN manifest m ON m.id = t.manifest_id
		 WHERE r.name = $1 AND m.state = 'done'`
	var n int
	if err := b.pool.QueryRow(ctx, query, repository).Scan(&n); err != nil {
		return err
	}
	if n != want {
		return errs.New(errs.Internal, "%d tags of %s are answered, %d were pushed", n, repository, want)
	}
	return nil
}
