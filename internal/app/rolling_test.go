//go:build chaos

package app_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

const (
	rollingRate    = 20 // pushes in a second
	rollingFor     = 2 * time.Minute
	rollingTags    = 4                      // of each image
	rollingNotice  = 500 * time.Millisecond // between the last request that is sent to a process and its signal
	rollingPatient = time.Minute            // a process may take to start or to end
)

// member is a process of the fleet. A receiver also answers the API.
type member struct {
	name     string
	address  string
	settings []string // environment
	process  *exec.Cmd
	ended    chan error
}

// fleet is two receivers behind a balancer, and two workers.
type fleet struct {
	*chaos
	balancer *balancer
	front    *countingFront // what the workers reach the registry through
	members  []*member
	restarts int
}

// TestRestartingEveryProcessLosesNothing restarts one process after the other,
// as a rolling update does, while 20 images are pushed every second for two
// minutes.
func TestRestartingEveryProcessLosesNothing(t *testing.T) {
	f := newFleet(t)
	loading, loaded := context.WithCancel(t.Context())
	var rolling, reading sync.WaitGroup
	rolling.Go(func() { f.roll(loading) })
	reading.Go(func() { f.read(loading) })
	pushes := f.push()
	loaded()
	rolling.Wait()
	reading.Wait()

	start := time.Now()
	f.until(10*time.Minute, fmt.Sprintf(`(SELECT count(*) FROM tag t JOIN manifest m ON m.id = t.manifest_id WHERE m.state = 'done') = %d
		AND NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`, pushes))
	t.Logf("%d pushes, %d restarts; all done %.0f s after the last push", pushes, f.restarts, time.Since(start).Seconds())
	if f.restarts < len(f.members) {
		t.Errorf("%d restarts, want each of the %d processes restarted", f.restarts, len(f.members))
	}
	f.never("scan failed", `SELECT count(*) FROM scan WHERE state = 'failed'`)
	f.never("scan ended twice for one push", `SELECT count(*) FROM (SELECT repository_id, tag FROM scan WHERE state = 'done' GROUP BY 1, 2 HAVING count(*) > 1) x`)
	f.never("scan cut short", `SELECT count(*) FROM scan WHERE attempt > 1`)
	f.never("lease left behind", `SELECT count(*) FROM manifest WHERE lease_token IS NOT NULL`)
	f.readOnce(pushes / rollingTags)
	f.balancer.check(t)
}

func newFleet(t *testing.T) *fleet {
	b := newBalancer(t)
	registry, err := localregistry.Start(t.Context(), localregistry.Config{
		Notify: b.server.URL + "/webhooks/local", NotifyHeaders: http.Header{"Authorization": {"Bearer " + chaosSecret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close(context.Background()) })
	front := newCountingFront(t, registry.Host())
	f := &fleet{balancer: b, front: front, chaos: prepareChaos(t, freeAddress(t), registry, "endpoint: "+front.host())}
	dir := filepath.Dir(f.config)
	for _, name := range []string{"worker-1", "worker-2", "receiver-1", "receiver-2"} {
		works := fmt.Sprint(strings.HasPrefix(name, "worker"))
		answers := fmt.Sprint(!strings.HasPrefix(name, "worker"))
		m := &member{name: name, address: freeAddress(t)}
		m.settings = []string{
			"TIDEWAITER_LISTEN=" + m.address, "TIDEWAITER_WORKERS_ENABLED=" + works,
			"TIDEWAITER_RECEIVER_ENABLED=" + answers, "TIDEWAITER_API_ENABLED=" + answers,
			"TIDEWAITER_CACHE_DIR=" + filepath.Join(dir, name, "layers"),
		}
		if name != "worker-1" { // which has the database, and hands it on
			m.settings = append(m.settings, "TIDEWAITER_VULNDB_DIR="+filepath.Join(dir, name, "vulndb"))
		}
		f.members = append(f.members, m)
		f.launch(m)
		t.Cleanup(func() { f.end(m) })
	}
	return f
}

// launch starts a process and waits until it is ready; the balancer sends to it
// from then on.
func (f *fleet) launch(m *member) {
	m.process = exec.Command(f.binary, "serve", "--config", f.config, "--log-level", "warn")
	m.process.Env = append(os.Environ(), m.settings...)
	m.process.Stderr = os.Stderr
	if err := m.process.Start(); err != nil {
		f.t.Errorf("%s: %v", m.name, err)
		return
	}
	m.ended = make(chan error, 1)
	go func(process *exec.Cmd, ended chan<- error) { ended <- process.Wait() }(m.process, m.ended)
	deadline := time.Now().Add(rollingPatient)
	for {
		answer, err := http.Get("http://" + m.address + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
		}
		if err == nil && answer.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			f.t.Errorf("%s is not ready after %v", m.name, rollingPatient)
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	if strings.HasPrefix(m.name, "receiver") {
		f.balancer.add(m.address)
	}
}

// end takes a process from the balancer, as its readiness or a preStop hook
// does, and asks it to stop.
func (f *fleet) end(m *member) {
	f.balancer.remove(m.address)
	time.Sleep(rollingNotice)
	_ = m.process.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-m.ended:
		m.ended <- nil // for the next who asks
		if err != nil {
			f.t.Errorf("%s ended with %v", m.name, err)
		}
	case <-time.After(rollingPatient):
		_ = m.process.Process.Kill()
		f.t.Errorf("%s did not end in %v", m.name, rollingPatient)
	}
}

func (f *fleet) roll(ctx context.Context) {
	for {
		for _, m := range f.members {
			select {
			case <-ctx.Done():
				return
			case <-time.After(3 * time.Second):
			}
			f.end(m)
			f.launch(m)
			f.restarts++
		}
	}
}

// push pushes at the rate, each image under several tags of its repository, and
// returns how many pushes there were.
func (f *fleet) push() int {
	var img v1.Image
	pushers, n := make(chan struct{}, 16), 0
	var pushing sync.WaitGroup
	tick := time.NewTicker(time.Second / rollingRate)
	defer tick.Stop()
	for start := time.Now(); time.Since(start) < rollingFor || n%rollingTags != 0; n++ {
		<-tick.C
		if n%rollingTags == 0 {
			var err error
			if img, err = sampleimage.Build(sampleimage.Content{Distro: sampleimage.Debian12(), NPM: []sampleimage.Package{
				{Name: "lodash", Version: "4.17.15"}, {Name: "rolling", Version: fmt.Sprintf("1.0.%d", n)}}}); err != nil {
				f.t.Fatal(err)
			}
		}
		pushers <- struct{}{}
		img, n := img, n
		pushing.Go(func() {
			f.write(img, n)
			<-pushers
		})
	}
	pushing.Wait()
	return n
}

func (f *fleet) write(img v1.Image, n int) {
	ref, err := name.ParseReference(fmt.Sprintf("%s/team/app%d:v%d", f.registry.Host(), n/rollingTags%8, n), name.Insecure)
	if err == nil {
		err = remote.Write(ref, img, remote.WithContext(f.t.Context()))
	}
	if err != nil {
		f.t.Errorf("push %d: %v", n, err)
	}
}

// read asks for findings all the while.
func (f *fleet) read(ctx context.Context) {
	token, err := postgres.New(f.pool).CreateToken(f.t.Context(), "reader", "read", nil, time.Time{})
	if err != nil {
		f.t.Error(err)
		return
	}
	for ctx.Err() == nil {
		for _, path := range []string{"/api/v1/repositories", "/api/v1/vulnerabilities/CVE-2020-8203/images"} {
			request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.balancer.server.URL+path, nil)
			if err != nil {
				f.t.Error(err)
				return
			}
			request.Header.Set("Authorization", "Bearer "+token)
			answer, err := http.DefaultClient.Do(request)
			if err != nil {
				f.t.Error(err)
				continue
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// readOnce checks that every image was catalogued once, and that what it has
// alone was fetched once.
func (f *fleet) readOnce(images int) {
	var sboms int
	f.scan(`SELECT count(*) FROM sbom`, &sboms)
	if sboms != images {
		f.t.Errorf("%d SBOMs for %d different images", sboms, images)
	}
	rows, err := f.pool.Query(f.t.Context(), `SELECT digest FROM manifest_layer GROUP BY digest HAVING count(DISTINCT manifest_id) = 1`)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	f.front.mu.Lock()
	defer f.front.mu.Unlock()
	own, again := 0, []string{}
	for rows.Next() {
		var digest string
		if err := rows.Scan(&digest); err != nil {
			f.t.Fatal(err)
		}
		own++
		if n := f.front.blobs[digest]; n != 1 {
			again = append(again, fmt.Sprintf("%s %d times", digest, n))
		}
	}
	for _, layer := range again {
		digest, _, _ := strings.Cut(layer, " ")
		var scans string
		f.scan(fmt.Sprintf(`SELECT COALESCE(string_agg(to_jsonb(s)::text, E'\n' ORDER BY s.id), '')
			FROM scan s JOIN manifest_layer l ON l.manifest_id = s.manifest_id WHERE l.digest = '%s'`, digest), &scans)
		f.t.Errorf("a layer was fetched again: %s; its scans:\n%s", layer, scans)
	}
	if own < images {
		f.t.Errorf("%d layers that one image has alone, of %d images", own, images)
	}
}

// balancer hands requests to processes that are ready, in turn, as a proxy does
// that is told of them. What went wrong is kept.
type balancer struct {
	server *httptest.Server
	client *http.Client

	mu       sync.Mutex
	ready    []string
	next     int
	statuses map[int]int
	wrong    []string
}

func newBalancer(t *testing.T) *balancer {
	b := &balancer{statuses: map[int]int{}, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	b.server = httptest.NewServer(b)
	t.Cleanup(b.server.Close)
	return b
}

func (b *balancer) add(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = append(b.ready, address)
}

func (b *balancer) remove(address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready = slices.DeleteFunc(b.ready, func(one string) bool { return one == address })
}

func (b *balancer) pick() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ready) == 0 {
		return ""
	}
	b.next++
	return b.ready[b.next%len(b.ready)]
}

// ServeHTTP hands a request on, once: nothing is tried again.
func (b *balancer) ServeHTTP(w http.ResponseWriter, in *http.Request) {
	address := b.pick()
	body, err := io.ReadAll(in.Body)
	if err != nil || address == "" {
		b.note(in, http.StatusBadGateway, fmt.Sprintf("no process to hand it to, or %v", err))
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	out, err := http.NewRequestWithContext(in.Context(), in.Method, "http://"+address+in.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	out.Header = in.Header.Clone()
	answer, err := b.client.Do(out)
	if err != nil {
		b.note(in, http.StatusBadGateway, err.Error())
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		b.note(in, http.StatusBadGateway, err.Error())
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	b.note(in, answer.StatusCode, string(said))
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(said)
}

func (b *balancer) note(in *http.Request, status int, said string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.statuses[status]++
	if status >= 500 {
		b.wrong = append(b.wrong, fmt.Sprintf("%s %s: %d %.200s", in.Method, in.URL.Path, status, said))
	}
}

func (b *balancer) check(t *testing.T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t.Logf("answers by status: %v", b.statuses)
	for _, w := range b.wrong {
		t.Error(w)
	}
	if b.statuses[http.StatusAccepted] == 0 || b.statuses[http.StatusOK] == 0 {
		t.Errorf("answers by status: %v, want accepted events and answered questions", b.statuses)
	}
}
