package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// wire answers requests without a network, so that time can be made up.
type wire func(*http.Request) *http.Response

// RoundTrip answers.
func (f wire) RoundTrip(r *http.Request) (*http.Response, error) {
	resp := f(r)
	resp.Request = r
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	return resp, nil
}

func ok(*http.Request) *http.Response { return &http.Response{StatusCode: http.StatusOK} }

// guarded is the guard of a registry that f plays.
func guarded(t *testing.T, l Limits, f wire) (*guard, *Metrics) {
	t.Helper()
	metrics := NewMetrics(prometheus.NewRegistry())
	s := Settings{Host: "registry.example.com", Limits: l}.withDefaults()
	g, err := newGuard(s, s.Host, newLine(s.Host, l, meter{metrics, "test", viaRegistry}))
	if err != nil {
		t.Fatal(err)
	}
	g.trusted = f
	return g, metrics
}

func get(ctx context.Context, t *testing.T) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://registry.example.com/v2/a/blobs/sha256:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// value reads a counter.
func value(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// fetch sends a request and reads the answer.
func (g *guard) fetch(ctx context.Context, t *testing.T) error {
	t.Helper()
	resp, err := g.RoundTrip(get(ctx, t))
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return errors.Join(err, resp.Body.Close())
}

func TestRequestsPerSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, metrics := guarded(t, Limits{RequestsPerSecond: 10}, ok)
		start := time.Now()
		var running sync.WaitGroup
		for range 40 {
			running.Go(func() {
				// The time a small request may take is much shorter than the line.
				ctx, cancel := begin(t.Context(), 100*time.Millisecond, errs.New(errs.Timeout, "slow"))
				defer cancel()
				if err := g.fetch(ctx, t); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		// Ten at once, then one every 100 ms.
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("40 requests took %s, want 3s", took)
		}
		if n := value(t, metrics.requests.WithLabelValues("test", viaRegistry, "ok")); n != 40 {
			t.Errorf("%v requests were counted", n)
		}
		if n := value(t, metrics.wait.WithLabelValues("test", waitRequests)); n < 45 || n > 48 {
			t.Errorf("%v seconds of waiting were counted, want the sum of all waits", n)
		}
	})
}

func TestASlowRegistryIsStillToldAfterTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := guarded(t, Limits{RequestsPerSecond: 1}, func(r *http.Request) *http.Response {
			<-r.Context().Done()
			return ok(r)
		})
		_ = g.line.admit(t.Context())
		ctx, cancel := begin(t.Context(), 5*time.Second, errs.New(errs.Timeout, "slow"))
		defer cancel()
		start := time.Now()
		_ = g.fetch(ctx, t)
		if took := time.Since(start); took != 6*time.Second || !errs.Is(context.Cause(ctx), errs.Timeout) {
			t.Errorf("it took %s in all and ended with %v; want 1s in line and 5s of patience", took, context.Cause(ctx))
		}
	})
}

func TestBandwidthIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 1 << 20
		g, metrics := guarded(t, Limits{Bandwidth: 256 << 10}, func(*http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(strings.Repeat("x", size)))}
		})
		start := time.Now()
		var running sync.WaitGroup
		for range 4 {
			running.Go(func() {
				ctx, cancel := begin(t.Context(), time.Second, errs.New(errs.Timeout, "slow"))
				defer cancel()
				if err := g.fetch(ctx, t); err != nil {
					t.Error(err)
				}
			})
		}
		running.Wait()
		// 4 MiB at 256 KiB per second, the first 256 KiB at once.
		if took := time.Since(start).Round(time.Millisecond); took != 15*time.Second {
			t.Errorf("it took %s, want 15s", took)
		}
		if n := value(t, metrics.bytes.WithLabelValues("test", viaRegistry)); n != 4*size {
			t.Errorf("%v bytes were counted", n)
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	tests := map[string]struct {
		limits Limits
		use    func(context.Context, *guard) error
	}{
		"requests":  {Limits{RequestsPerSecond: 1}, func(ctx context.Context, g *guard) error { return g.line.admit(ctx) }},
		"bandwidth": {Limits{Bandwidth: 16 << 10}, func(ctx context.Context, g *guard) error { return g.line.received(ctx, 16<<10) }},
		"pulls":     {Limits{ConcurrentPulls: 1}, func(ctx context.Context, g *guard) error { _, err := g.line.pull(ctx); return err }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, _ := guarded(t, tt.limits, ok)
				if err := tt.use(t.Context(), g); err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(10*time.Millisecond, cancel)
				start := time.Now()
				if err := tt.use(ctx, g); !errors.Is(err, context.Canceled) || time.Since(start) != 10*time.Millisecond {
					t.Errorf("waiting ended after %s with %v", time.Since(start), err)
				}
			})
		})
	}
}

// busy answers the first request with a status and Retry-After.
func busy(status int, after string) (wire, *atomic.Int64) {
	var asked atomic.Int64
	return func(r *http.Request) *http.Response {
		if asked.Add(1) > 1 {
			return ok(r)
		}
		return &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}}
	}, &asked
}

func TestARegistrysPauseIsKept(t *testing.T) {
	for _, status := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			answers, asked := busy(status, "20")
			g, metrics := guarded(t, Limits{}, answers)
			if err := g.fetch(t.Context(), t); errs.RetryAfter(err) != 20*time.Second {
				t.Fatalf("the first request returned %v", err)
			}
			start := time.Now()
			var running sync.WaitGroup
			for range 5 {
				running.Go(func() {
					ctx, cancel := begin(t.Context(), time.Second, errs.New(errs.Timeout, "slow"))
					defer cancel()
					if err := g.fetch(ctx, t); err != nil {
						t.Error(err)
					}
					if took := time.Since(start); took != 20*time.Second {
						t.Errorf("a request waited %s, want 20s", took)
					}
				})
			}
			synctest.Wait()
			if n := asked.Load(); n != 1 {
				t.Errorf("%d requests were sent before the pause was over", n-1)
			}
			running.Wait()
			if n := value(t, metrics.wait.WithLabelValues("test", waitRetryAfter)); n != 100 {
				t.Errorf("%v seconds of waiting were counted", n)
			}
		})
	}
}

func TestALongPauseIsNotWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, asked := busy(http.StatusTooManyRequests, "300")
		g, _ := guarded(t, Limits{}, answers)
		_ = g.fetch(t.Context(), t)
		time.Sleep(time.Minute)
		start := time.Now()
		err := g.fetch(t.Context(), t)
		if !errs.Is(err, errs.RateLimited) || errs.RetryAfter(err) != 4*time.Minute || time.Since(start) != 0 || asked.Load() != 1 {
			t.Errorf("after %s: %v, retry after %s, %d sent", time.Since(start), err, errs.RetryAfter(err), asked.Load())
		}
		time.Sleep(4 * time.Minute)
		if err := g.fetch(t.Context(), t); err != nil {
			t.Errorf("after the pause: %v", err)
		}
	})
}

func TestAMirrorsPauseIsNotWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, asked := busy(http.StatusServiceUnavailable, "20")
		g, _ := guarded(t, Limits{}, answers)
		g.line = newLine("mirror", Limits{}, meter{via: viaMirror})
		_ = g.fetch(t.Context(), t)
		start := time.Now()
		err := g.fetch(t.Context(), t)
		if !errs.Is(err, errs.RateLimited) || time.Since(start) != 0 || asked.Load() != 1 {
			t.Errorf("after %s: %v, %d sent", time.Since(start), err, asked.Load())
		}
	})
}

func TestAPauseCannotLastForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, _ := busy(http.StatusTooManyRequests, "999999999")
		g, _ := guarded(t, Limits{}, answers)
		if err := g.fetch(t.Context(), t); errs.RetryAfter(err) != maxRetryAfter {
			t.Errorf("the request itself returned %v", err)
		}
		time.Sleep(maxRest)
		if err := g.fetch(t.Context(), t); err != nil {
			t.Errorf("nobody asks again: %v", err)
		}
	})
}

func TestAStoresPauseIsNotTheRegistrys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := guarded(t, Limits{}, func(*http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {"https://store.example.com/x"}}}
		})
		g.public = wire(func(*http.Request) *http.Response {
			return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"50"}}}
		})
		if err := g.fetch(t.Context(), t); !errs.Is(err, errs.Unavailable) || errs.RetryAfter(err) != 50*time.Second {
			t.Errorf("fetching returned %v", err)
		}
		if rest := g.line.rest(); rest > 0 {
			t.Errorf("the registry rests %s", rest)
		}
	})
}

func TestOneAttemptDoesNotWaitForWhatItWasTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers, asked := busy(http.StatusTooManyRequests, "20")
		g, _ := guarded(t, Limits{}, answers)
		ctx, cancel := begin(t.Context(), time.Second, errs.New(errs.Timeout, "slow"))
		defer cancel()
		start := time.Now()
		first, second := g.fetch(ctx, t), g.fetch(ctx, t)
		if time.Since(start) != 0 || asked.Load() != 1 || errs.RetryAfter(first) != 20*time.Second || errs.RetryAfter(second) != 20*time.Second {
			t.Errorf("after %s: %v, then %v; %d sent", time.Since(start), first, second, asked.Load())
		}
	})
}

func TestConcurrentPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine("test", Limits{ConcurrentPulls: 2}, meter{})
		var mu sync.Mutex
		open, most := 0, 0
		var running sync.WaitGroup
		for range 10 {
			running.Go(func() {
				done, err := l.pull(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				open++
				most = max(most, open)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				open--
				mu.Unlock()
				done()
				done() // reading to the end and closing both end a pull
			})
		}
		start := time.Now()
		running.Wait()
		if most != 2 || time.Since(start) != 5*time.Second {
			t.Errorf("%d at a time, %s in all", most, time.Since(start))
		}
	})
}

func TestOnlySoManyLayersAreOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const content = "layer"
		d := descriptor{Digest: string(image.DigestOf([]byte(content))), Size: int64(len(content))}
		c, err := connect(Settings{Host: "registry.example.com", Limits: Limits{ConcurrentPulls: 1}}.withDefaults(), meter{})
		if err != nil {
			t.Fatal(err)
		}
		var asked atomic.Int64
		c.guard.trusted = wire(func(r *http.Request) *http.Response {
			if r.URL.Path == "/v2/" {
				return ok(r)
			}
			asked.Add(1)
			return &http.Response{StatusCode: http.StatusOK, ContentLength: d.Size, Body: io.NopCloser(strings.NewReader(content))}
		})
		r := &reader{connection: c, repository: "shop/web"}
		first, err := r.layer(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan error, 1)
		go func() {
			opened, err := r.layer(t.Context(), d)
			if err == nil {
				_, err = io.Copy(io.Discard, opened) // the end of a layer ends its pull
			}
			second <- err
		}()
		synctest.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("%d layers were asked for at a time", n)
		}
		if err := first.Close(); err != nil {
			t.Error(err)
		}
		if err := <-second; err != nil {
			t.Errorf("once the first was closed: %v", err)
		}
		if third, err := r.layer(t.Context(), d); err != nil || third.Close() != nil {
			t.Errorf("after the second was read: %v", err)
		}
	})
}

func TestCredentialsAreLookedUpAgainInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &counted{}
		c := newCredential(Auth{keychain: s}, s.find)
		use := func(want int) {
			t.Helper()
			if _, err := c.Authorization(); (err != nil) != (s.err != nil) || s.asked != want {
				t.Errorf("%v after %d look-ups, want %d", err, s.asked, want)
			}
		}
		use(1)
		time.Sleep(credentialLife - time.Second)
		use(1)
		time.Sleep(time.Second)
		use(2)
		for range 3 {
			c.renew() // only the first counts
			use(3)
		}
		time.Sleep(renewalPause)
		s.err = errors.New("down")
		if !c.renew() {
			t.Error("a refused credential is never renewed again")
		}
		use(4)
		use(4)
		time.Sleep(failedLookUpLife)
		s.err = nil
		use(5)
	})
}

// counted is a source of credentials that counts how often it is asked.
type counted struct {
	asked int
	err   error
}

func (c *counted) find() (authn.Authenticator, error) {
	c.asked++
	return &authn.Basic{Username: "user", Password: "password"}, c.err
}

// Resolve makes it a keychain.
func (c *counted) Resolve(authn.Resource) (authn.Authenticator, error) { return c.find() }
