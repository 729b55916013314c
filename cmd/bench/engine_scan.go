package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

// pushed is an image in the registry that the service was not told of.
type pushed struct {
	repository, tag string
	digest          v1.Hash
}

// notify tells the service of a push, as a registry does, and returns when it
// has accepted it.
func (b *berth) notify(ctx context.Context, p pushed) error {
	body := fmt.Sprintf(`{"events":[{"id":%q,"timestamp":%q,"action":"push","target":{"mediaType":%q,"digest":%q,"repository":%q,"tag":%q},"request":{"host":%q}}]}`,
		p.repository+":"+p.tag, time.Now().UTC().Format(time.RFC3339Nano), image.MediaTypeOCIManifest, p.digest, p.repository, p.tag, b.registry.Host())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+b.address+"/webhooks/local", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/vnd.docker.distribution.events.v2+json")
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("answered %d: %s", resp.StatusCode, answer)
	}
	return nil
}

// scan pushes an image, tells the service and waits for the answer.
func (b *berth) scan(ctx context.Context, img v1.Image, repository, tag string) error {
	digest, err := b.push(ctx, img, repository, tag)
	if err != nil {
		return err
	}
	if err := b.notify(ctx, pushed{repository, tag, digest}); err != nil {
		return err
	}
	return b.settled(ctx)
}

// settled waits until nothing is under way, and fails when a scan did.
func (b *berth) settled(ctx context.Context) error {
	const query = `
		SELECT count(*) FILTER (WHERE state IN ('queued', 'running')), count(*) FILTER (WHERE state = 'failed'),
		       COALESCE(min(detail) FILTER (WHERE state = 'failed'), '') FROM scan`
	return b.until(ctx, func(ctx context.Context) (bool, error) {
		var waiting, failed int
		var detail string
		if err := b.pool.QueryRow(ctx, query).Scan(&waiting, &failed, &detail); err != nil {
			return false, err
		}
		if failed > 0 {
			return false, errs.New(errs.Internal, "%d scans failed: %s", failed, detail)
		}
		return waiting == 0, nil
	})
}

// took is how long one scan took, from the accepted event to the stored answer,
// and its phases.
func (b *berth) took(ctx context.Context, repository, tag string) (total time.Duration, phases []scan.Phase, err error) {
	const query = `
		SELECT extract(epoch FROM s.finished_at - s.created_at)::float8, s.phases
		  FROM scan s JOIN repository r ON r.id = s.repository_id
		 WHERE r.name = $1 AND s.tag = $2 AND s.state = 'done' ORDER BY s.id DESC LIMIT 1`
	var seconds float64
	var raw []byte
	if err := b.pool.QueryRow(ctx, query, repository, tag).Scan(&seconds, &raw); err != nil {
		return 0, nil, err
	}
	return time.Duration(seconds * float64(time.Second)), phases, json.Unmarshal(raw, &phases)
}

// wal is how many bytes Postgres has written to its log.
func (b *berth) wal(ctx context.Context) (n int64, err error) {
	err = b.pool.QueryRow(ctx, `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint`).Scan(&n)
	return n, err
}

// burst tells the service of many pushes from a few senders at once and waits
// for all answers. It returns the time from the first accepted event to the
// last answer.
func (b *berth) burst(ctx context.Context, all []pushed) (time.Duration, error) {
	var last int64
	if err := b.pool.QueryRow(ctx, `SELECT COALESCE(max(id), 0) FROM scan`).Scan(&last); err != nil {
		return 0, err
	}
	for _, p := range all {
		if err := b.notify(ctx, p); err != nil {
			return 0, err
		}
	}
	if err := b.settled(ctx); err != nil {
		return 0, err
	}
	const query = `
		SELECT extract(epoch FROM max(finished_at) - min(created_at))::float8, count(*) FROM scan WHERE id > $1 AND state = 'done'`
	var seconds float64
	var n int
	if err := b.pool.QueryRow(ctx, query, last).Scan(&seconds, &n); err != nil {
		return 0, err
	}
	if n != len(all) {
		return 0, errs.New(errs.Internal, "%d scans for %d pushes", n, len(all))
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// profiled runs work while a CPU profile of the service is taken, into path;
// without a path it only runs it.
func (b *berth) profiled(ctx context.Context, path string, expected time.Duration, work func() error) error {
	if path == "" {
		return work()
	}
	done := make(chan error, 1)
	go func() {
		done <- b.fetchProfile(ctx, path, expected)
	}()
	time.Sleep(100 * time.Millisecond) // it has begun
	if err := work(); err != nil {
		return err
	}
	return <-done
}

func (b *berth) fetchProfile(ctx context.Context, path string, length time.Duration) error {
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", b.admin, max(1, int(length.Seconds())))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, resp.Body); err != nil {
		return err
	}
	return out.Close()
}
