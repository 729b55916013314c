package notify

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/telemetry"
)

// Send hands over everything that is due for a channel.
func (n *Notifier) Send(ctx context.Context, channel string) error {
	to, err := n.channel(channel)
	if err != nil {
		return err
	}
	for {
		due, err := n.Store.ClaimNotification(ctx, channel, n.Lease)
		if err != nil || due == nil {
			return err
		}
		if err := n.attempt(ctx, to, *due); err != nil {
			return err
		}
	}
}

func (n *Notifier) channel(name string) (Channel, error) {
	for _, c := range n.Channels {
		if c.Name() == name {
			return c, nil
		}
	}
	return nil, errs.New(errs.NotFound, "no channel is called %.100q", name).WithField("channel")
}

// attempt sends one message and keeps what came of it, also when ctx ends
// meanwhile. One that was cut off does not count.
func (n *Notifier) attempt(ctx context.Context, to Channel, due report.OutgoingNews) error {
	const deadline = 10 * time.Second
	ctx, span := telemetry.StartTrace(ctx, "notify", slog.String("channel", to.Name()), slog.String("type", to.Type()),
		slog.String("rule", due.News.Rule), slog.Int("attempt", due.Attempt))
	try, receipt, err := n.try(ctx, to, Parcel{ID: due.MessageID, CreatedAt: due.CreatedAt, News: due.News})
	span.End(err)
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline)
	defer cancel()
	if err != nil && ctx.Err() != nil {
		return n.Store.ReleaseNotification(keep, due)
	}
	next := time.Time{}
	outcome := "sent"
	if err != nil {
		outcome = "failed"
		if pause, again := n.pause(due.Attempt, receipt); again {
			outcome, next = "retried", time.Now().Add(pause)
		}
		n.Logger.WarnContext(ctx, "notification not sent", "channel", to.Name(), "notification", due.ID, "attempt", due.Attempt,
			"status", try.Status, "outcome", outcome, "error", try.Error)
	}
	n.metrics.attempted(to.Name(), outcome, time.Duration(try.DurationMS)*time.Millisecond)
	err = n.Store.FinishNotification(keep, due, try, next)
	if errs.Is(err, errs.Canceled) {
		return nil // the lease ran out; whoever has it now tells how it ends
	}
	return err
}

// maxError is how much of an error is kept, in bytes.
const maxError = 1000

// try sends a message once, within the time for it.
func (n *Notifier) try(ctx context.Context, to Channel, p Parcel) (report.NotificationAttempt, Receipt, error) {
	ctx, cancel := context.WithTimeout(ctx, n.Timeout)
	defer cancel()
	start := time.Now()
	receipt, err := to.Send(ctx, p)
	try := report.NotificationAttempt{
		At: start.UTC(), DurationMS: time.Since(start).Milliseconds(), Status: receipt.Status, Answer: printable(receipt.Answer),
	}
	if err != nil {
		why := err.Error()
		if hint := errs.Hint(err); hint != "" {
			why += "; " + hint
		}
		try.Error = begin(printable(why), maxError) // it may hold what the receiver says
	}
	return try, receipt, err
}

// printable keeps the lines of an answer and takes out what does not print.
func printable(s string) string {
	lines := []rune(s)
	for i, r := range lines {
		if r != '\n' {
			lines[i] = []rune(line(string(r)))[0]
		}
	}
	return string(lines)
}

// pause says how long to wait before the next attempt: what the receiver asked for,
// and at least what is usual, give or take a fifth, so that messages which failed
// together do not come back together. It reports false when there is none.
func (n *Notifier) pause(attempt int, receipt Receipt) (time.Duration, bool) {
	if receipt.Gone || attempt > len(n.Pauses) || attempt < 1 {
		return 0, false
	}
	usual := n.Pauses[attempt-1]
	jitter := time.Duration((rand.Float64() - 0.5) * 0.4 * float64(usual))
	return max(usual+jitter, receipt.RetryAfter), true
}

// Test tries a channel with a message that says so, once, and tells what the
// receiver answered. The error is of kind NotFound when there is no such channel; a
// message that was not delivered is no error.
func (n *Notifier) Test(ctx context.Context, channel string) (report.NotificationTest, error) {
	to, err := n.channel(channel)
	if err != nil {
		return report.NotificationTest{}, err
	}
	now := time.Now().UTC()
	p := Parcel{ID: uuid.NewString(), CreatedAt: now, News: report.News{
		Kind: report.NewsTest, Title: "Test of channel " + channel, Since: now, Until: now, Groups: []report.NewsGroup{}, Link: n.PublicURL,
		Counts: report.NewsCounts{Severities: map[string]int{}, Kinds: map[string]int{}},
	}}
	try, _, err := n.try(ctx, to, p)
	return report.NotificationTest{Channel: to.Name(), Type: to.Type(), MessageID: p.ID, Delivered: err == nil, NotificationAttempt: try}, nil
}
