package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// ClaimNotification takes the notification of a channel that is due first, for as
// long as the lease; nil when none is. When the lease runs out, another process
// takes it, and sends it again under the same message id.
func (s *Store) ClaimNotification(ctx context.Context, channel string, lease time.Duration) (*report.OutgoingNews, error) {
	const claim = `
		UPDATE notification n SET lease_token = gen_random_uuid(), lease_until = now() + make_interval(secs => @lease), attempts = attempts + 1
		 WHERE n.id = (SELECT id FROM notification
		                WHERE channel = @channel AND state = 'queued' AND next_at <= now() AND (lease_until IS NULL OR lease_until < now())
		                ORDER BY next_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
		RETURNING n.id, n.message_id::text, n.lease_token::text, n.attempts, n.created_at, n.message`
	var out report.OutgoingNews
	var message []byte
	err := s.pool.QueryRow(ctx, claim, pgx.NamedArgs{"channel": channel, "lease": lease.Seconds()}).
		Scan(&out.ID, &out.MessageID, &out.Lease, &out.Attempt, &out.CreatedAt, &message)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("claim notification", err)
	}
	out.CreatedAt = out.CreatedAt.UTC()
	if err := json.Unmarshal(message, &out.News); err != nil {
		return nil, errs.Wrap(errs.Malformed, "postgres: decode message", err)
	}
	return &out, nil
}

// Lengths, in bytes, of what is kept of an attempt.
const (
	maxNewsError  = 1000
	maxNewsAnswer = 1000
)

// FinishNotification keeps what came of an attempt. The notification is sent when
// it was delivered, queued again for next when that is not zero, and else failed.
// The error is of kind Canceled when the lease is no longer ours.
func (s *Store) FinishNotification(ctx context.Context, o report.OutgoingNews, try report.NotificationAttempt, next time.Time) error {
	const finish = `
		UPDATE notification SET state = @state, next_at = COALESCE(@next, next_at), last_error = @error, lease_token = NULL, lease_until = NULL,
		       finished_at = CASE WHEN @state = 'queued' THEN NULL ELSE now() END
		 WHERE id = @id AND lease_token = @lease::uuid`
	const add = `
		INSERT INTO notification_attempt (notification_id, at, duration_ms, status, error, answer)
		VALUES (@id, @at, @duration, @status, @error, @answer)`
	state := report.NewsFailed
	var due *time.Time
	switch {
	case try.Error == "":
		state = report.NewsSent
	case !next.IsZero():
		state, due = report.NewsQueued, &next
	}
	args := pgx.NamedArgs{
		"id": o.ID, "lease": o.Lease, "state": state, "next": due, "at": try.At, "duration": try.DurationMS, "status": try.Status,
		"error": text.Clean(try.Error, maxNewsError), "answer": text.Clean(try.Answer, maxNewsAnswer),
	}
	return s.inTx(ctx, "finish notification", func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, finish, args)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return errs.New(errs.Canceled, "postgres: notification %d is no longer ours", o.ID)
		}
		_, err = tx.Exec(ctx, add, args)
		return err
	})
}

// ReleaseNotification gives one back that was not tried to the end.
func (s *Store) ReleaseNotification(ctx context.Context, o report.OutgoingNews) error {
	const release = `
		UPDATE notification SET attempts = attempts - 1, lease_token = NULL, lease_until = NULL
		 WHERE id = $1 AND lease_token = $2::uuid`
	_, err := s.pool.Exec(ctx, release, o.ID, o.Lease)
	return wrap("release notification", err)
}

// WaitingNotifications tells for each channel how many notifications are queued,
// and how long the oldest has been.
func (s *Store) WaitingNotifications(ctx context.Context) (map[string]report.NotificationBacklog, error) {
	const query = `
		SELECT channel, count(*) AS waiting, extract(epoch FROM now() - min(created_at))::float8 AS seconds
		  FROM notification WHERE state = 'queued' GROUP BY channel`
	out := map[string]report.NotificationBacklog{}
	found, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, wrap("count notifications", err)
	}
	var channel string
	var n int
	var seconds float64
	_, err = pgx.ForEachRow(found, []any{&channel, &n, &seconds}, func() error {
		out[channel] = report.NotificationBacklog{Waiting: n, Oldest: time.Duration(seconds * float64(time.Second))}
		return nil
	})
	return out, wrap("count notifications", err)
}
