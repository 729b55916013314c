//go:build chaos

// Losing deliveries and killing the receiver while images are pushed: what the
// webhooks did not tell, reconcile finds. `make chaos`.
package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

const (
	unseenPushes = 500
	unseenLosses = 0.3
)

// lossyRelay stands between the registry and the receiver: of the deliveries it
// answers some itself and throws them away. It keeps how long each took and what
// was answered.
type lossyRelay struct {
	t       *testing.T
	server  *httptest.Server
	forward *url.URL // where the receiver is

	mu       sync.Mutex
	lost     int
	refused  []string // answers to events that are none of 2xx, from a receiver that was up
	down     int      // attempts while the receiver was dead
	ignored  []time.Duration
	accepted []time.Duration
}

func newLossyRelay(t *testing.T, receiver string) *lossyRelay {
	r := &lossyRelay{t: t, forward: &url.URL{Scheme: "http", Host: receiver}}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

// ServeHTTP loses a delivery or hands it on.
func (r *lossyRelay) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	body, err := io.ReadAll(in.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if isNews(body) && rand.Float64() < unseenLosses {
		r.mu.Lock()
		r.lost++
		r.mu.Unlock()
		w.WriteHeader(http.StatusAccepted)
		return
	}
	out, err := http.NewRequestWithContext(in.Context(), in.Method, r.forward.JoinPath(in.URL.Path).String(), bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	out.Header = in.Header.Clone()
	start := time.Now()
	resp, err := http.DefaultClient.Do(out)
	if err != nil {
		r.mu.Lock()
		r.down++
		r.mu.Unlock()
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	said, _ := io.ReadAll(resp.Body) // what was said is only shown
	r.note(resp.StatusCode, said, time.Since(start))
	w.WriteHeader(resp.StatusCode)
}

func (r *lossyRelay) note(status int, said []byte, took time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var answer struct{ Accepted, Ignored int }
	switch {
	case status >= 300 && status != http.StatusServiceUnavailable:
		r.refused = append(r.refused, fmt.Sprintf("%d %s", status, said))
	case json.Unmarshal(said, &answer) != nil:
	case answer.Accepted > 0:
		r.accepted = append(r.accepted, took)
	default:
		r.ignored = append(r.ignored, took)
	}
}

// isNews reports whether an event is one that asks for work.
func isNews(body []byte) bool {
	return bytes.Contains(body, []byte(`"delete"`)) || bytes.Contains(body, []byte(`"push"`)) && bytes.Contains(body, []byte("/manifests/"))
}

// countingFront stands before the registry for the service alone and counts
// which blobs it fetches.
type countingFront struct {
	server *httptest.Server
	mu     sync.Mutex
	blobs  map[string]int
}

func newCountingFront(t *testing.T, registry string) *countingFront {
	f := &countingFront{blobs: map[string]int{}}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: registry})
	}}
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	f.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			f.mu.Lock()
			f.blobs[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]++
			f.mu.Unlock()
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.server.Close)
	return f
}

// host is the address without scheme.
func (f *countingFront) host() string { return strings.TrimPrefix(f.server.URL, "http://") }

// TestNothingPushedGoesUnseen pushes 60 images of every sort 500 times, with
// tags that move and go, while deliveries are lost and the receiver dies. After
// one reconcile everything the registry has is answered, once.
func TestNothingPushedGoesUnseen(t *testing.T) {
	address := freeAddress(t)
	relay := newLossyRelay(t, address)
	registry, err := localregistry.Start(t.Context(), localregistry.Config{
		Notify: relay.server.URL + "/webhooks/local", NotifyHeaders: http.Header{"Authorization": {"Bearer " + chaosSecret}}, NotifyAll: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close(context.Background()) })
	front := newCountingFront(t, registry.Host())
	c := newChaosAt(t, address, registry, fmt.Sprintf("endpoint: %q\n    reconcile: {interval: 0s}", front.host()))

	shelf := newShelf(t, registry.Host())
	pushing, pushed := context.WithCancel(t.Context())
	killing := make(chan struct{})
	go func() { defer close(killing); c.killService(pushing) }()
	start := time.Now()
	shelf.pushAll(t)
	took := time.Since(start)
	pushed()
	<-killing
	c.restart()
	relay.report(t)
	c.idle(3 * time.Minute)
	missing := shelf.unseen(t, c)
	t.Logf("%d pushes and deletes in %.0f s, %d deaths; before reconcile %d of %d tags are wrong or missing",
		unseenPushes, took.Seconds(), c.kills, missing, len(shelf.truth(t)))
	if missing == 0 {
		t.Error("nothing was lost: the test shows nothing")
	}

	settled := time.Now()
	c.reconcile()
	c.idle(5 * time.Minute)
	t.Logf("reconciled and answered after %.0f s", time.Since(settled).Seconds())
	shelf.compare(t, c)
	c.covered()
	c.never("manifest without a final state", `SELECT count(*) FROM manifest m JOIN repository_manifest rm ON rm.manifest_id = m.id
		WHERE rm.presence = 'present' AND m.state NOT IN ('done', 'unsupported', 'too_large')`)
	c.never("scan failed that was not for something gone", `SELECT count(*) FROM scan s WHERE s.state = 'failed' AND s.reason <> 'not_found'`)
	shelf.fetchedOnce(t, c, front)
}

// report shows what the registry's queue met: no event was refused, and none it
// could do without took longer than others.
func (r *lossyRelay) report(t *testing.T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.refused) > 0 {
		t.Errorf("%d deliveries were refused, the first with %s", len(r.refused), r.refused[0])
	}
	if len(r.ignored) == 0 || r.lost == 0 {
		t.Errorf("%d events were ignored and %d lost: the test shows nothing", len(r.ignored), r.lost)
	}
	t.Logf("deliveries: %d lost, %d tries at a dead receiver; accepted %d: %s; ignored %d: %s",
		r.lost, r.down, len(r.accepted), spread(r.accepted), len(r.ignored), spread(r.ignored))
}

func spread(all []time.Duration) string {
	if len(all) == 0 {
		return "none"
	}
	all = slices.Clone(all)
	slices.Sort(all)
	at := func(share float64) time.Duration {
		return all[int(share*float64(len(all)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, most %v", at(.5), at(.99), at(1))
}

// shelf is what is pushed: 60 artifacts over ten repositories.
type shelf struct {
	host  string
	items []any              // v1.Image or v1.ImageIndex
	tags  map[string]v1.Hash // by repository:tag, what was last pushed
}

// newShelf makes 36 images, 10 indexes of two platforms with attestations, 7
// charts and 7 signatures. Every image has a layer that no other has.
func newShelf(t *testing.T, host string) *shelf {
	s := &shelf{host: host, tags: map[string]v1.Hash{}}
	build := func(n int, architecture string) v1.Image {
		img, err := sampleimage.Build(sampleimage.Content{
			Distro: sampleimage.Debian12(), Platform: v1.Platform{OS: "linux", Architecture: architecture},
			NPM: []sampleimage.Package{{Name: "lodash", Version: "4.17.15"}, {Name: "shelf-" + architecture, Version: fmt.Sprintf("1.0.%d", n)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	for n := range 36 {
		s.items = append(s.items, build(n, "amd64"))
	}
	for n := range 10 {
		index, err := sampleimage.Index(true, build(100+n, "amd64"), build(100+n, "arm64"))
		if err != nil {
			t.Fatal(err)
		}
		s.items = append(s.items, index)
	}
	for range 7 {
		chart, err := sampleimage.HelmChart()
		if err != nil {
			t.Fatal(err)
		}
		s.items = append(s.items, chart)
	}
	for n := range 7 {
		signature, err := sampleimage.WithSubject(build(200+n, "amd64"), s.items[n].(v1.Image))
		if err != nil {
			t.Fatal(err)
		}
		s.items = append(s.items, signature)
	}
	return s
}

// pushAll pushes, moves and deletes tags, four at a time.
func (s *shelf) pushAll(t *testing.T) {
	var pushers sync.WaitGroup
	work := make(chan int)
	for range 4 {
		pushers.Go(func() {
			for n := range work {
				s.step(t, n)
			}
		})
	}
	for n := range unseenPushes {
		work <- n
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
	}
	close(work)
	pushers.Wait()
}

// step does one thing: mostly it pushes an item under one of eight tags of its
// repository, so that tags move; now and then it deletes a tag.
func (s *shelf) step(t *testing.T, n int) {
	item := s.items[n%len(s.items)]
	repository := fmt.Sprintf("team/app%d", n%10)
	tag := fmt.Sprintf("v%d", rand.IntN(8))
	if n%len(s.items) >= 53 {
		digest, err := s.items[n%len(s.items)-53].(v1.Image).Digest()
		if err != nil {
			t.Error(err)
			return
		}
		tag = "sha256-" + digest.Hex + ".sig"
	}
	ref, err := name.NewTag(fmt.Sprintf("%s/%s:%s", s.host, repository, tag), name.Insecure)
	if err != nil {
		t.Error(err)
		return
	}
	if n%12 == 11 {
		s.drop(t, ref)
		return
	}
	switch x := item.(type) {
	case v1.Image:
		err = remote.Write(ref, x, remote.WithContext(t.Context()))
	case v1.ImageIndex:
		err = remote.WriteIndex(ref, x, remote.WithContext(t.Context()))
	}
	if err != nil {
		t.Errorf("push %s: %v", ref, err)
	}
}

// drop deletes the tag alone. That nobody has it is no failure.
func (s *shelf) drop(t *testing.T, ref name.Tag) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete,
		fmt.Sprintf("http://%s/v2/%s/manifests/%s", s.host, ref.RepositoryStr(), ref.TagStr()), nil)
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	_ = resp.Body.Close()
}

// truth asks the registry itself what every tag points to. Tags that signatures
// make up are left out: they name no image.
func (s *shelf) truth(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for n := range 10 {
		repository, err := name.NewRepository(fmt.Sprintf("%s/team/app%d", s.host, n), name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := remote.List(repository)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			if strings.HasPrefix(tag, "sha256-") {
				continue
			}
			head, err := remote.Head(repository.Tag(tag))
			if err != nil {
				t.Fatal(err)
			}
			out[repository.RepositoryStr()+":"+tag] = head.Digest.String()
		}
	}
	return out
}

// stored is what the service believes of the same.
func stored(t *testing.T, c *chaos) map[string]string {
	t.Helper()
	rows, err := c.pool.Query(t.Context(), `SELECT r.name || ':' || t.name, m.digest FROM tag t
		JOIN repository r ON r.id = t.repository_id JOIN manifest m ON m.id = t.manifest_id WHERE t.name NOT LIKE 'sha256-%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var tag, digest string
		if err := rows.Scan(&tag, &digest); err != nil {
			t.Fatal(err)
		}
		out[tag] = digest
	}
	return out
}

// unseen counts tags of which the service knows nothing, or something else.
func (s *shelf) unseen(t *testing.T, c *chaos) (n int) {
	have := stored(t, c)
	truth := s.truth(t)
	for tag, digest := range truth {
		if have[tag] != digest {
			n++
		}
	}
	for tag := range have {
		if truth[tag] == "" {
			n++
		}
	}
	return n
}

func (s *shelf) compare(t *testing.T, c *chaos) {
	if diff := cmp.Diff(s.truth(t), stored(t, c)); diff != "" {
		t.Errorf("tags (-registry +stored):\n%s", diff)
	}
}

// fetchedOnce checks that a layer only one image has was fetched a second time
// only for a scan that was cut short: tried again, or ended because another of
// its target waited.
func (s *shelf) fetchedOnce(t *testing.T, c *chaos, front *countingFront) {
	front.mu.Lock()
	defer front.mu.Unlock()
	rows, err := c.pool.Query(t.Context(), `SELECT l.digest, bool_or(s.attempt > 1 OR s.state = 'canceled')
		  FROM manifest_layer l
		  JOIN scan s ON s.manifest_id = l.manifest_id OR s.manifest_id IN (SELECT parent_id FROM manifest_child WHERE child_id = l.manifest_id)
		 GROUP BY l.digest HAVING count(DISTINCT l.manifest_id) = 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	own, again := 0, 0
	for rows.Next() {
		var digest string
		var cutShort bool
		if err := rows.Scan(&digest, &cutShort); err != nil {
			t.Fatal(err)
		}
		own++
		if n := front.blobs[digest]; n > 1 {
			again++
			if !cutShort {
				t.Errorf("layer %s was fetched %d times, and no scan of it was cut short", digest, n)
			}
		}
	}
	t.Logf("%d layers that one image has alone; %d of them fetched again after a scan was cut short", own, again)
	if own == 0 {
		t.Error("no layer to look at")
	}
}

// idle waits until no scan is left.
func (c *chaos) idle(limit time.Duration) {
	c.t.Helper()
	c.until(limit, `NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`)
}

// call asks the API of the service, which may just be starting.
func (c *chaos) call(method, path string, body any, into any) {
	c.t.Helper()
	if c.token == "" {
		var err error
		if c.token, err = postgres.New(c.pool).CreateToken(c.t.Context(), "chaos", "admin", nil, time.Time{}); err != nil {
			c.t.Fatal(err)
		}
	}
	sent, err := json.Marshal(body)
	if err != nil {
		c.t.Fatal(err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.address+path, bytes.NewReader(sent))
		if err != nil {
			c.t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.token)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			if time.Now().After(deadline) {
				c.t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
			continue
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode >= 300 {
			c.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, answer, err)
		}
		if err := json.Unmarshal(answer, into); err != nil {
			c.t.Fatalf("%s %s: %v in %s", method, path, err, answer)
		}
		return
	}
}

// reconcile asks for a comparison with the registry and waits until it is done.
func (c *chaos) reconcile() {
	c.t.Helper()
	var run report.ReconciliationReport
	c.call(http.MethodPost, "/api/v1/reconciliations", map[string]string{"registry": "local"}, &run)
	deadline := time.Now().Add(5 * time.Minute)
	for !run.State.Final() {
		if time.Now().After(deadline) {
			c.t.Fatalf("not reconciled: %+v", run)
		}
		time.Sleep(200 * time.Millisecond)
		c.call(http.MethodGet, fmt.Sprintf("/api/v1/reconciliations/%d", run.ID), nil, &run)
	}
	c.t.Logf("reconciled: %+v", run.Counts)
	if run.State != report.RunDone || run.Counts.Errors > 0 {
		c.t.Errorf("reconciled %s with %d errors: %s", run.State, run.Counts.Errors, run.Detail)
	}
}

// covered checks the ledger: everything known has a standing last word, and the
// states sum up to what is known.
func (c *chaos) covered() {
	c.t.Helper()
	var all report.Coverage
	c.call(http.MethodGet, "/api/v1/coverage", nil, &all)
	l := all.Total
	sum := 0
	for _, s := range report.LedgerStates() {
		sum += l.States.Of(s)
	}
	c.t.Logf("coverage: %+v", l)
	if l.Share == nil || *l.Share != 1 {
		c.t.Errorf("coverage is not whole: %+v", l)
	}
	if sum != l.Known+l.States.Gone {
		c.t.Errorf("states sum up to %d, %d are known and %d gone", sum, l.Known, l.States.Gone)
	}
}
