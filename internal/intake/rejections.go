package intake

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/tidewaiter/tidewaiter/internal/postgres"
)

const (
	// flushRejections is how often they are written: a flood of bad requests is
	// one small statement in that time.
	flushRejections = 5 * time.Second
	// keptOf is how many of the newest of a registry are kept between writes.
	keptOf = 20
	// maxKinds bounds the counts between writes. Registries, statuses and reasons
	// come from fixed lists, so it is not reached; what is beyond is counted
	// together.
	maxKinds   = 2000
	maxReason  = 64  // characters
	maxDetails = 300 // characters
)

// Rejections remembers the requests to endpoints that were refused, and writes
// them down every few seconds. What it holds in between is bounded.
type Rejections struct {
	store  *postgres.Store
	logger *slog.Logger
	now    func() time.Time
	every  time.Duration

	mu     sync.Mutex
	counts map[rejectionKind]postgres.RejectionCount
	newest map[string][]postgres.Rejection // by registry
}

type rejectionKind struct {
	hour     time.Time
	registry string
	status   int
	reason   string
}

// NewRejections returns a memory that writes to the store once it runs.
func NewRejections(store *postgres.Store, logger *slog.Logger) *Rejections {
	return &Rejections{store: store, logger: logger, now: time.Now, every: flushRejections,
		counts: map[rejectionKind]postgres.RejectionCount{}, newest: map[string][]postgres.Rejection{}}
}

// Add remembers a rejected request: the endpoint's registry, empty when there is
// no such endpoint, the status it was answered with, the kind of error and the
// words. It never waits for the database.
func (r *Rejections) Add(registry string, status int, reason, detail string) {
	now := r.now().UTC()
	reason, detail = brief(reason, maxReason), brief(detail, maxDetails)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count(postgres.RejectionCount{Registry: registry, Hour: now.Truncate(time.Hour), Status: status, Reason: reason, Requests: 1, LastAt: now})
	if registry != "" {
		r.keep(postgres.Rejection{Registry: registry, At: now, Status: status, Reason: reason, Detail: detail})
	}
}

func (r *Rejections) count(c postgres.RejectionCount) {
	kind := rejectionKind{c.Hour, c.Registry, c.Status, c.Reason}
	if _, known := r.counts[kind]; !known && len(r.counts) >= maxKinds {
		kind.registry, kind.status, kind.reason = "", 0, "other"
		c.Registry, c.Status, c.Reason = "", 0, "other"
	}
	if before, known := r.counts[kind]; known {
		c.Requests += before.Requests
		if before.LastAt.After(c.LastAt) {
			c.LastAt = before.LastAt
		}
	}
	r.counts[kind] = c
}

func (r *Rejections) keep(x postgres.Rejection) {
	list := r.newest[x.Registry]
	if len(list) >= keptOf {
		list = append(list[:0], list[len(list)-keptOf+1:]...)
	}
	r.newest[x.Registry] = append(list, x)
}

// Run writes every few seconds until ctx ends. What comes until the server has
// stopped is for Flush to write.
func (r *Rejections) Run(ctx context.Context) {
	ticker := time.NewTicker(r.every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			r.tryFlush(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// tryFlush keeps what cannot be written for the next time.
func (r *Rejections) tryFlush(ctx context.Context) {
	if err := r.Flush(ctx); err != nil && ctx.Err() == nil {
		r.logger.WarnContext(ctx, "rejected webhook requests not recorded, trying again", "error", err)
	}
}

// Flush writes what was remembered. When it fails, the counts and the newest are
// remembered still.
func (r *Rejections) Flush(ctx context.Context) error {
	counts, newest := r.take()
	if len(counts) == 0 {
		return nil
	}
	err := r.store.SaveRejections(ctx, counts, newest)
	if err != nil {
		r.giveBack(counts, newest)
	}
	return err
}

func (r *Rejections) take() (counts []postgres.RejectionCount, newest []postgres.Rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.counts {
		counts = append(counts, c)
	}
	for _, list := range r.newest {
		newest = append(newest, list...)
	}
	clear(r.counts)
	clear(r.newest)
	return counts, newest
}

// giveBack puts what was not written before what came meanwhile.
func (r *Rejections) giveBack(counts []postgres.RejectionCount, newest []postgres.Rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range counts {
		r.count(c)
	}
	later := r.newest
	r.newest = map[string][]postgres.Rejection{}
	for _, x := range newest {
		r.keep(x)
	}
	for _, list := range later {
		for _, x := range list {
			r.keep(x)
		}
	}
}

// brief cuts to a number of characters and leaves out what does not print: the
// words may hold what a stranger sent.
func brief(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, c := range s {
		if !unicode.IsGraphic(c) {
			continue
		}
		if n++; n > limit {
			b.WriteRune('…')
			break
		}
		b.WriteRune(c)
	}
	return b.String()
}
