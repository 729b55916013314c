package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/match"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// ask measures what readers ask for, through the readers the API answers from.
func (g *ground) ask(ctx context.Context, n int) error {
	const vulnerabilities = `
		SELECT vulnerability FROM (SELECT vulnerability, count(*) AS n FROM repository_finding GROUP BY 1) f ORDER BY random() LIMIT $1`
	const tags = `SELECT r.name || chr(58) || t.name FROM tag t JOIN repository r ON r.id = t.repository_id ORDER BY random() LIMIT $1`
	cves, err := g.texts(ctx, vulnerabilities, n)
	if err != nil {
		return err
	}
	refs, err := g.texts(ctx, tags, n)
	if err != nil {
		return err
	}
	fmt.Println("\n| question | asked | p50 ms | p99 ms |\n|---|---:|---:|---:|")
	if err := g.times("where is log4j-core < 2.17.0", n, func(int) error { return g.whereIs(ctx, "log4j-core", "< 2.17.0") }); err != nil {
		return err
	}
	if err := g.times("a vulnerability's images and tags", len(cves), func(i int) error {
		_, err := g.store.VulnerabilityImages(ctx, report.Access{}, cves[i], report.Page{})
		return err
	}); err != nil {
		return err
	}
	return g.times("a tag's findings", len(refs), func(i int) error {
		repository, tag, _ := strings.Cut(refs[i], ":")
		target := report.Target{RepositoryRef: report.RepositoryRef{Registry: "local", Name: repository}, Tag: tag}
		_, err := g.store.Findings(ctx, report.Access{}, report.FindingScope{Target: target}, report.FindingFilter{}, report.Page{})
		return err
	})
}

// whereIs is what GET /packages does.
func (g *ground) whereIs(ctx context.Context, name, versions string) error {
	stored, err := g.store.Packages(ctx, report.PackageQuery{Name: name})
	if err != nil {
		return err
	}
	ids := []int64{}
	for _, p := range stored {
		if in, err := match.Satisfies(p.Type, p.Version, versions); err == nil && in {
			ids = append(ids, p.ID)
		}
	}
	_, err = g.store.PackageImages(ctx, report.Access{}, ids, report.Page{})
	return err
}

// times asks and prints how long the answers took. The first few are not
// counted.
func (g *ground) times(what string, n int, ask func(i int) error) error {
	const warm = 5
	var took []time.Duration
	for i := range n {
		start := time.Now()
		if err := ask(i); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if i >= warm {
			took = append(took, time.Since(start))
		}
	}
	fmt.Printf("| %s | %d | %.1f | %.1f |\n", what, len(took), ms(quantile(took, .5)), ms(quantile(took, .99)))
	return nil
}

func (g *ground) texts(ctx context.Context, query string, n int) ([]string, error) {
	rows, err := g.pool.Query(ctx, query, n)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
