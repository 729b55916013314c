package registry

import (
	"context"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

const (
	// maxInLine is the longest pause a registry may ask for that requests wait
	// out; for a longer one they fail at once and leave their worker to others.
	maxInLine = time.Minute
	// maxRest is how long one answer can keep everybody from a registry. After
	// that somebody asks again.
	maxRest = 15 * time.Minute
)

// line is where requests wait until a registry may be asked: for the limits of
// the configuration and for the pause that the registry itself wants. There is
// one per registry, for scans and listings together. Waiting ends with the
// context.
type line struct {
	endpoint  string
	requests  *rate.Limiter // nil without a limit
	bandwidth *rate.Limiter // nil without a limit
	pulls     chan struct{} // nil without a limit
	meter     meter
	// most is the longest pause that is waited out: none at a mirror, since the
	// registry can be asked instead.
	most time.Duration

	mu    sync.Mutex
	until time.Time // before it, the registry wants no requests
}

func newLine(endpoint string, l Limits, m meter) *line {
	out := &line{endpoint: endpoint, meter: m, most: maxInLine}
	if m.via == viaMirror {
		out.most = 0
	}
	if l.RequestsPerSecond > 0 {
		out.requests = rate.NewLimiter(rate.Limit(l.RequestsPerSecond), l.RequestsPerSecond)
	}
	if l.Bandwidth > 0 {
		out.bandwidth = rate.NewLimiter(rate.Limit(l.Bandwidth), int(min(max(l.Bandwidth, 16<<10), 1<<20)))
	}
	if l.ConcurrentPulls > 0 {
		out.pulls = make(chan struct{}, l.ConcurrentPulls)
	}
	return out
}

// admit waits until a request may be sent. The error is of kind RateLimited when
// the registry asked for a pause that is too long to wait out.
func (l *line) admit(ctx context.Context) error {
	if err := attemptOf(ctx).refusal(); err != nil {
		return err
	}
	if err := l.waitForRegistry(ctx); err != nil || l.requests == nil {
		return err
	}
	place := l.requests.Reserve()
	if err := l.sleep(ctx, place.Delay(), waitRequests); err != nil {
		place.Cancel()
		return err
	}
	return l.waitForRegistry(ctx)
}

// waitForRegistry waits out the pause the registry asked for.
func (l *line) waitForRegistry(ctx context.Context) error {
	for {
		rest := l.rest()
		switch {
		case rest <= 0:
			return nil
		case rest > l.most:
			return &errs.Error{Kind: errs.RateLimited, Op: l.endpoint + " asked for a pause", RetryAfter: rest,
				Hint: "the registry limits how often it may be asked; a credential often raises the limit"}
		}
		if err := l.sleep(ctx, rest, waitRetryAfter); err != nil {
			return err
		}
	}
}

func (l *line) rest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Until(l.until)
}

// heed keeps the pause that an answer of the registry asks for.
func (l *line) heed(resp *http.Response) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	until := time.Now().Add(min(retryAfter(resp.Header.Get("Retry-After"), time.Now()), maxRest))
	l.mu.Lock()
	defer l.mu.Unlock()
	if until.After(l.until) {
		l.until = until
	}
}

// maxRead is how much of an answer may be read at a time; 0 for any amount.
func (l *line) maxRead() int {
	if l.bandwidth == nil {
		return 0
	}
	return l.bandwidth.Burst()
}

// received waits until the bytes that were read, at most maxRead, fit the
// bandwidth.
func (l *line) received(ctx context.Context, n int) error {
	l.meter.received(n)
	if l.bandwidth == nil || n == 0 {
		return nil
	}
	return l.sleep(ctx, l.bandwidth.ReserveN(time.Now(), n).Delay(), waitBandwidth)
}

// pull waits until another layer may be opened. Call done once, when it is closed.
func (l *line) pull(ctx context.Context) (done func(), err error) {
	if l.pulls == nil {
		return func() {}, nil
	}
	start := time.Now()
	defer func() { l.meter.waited(waitPulls, time.Since(start)) }()
	select {
	case l.pulls <- struct{}{}:
		return sync.OnceFunc(func() { <-l.pulls }), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// sleep waits with the attempt's clock stopped.
func (l *line) sleep(ctx context.Context, d time.Duration, why string) error {
	if d <= 0 {
		return nil
	}
	a, start, timer := attemptOf(ctx), time.Now(), time.NewTimer(d)
	a.pause()
	defer func() {
		timer.Stop()
		a.resume()
		l.meter.waited(why, time.Since(start))
	}()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
