package app_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// slowPart is how much of the slow layer comes at a time.
const slowPart = 100 << 10

// slowRegistry stands before a registry and gives one layer away in parts, each
// when the test says so.
type slowRegistry struct {
	proxy *httputil.ReverseProxy
	layer string        // its digest
	part  chan struct{} // lets a part pass
	left  chan struct{} // gets a word when somebody goes away before the end
	fast  atomic.Bool   // everything passes
}

// ServeHTTP passes everything on.
func (s *slowRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.fast.Load() && strings.HasSuffix(r.URL.Path, "/blobs/"+s.layer) && r.Method == http.MethodGet {
		w = &slowWriter{ResponseWriter: w, registry: s, request: r}
	}
	s.proxy.ServeHTTP(w, r)
}

// slowWriter writes a part at a time.
type slowWriter struct {
	http.ResponseWriter
	registry *slowRegistry
	request  *http.Request
	allowed  int
}

// Write waits when a part has passed.
func (w *slowWriter) Write(content []byte) (n int, err error) {
	for len(content) > 0 && err == nil {
		if w.allowed == 0 {
			select {
			case <-w.registry.part:
				w.allowed = slowPart
			case <-w.request.Context().Done():
				w.registry.left <- struct{}{}
				return n, w.request.Context().Err()
			}
		}
		var written int
		written, err = w.ResponseWriter.Write(content[:min(w.allowed, len(content))])
		n, w.allowed, content = n+written, w.allowed-written, content[written:]
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return n, err
}

// slowly lets a service pull through a slow registry and be told of pushes by the
// one behind it.
func slowly(t *testing.T, s *slowRegistry) option {
	return func(c *config.Config) {
		behind := &c.Registries[0]
		s.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: behind.Host})
		s.proxy.ErrorLog = log.New(io.Discard, "", 0) // that a client goes away is what is tried
		server := httptest.NewServer(s)
		t.Cleanup(server.Close)
		behind.Aliases = append(behind.Aliases, behind.Host)
		behind.Host = strings.TrimPrefix(server.URL, "http://")
	}
}

// awaitScan asks for a scan until it is as wanted.
func (s *service) awaitScan(id int64, wanted string, is func(report.Scan) bool) report.Scan {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		var got report.Scan
		s.get(fmt.Sprintf("/api/v1/scans/%d", id), &got)
		if is(got) {
			return got
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("scan %d is not %s: %+v, progress %+v", id, wanted, got, got.Progress)
		}
		<-time.After(20 * time.Millisecond)
	}
}

// A scan is seen pulling, is canceled, and what is pushed again is scanned.
func TestAScanIsWatchedCanceledAndDoneWhenPushedAgain(t *testing.T) {
	layer, err := random.Layer(1<<20, types.OCIUncompressedLayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(vulnerable(t), layer)
	if err != nil {
		t.Fatal(err)
	}
	digest := layerDigest(t, layer)
	slow := &slowRegistry{layer: digest, part: make(chan struct{}), left: make(chan struct{}, 10)}
	s := start(t, slowly(t, slow))
	manifest := s.push(img, "demo/shop:1")
	s.until(`count(*) = 1 FROM scan WHERE state = 'running'`)
	var id int64
	if err := s.pool.QueryRow(t.Context(), `SELECT id FROM scan`).Scan(&id); err != nil {
		t.Fatal(err)
	}

	slow.part <- struct{}{}
	first := s.awaitScan(id, "pulling", func(r report.Scan) bool {
		return r.Progress != nil && r.Progress.Phase == "pull" && r.Progress.Bytes >= slowPart
	}).Progress
	slow.part <- struct{}{}
	slow.part <- struct{}{}
	second := s.awaitScan(id, "further", func(r report.Scan) bool { return r.Progress.Bytes >= first.Bytes+2*slowPart }).Progress
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if second.Phase != "pull" || second.Image != 1 || second.Images != 1 || second.Platform == "" || second.LayersOf != len(layers) ||
		second.Layers != len(layers)-1 || second.Bytes >= second.BytesOf || second.BytesOf < 1<<20 || !second.At.After(first.At) {
		t.Errorf("progress %+v after %+v", second, first)
	}
	ref := s.registry.Host() + "/demo/shop:1"
	told := s.trace(ref)
	if step := about(told, report.AboutScan)[0]; told.Outcome != report.OutcomePending || !strings.Contains(step.Text, "it pulls the image for "+second.Platform+": ") || step.Progress == nil {
		t.Errorf("trace of the pull: %+v", told)
	}

	var canceled report.Scan
	if status := s.call(http.MethodDelete, fmt.Sprintf("/api/v1/scans/%d", id), &canceled); status != http.StatusOK || canceled.State != report.RunCanceled || canceled.CanceledBy != "test" {
		t.Fatalf("canceled: %d %+v", status, canceled)
	}
	<-slow.left // the pull has ended
	s.until(`count(*) = 1 FROM manifest WHERE digest = $1 AND state = 'queued' AND lease_token IS NULL AND inventory_id IS NULL`, manifest.String())
	var image report.Image
	s.get("/api/v1/image?wait=60s&ref="+ref, &image)
	if image.State != report.StateCanceled || image.Answer != report.None || image.Detail != "canceled by test" {
		t.Errorf("image: %+v", image)
	}
	if total := s.coverage().Total; total.States != (report.LedgerCounts{Canceled: 1}) {
		t.Errorf("coverage: %+v", total)
	}
	told = s.trace(ref)
	if step := about(told, report.AboutScan)[0]; told.Outcome != report.OutcomeCanceled || !strings.Contains(step.Text, "was canceled by test") || !strings.Contains(step.Text, "it pulls the image") {
		t.Errorf("trace of the canceled scan: %+v", told)
	}

	slow.fast.Store(true)
	s.event("push", "demo/shop", "1", manifest)
	s.settled("demo/shop", "1", manifest)
	if n := s.count("scan WHERE state = 'failed'"); n != 0 {
		t.Errorf("%d scans failed", n)
	}
	if s.count("scan WHERE id = $1 AND state = 'canceled' AND canceled_by = 'test'", id) != 1 {
		t.Error("the canceled scan is not canceled any more")
	}
	var problem struct{ Kind string }
	if status := s.call(http.MethodDelete, fmt.Sprintf("/api/v1/scans/%d", id+1), &problem); status != http.StatusConflict || problem.Kind != "conflict" {
		t.Errorf("canceling what is done: %d %+v", status, problem)
	}
	if told = s.trace(ref); !told.Answered {
		t.Errorf("trace at the end: %+v", told)
	}
}

func layerDigest(t *testing.T, l v1.Layer) string {
	t.Helper()
	digest, err := l.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}
