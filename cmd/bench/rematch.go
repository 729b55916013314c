package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tidewaiter/tidewaiter/internal/localpostgres"
	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// rematchCmd measures a change of database over a large registry.
type rematchCmd struct {
	scale      `embed:""`
	Before     string   `required:"" type:"path" help:"Vulnerability database in force at first: archive or directory."`
	After      string   `required:"" type:"path" help:"A newer one, of whose differences some are applied."`
	SBOM       []string `type:"existingfile" help:"SBOMs of real images (syft JSON) whose packages are drawn, too."`
	Advisories int      `default:"500" help:"Advisories that change."`
	Asks       int      `default:"300" help:"How often each question is asked."`
	Grype      string   `type:"existingfile" help:"grype program to run over the SBOMs beside; build it with 'go build github.com/anchore/grype/cmd/grype'."`
	PeerRuns   int      `default:"3" help:"How often grype runs over each SBOM."`
}

// ground is what the measurement stands on.
type ground struct {
	dir     string
	server  *localpostgres.Server
	pool    *pgxpool.Pool
	store   *postgres.Store
	library *vulndb.Library
	engine  *match.Engine
}

// Run is called by kong.
func (c *rematchCmd) Run(ctx context.Context) error {
	g, err := newGround(ctx)
	if err != nil {
		return err
	}
	defer g.close()
	return c.measure(ctx, g)
}

func newGround(ctx context.Context) (g *ground, err error) {
	g = &ground{engine: match.NewEngine(match.Options{})}
	if g.dir, err = os.MkdirTemp("", "tidewaiter-bench-"); err != nil {
		return nil, err
	}
	if err = g.open(ctx); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

func (g *ground) open(ctx context.Context) (err error) {
	if err := os.Chmod(g.dir, 0o755); err != nil { // Postgres may run as another user
		return err
	}
	if g.server, err = localpostgres.Start(ctx, localpostgres.Config{DataDir: filepath.Join(g.dir, "postgres"), Durable: true}); err != nil {
		return err
	}
	if err := postgres.Migrate(ctx, g.server.URL()); err != nil {
		return err
	}
	if g.store, err = postgres.Open(ctx, g.server.URL()); err != nil {
		return err
	}
	g.pool = g.store.Pool()
	g.library, err = vulndb.Open(vulndb.Config{Dir: filepath.Join(g.dir, "vulndb")})
	return err
}

func (g *ground) close() {
	if g.store != nil {
		g.store.Close()
	}
	if g.server != nil {
		_ = g.server.Stop(context.Background())
	}
	_ = g.engine.Close()
	_ = os.RemoveAll(g.dir)
}

func (c *rematchCmd) measure(ctx context.Context, g *ground) error {
	after, err := g.library.Import(ctx, c.After, nil)
	if err != nil {
		return err
	}
	before, err := g.library.Import(ctx, c.Before, nil)
	if err != nil {
		return err
	}
	if err := c.seed(ctx, g, before); err != nil {
		return err
	}
	if err := g.printSize(ctx); err != nil {
		return err
	}
	if err := g.ask(ctx, c.Asks); err != nil {
		return err
	}
	changed, err := changedDatabase(ctx, g.library, g.dir, before, after, c.Advisories)
	if err != nil {
		return err
	}
	libc, err := libcDatabase(ctx, g.library, g.dir, changed)
	if err != nil {
		return err
	}
	fmt.Println("\n| change | names | records | packages judged | compare s | judged, counted and switched s | events |\n|---|---:|---:|---:|---:|---:|---:|")
	if err := g.change(ctx, fmt.Sprintf("%d advisories", c.Advisories), before, changed, false); err != nil {
		return err
	}
	if err := g.change(ctx, "one advisory about the C libraries", changed, libc, false); err != nil {
		return err
	}
	if err := g.change(ctx, "back, every package judged", libc, before, true); err != nil || c.Grype == "" {
		return err
	}
	return c.peer(ctx, g, after)
}

func (c *rematchCmd) seed(ctx context.Context, g *ground, in vulndb.Installed) error {
	p := newPool(1)
	for _, path := range c.SBOM {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		inv, err := match.TakeInventory(ctx, sbom.Document{JSON: raw})
		if err != nil {
			return err
		}
		p.addInventory(inv)
	}
	p.addLibraries()
	if err := p.addDatabase(ctx, in); err != nil {
		return err
	}
	p.fill(c.Packages)
	p.shuffle()
	w := newWorld(p, c.scale)
	progress(fmt.Sprintf("drew %d packages and %d inventories", len(w.packages), len(w.inventories)))
	session, err := g.engine.OpenCandidate(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	s, err := newSeeder(g.pool, g.store, w, c.scale, session)
	if err != nil {
		return err
	}
	return s.run(ctx)
}

// change brings another database into force, and prints how long that took.
func (g *ground) change(ctx context.Context, what string, before, after vulndb.Installed, everything bool) error {
	const events = `SELECT count(*) FROM finding_event WHERE build_id = $1`
	start := time.Now()
	change := scan.Change{Everything: "for the measurement"}
	var err error
	if !everything {
		if change, err = g.engine.Compare(ctx, before, after); err != nil {
			return err
		}
	}
	compared := time.Since(start)
	session, err := g.engine.OpenCandidate(ctx, after)
	if err != nil {
		return err
	}
	defer func() { _ = session.Close() }()
	start = time.Now()
	done, err := (&scan.Rejudger{Store: g.store, Change: &change}).Rejudge(ctx, session)
	if err != nil {
		return err
	}
	took := time.Since(start)
	var told int
	if err := g.pool.QueryRow(ctx, events, done.Build).Scan(&told); err != nil {
		return err
	}
	fmt.Printf("| %s | %d | %d | %d | %.1f | %.1f | %d |\n", what, len(change.Names), len(change.Records), done.Packages, compared.Seconds(), took.Seconds(), told)
	return nil
}

func (g *ground) printSize(ctx context.Context) error {
	const query = `
		SELECT (SELECT count(*) FROM manifest), (SELECT count(*) FROM inventory), (SELECT count(*) FROM package),
		       (SELECT count(*) FROM inventory_package), (SELECT count(*) FROM repository), (SELECT count(*) FROM tag),
		       (SELECT count(*) FROM package_match), (SELECT count(*) FROM repository_finding), pg_database_size(current_database())`
	var n [9]int64
	if err := g.pool.QueryRow(ctx, query).Scan(&n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &n[7], &n[8]); err != nil {
		return err
	}
	fmt.Println("| manifests | inventories | packages | places of packages | repositories | tags | matches | findings of repositories | GB |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
	fmt.Printf("| %d | %d | %d | %d | %d | %d | %d | %d | %.2f |\n", n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], float64(n[8])/1e9)
	return nil
}
