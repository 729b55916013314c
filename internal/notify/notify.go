// Package notify tells people and programs what is new, through the channels that
// are configured.
//
// It is responsible for what makes one message and when, for the form and the
// signature each channel wants, and for trying again until a message is delivered
// or given up. It must not decide what is new: that is in the finding events, which
// it reads through a small interface. What images and advisories say is written by
// others; no channel takes it for markup.
package notify

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Store keeps what is to be told and how far it is.
type Store interface {
	// Exclusively runs work while no other process does the same, or not at all.
	Exclusively(ctx context.Context, name string, work func(ctx context.Context) error) error
	KeepNewsRules(ctx context.Context, names []string) error
	CollectNews(ctx context.Context, rules []report.NewsRule, limit int) (taken int, err error)
	OldestNews(ctx context.Context, rule string) (at time.Time, ok bool, err error)
	WaitingNews(ctx context.Context, rule string) ([]report.WaitingNews, error)
	NewsRepositories(ctx context.Context, rule string, of []report.WaitingNews) (int, error)
	DescribeNews(ctx context.Context, rule report.NewsRule, w report.WaitingNews) (g report.NewsGroup, ok bool, err error)
	// Unsettled reports whether events of the active build may be on their way.
	Unsettled(ctx context.Context) (bool, error)
	Sample(ctx context.Context) (bool, error)
	MadeNews(ctx context.Context, rule string, since time.Time) (messages int, first time.Time, err error)
	SaveNews(ctx context.Context, rule string, of []report.WaitingNews, channels []string, news *report.News) error
	ForgetNews(ctx context.Context, before time.Time, configured []string) error

	ClaimNotification(ctx context.Context, channel string, lease time.Duration) (*report.OutgoingNews, error)
	FinishNotification(ctx context.Context, o report.OutgoingNews, try report.NotificationAttempt, next time.Time) error
	ReleaseNotification(ctx context.Context, o report.OutgoingNews) error
	WaitingNotifications(ctx context.Context) (map[string]report.NotificationBacklog, error)
}

// Rule says what is told through which channels, and how often.
type Rule struct {
	report.NewsRule
	Channels []string
	// Window gathers what is new for that long into one message; zero tells at once.
	Window time.Duration
	// Limit is how many messages may be made in ten minutes without a window; what
	// goes beyond becomes one digest.
	Limit int
}

// Options say what to tell and how. Fields without a default are required.
type Options struct {
	Store    Store
	Channels []Channel
	Rules    []Rule
	// PublicURL is where people find this service; empty leaves links out.
	PublicURL string

	Logger     *slog.Logger          // nil discards
	Registerer prometheus.Registerer // nil for none

	Every   time.Duration   // between two looks for news; 1 s
	Quiet   time.Duration   // how long no event of a build has to come before its groups are told; 2 s, negative for none
	Timeout time.Duration   // of one attempt; 20 s
	Lease   time.Duration   // of a notification that is being sent; a minute more than Timeout
	Pauses  []time.Duration // between attempts; when they are used up, it is given up
	Keep    time.Duration   // how long what is finished stays in the log; 30 days
}

// pauses make nine attempts in about a day.
func pauses() []time.Duration {
	return []time.Duration{
		10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	}
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Pauses == nil {
		o.Pauses = pauses()
	}
	o.Every = cmp.Or(o.Every, time.Second)
	o.Quiet = cmp.Or(o.Quiet, 2*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second)
	o.Lease = cmp.Or(o.Lease, o.Timeout+time.Minute)
	o.Keep = cmp.Or(o.Keep, 30*24*time.Hour)
	return o
}

// Notifier makes messages of what is new and sends them. Several processes may run
// one over the same store: one of them makes the messages, all send.
type Notifier struct {
	Options
	metrics *metrics
	held    map[string]time.Time // rules that made many messages, until when
	tidied  time.Time
}

// New returns a notifier. The error is of kind Invalid when a rule names a channel
// that is not there.
func New(o Options) (*Notifier, error) {
	o = o.withDefaults()
	known := map[string]bool{}
	for _, c := range o.Channels {
		known[c.Name()] = true
	}
	for _, r := range o.Rules {
		for _, name := range r.Channels {
			if !known[name] {
				return nil, errs.New(errs.Invalid, "notify: rule %s: there is no channel %s", r.Name, name)
			}
		}
	}
	return &Notifier{Options: o, metrics: newMetrics(o.Registerer), held: map[string]time.Time{}}, nil
}

// Begin has events kept for the rules from now on.
func (n *Notifier) Begin(ctx context.Context) error {
	if len(n.Rules) == 0 {
		return nil
	}
	names := make([]string, len(n.Rules))
	for i, r := range n.Rules {
		names[i] = r.Name
	}
	return n.Store.KeepNewsRules(ctx, names)
}

// Run makes and sends messages until ctx ends, and returns when what was being sent
// is sent or given back. A failure is logged and tried again.
func (n *Notifier) Run(ctx context.Context) {
	var running sync.WaitGroup
	defer running.Wait()
	for _, c := range n.Channels {
		running.Go(func() {
			n.repeat(ctx, "notifications not sent", func(ctx context.Context) error { return n.Send(ctx, c.Name()) })
		})
	}
	if len(n.Rules) > 0 {
		n.repeat(ctx, "news not looked for", n.Round)
	}
}

// repeat does work again and again, less often while it fails.
func (n *Notifier) repeat(ctx context.Context, failure string, work func(context.Context) error) {
	const patience = 30
	for pause := n.Every; ; {
		err := work(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			n.Logger.WarnContext(ctx, "notifications wait", "what", failure, "error", err)
			pause = min(2*pause, patience*n.Every)
		default:
			pause = n.Every
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// Round looks once for what is new and makes messages of it, unless another process
// does.
func (n *Notifier) Round(ctx context.Context) error {
	return n.Store.Exclusively(ctx, "notify", func(ctx context.Context) error {
		if err := n.Begin(ctx); err != nil {
			return err
		}
		if err := n.collect(ctx); err != nil {
			return err
		}
		for _, rule := range n.Rules {
			if err := n.compose(ctx, rule); err != nil {
				return err
			}
		}
		return n.tidy(ctx)
	})
}

// collect empties the outbox.
func (n *Notifier) collect(ctx context.Context) error {
	const batch = 200
	selectors := make([]report.NewsRule, len(n.Rules))
	for i, r := range n.Rules {
		selectors[i] = r.NewsRule
	}
	for {
		taken, err := n.Store.CollectNews(ctx, selectors, batch)
		if err != nil || taken < batch {
			return err
		}
	}
}

// tidy forgets what is old, and counts what waits, once a minute.
func (n *Notifier) tidy(ctx context.Context) error {
	if time.Since(n.tidied) < time.Minute {
		return nil
	}
	n.tidied = time.Now()
	names := make([]string, len(n.Channels))
	for i, c := range n.Channels {
		names[i] = c.Name()
	}
	if err := n.Store.ForgetNews(ctx, time.Now().Add(-n.Keep), names); err != nil {
		return err
	}
	waiting, err := n.Store.WaitingNotifications(ctx)
	if err == nil {
		n.metrics.backlog(names, waiting)
	}
	return err
}
