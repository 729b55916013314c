package app_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/tidewaiter/tidewaiter/internal/app"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// workers are the processes that this one started to read images in.
func workers(t *testing.T) (pids []int) {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range found {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it ended
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(after) // state, parent, …
		line, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err != nil || fields[0] == "Z" || fields[1] != strconv.Itoa(os.Getpid()) || !strings.Contains(string(line), app.CatalogWorker) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

func killWorkers(t *testing.T) {
	t.Helper()
	killed := 0
	for _, pid := range workers(t) {
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	if killed == 0 {
		t.Fatal("there is no worker process")
	}
}

// A worker process that dies while it reads an image costs a second try, and one
// that dies with nothing to do costs nothing.
func TestWorkersThatAreKilledCostNoScan(t *testing.T) {
	layer, err := random.Layer(1<<20, types.OCIUncompressedLayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(vulnerable(t), layer)
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowRegistry{layer: layerDigest(t, layer), part: make(chan struct{}), left: make(chan struct{}, 10)}
	s := start(t, slowly(t, slow))
	digest := s.push(img, "demo/shop:1")
	slow.part <- struct{}{} // it is being read
	killWorkers(t)
	slow.fast.Store(true)
	close(slow.part)
	s.untilWithin(2*time.Minute, `count(*) = 1 FROM scan WHERE state = 'done'`)
	if n := s.count(`manifest m, scan c WHERE m.digest = $1 AND m.state = 'done' AND c.attempt = 1`, digest.String()); n != 1 {
		t.Errorf("the image was not done in the first attempt: %s", s.scans())
	}

	killWorkers(t)
	other := s.push(vulnerable(t), "demo/shop:2")
	s.untilWithin(2*time.Minute, `count(*) = 1 FROM manifest WHERE digest = $1 AND state = 'done'`, other.String())
}

// What an image takes beyond its budget is its state and reason.
func TestImagesOverABudgetOfTheirWorkerSaySo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		limit  func(*config.Limits)
		state  report.State
		reason string
		says   string
	}{
		{"memory", func(l *config.Limits) { l.Memory = 1 << 20 }, report.StateTooLarge, "too_large", "needs more than 1 MiB of memory"},
		{"time", func(l *config.Limits) { l.ImageTime = time.Millisecond }, report.StateFailed, "timeout", "needs more than 1ms to be read"},
		{"packages", func(l *config.Limits) { l.Packages = 2 }, report.StateTooLarge, "too_large", "packages, the limit is 2"},
		{"files", func(l *config.Limits) { l.Files = 3 }, report.StateTooLarge, "too_large", "more than 3 files"},
		{"document", func(l *config.Limits) { l.DocumentBytes = 1000 }, report.StateTooLarge, "too_large", "the document is larger than 1000 bytes"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *config.Config) {
				test.limit(&c.Limits)
				c.Workers.MaxAttempts, c.Workers.Count = 1, 1
			})
			s.push(vulnerable(t), "demo/shop:1")
			s.untilWithin(2*time.Minute, `count(*) > 0 FROM scan WHERE state IN ('done', 'failed')`)
			var got report.Image
			ref := s.registry.Host() + "/demo/shop:1"
			if status := s.get("/api/v1/image?ref="+url.QueryEscape(ref), &got); status != http.StatusOK {
				t.Fatalf("status %d", status)
			}
			if got.State != test.state || got.Reason != test.reason || !strings.Contains(got.Detail, test.says) {
				t.Errorf("it is %s (%s): %s", got.State, got.Reason, got.Detail)
			}
		})
	}
}

// The service does not share what it has with whoever reads images.
func TestWorkersHaveNothingOfTheService(t *testing.T) {
	t.Setenv("TIDEWAITER_SECRET_OF_A_TEST", "secret")
	s := start(t)
	digest := s.push(vulnerable(t), "demo/shop:1")
	s.untilWithin(2*time.Minute, `count(*) = 1 FROM manifest WHERE digest = $1 AND state = 'done'`, digest.String())
	pids := workers(t)
	if len(pids) == 0 {
		t.Fatal("there is no worker process")
	}
	for _, pid := range pids {
		dir := filepath.Join("/proc", strconv.Itoa(pid))
		// Only root may look at all: they cannot be dumped.
		if environ, err := os.ReadFile(filepath.Join(dir, "environ")); err == nil && strings.Contains(string(environ), "TIDEWAITER") {
			t.Errorf("the environment of a worker is %q", environ)
		}
		files, err := filepath.Glob(filepath.Join(dir, "fd", "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if target, err := os.Readlink(file); err == nil && strings.HasPrefix(target, "socket:") {
				t.Errorf("a worker has %s open", target)
			}
		}
	}
}
