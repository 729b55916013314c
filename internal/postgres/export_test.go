package postgres

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// LiveHolders lists the images with one of the packages in both ways there are,
// page by page of a size; what differs is the way, never the answer.
func (s *Store) LiveHolders(ctx context.Context, access report.Access, packages []int64, size, atOnce int) (everywhere, walked [][]string, err error) {
	err = s.read(ctx, "find holders", func(at snapshot) error {
		inventories, err := holdingInventories(ctx, at, holders{packages: packages})
		if err != nil {
			return err
		}
		q := holdersQuery{access: access, inventories: inventories, limit: size}
		described := func(images []standingImage, err error) ([]hitRow, error) {
			if err != nil {
				return nil, err
			}
			return describeImages(ctx, at, images)
		}
		if everywhere, err = q.pages(func(q holdersQuery) ([]hitRow, error) { return described(q.everywhere(ctx, at)) }); err != nil {
			return err
		}
		walked, err = q.pages(func(q holdersQuery) ([]hitRow, error) { return described(q.walk(ctx, at, atOnce)) })
		return err
	})
	return everywhere, walked, err
}

func (q holdersQuery) pages(ask func(holdersQuery) ([]hitRow, error)) (out [][]string, err error) {
	for {
		found, err := ask(q)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			out = append(out, append([]string{r.Registry, r.Repository, r.Digest}, r.Tags...))
		}
		if len(found) < q.limit {
			return out, nil
		}
		last := found[len(found)-1]
		q.after, q.key = true, hitKey{last.Registry, last.Repository, last.Digest}
	}
}
