package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

const notificationColumns = `n.id, n.message_id::text AS message_id, n.rule, n.channel, n.kind, n.title, n.state, n.attempts,
	CASE WHEN n.state = 'queued' THEN n.next_at END AS next_at, n.last_error, n.created_at, n.finished_at`

type notificationRow struct {
	ID         int64
	MessageID  string
	Rule       string
	Channel    string
	Kind       string
	Title      string
	State      string
	Attempts   int
	NextAt     *time.Time
	LastError  string
	CreatedAt  time.Time
	FinishedAt *time.Time
}

func (r notificationRow) report() report.Notification {
	return report.Notification{
		ID: r.ID, MessageID: r.MessageID, Rule: r.Rule, Channel: r.Channel, Kind: report.NewsKind(r.Kind), Title: r.Title,
		State: report.NewsState(r.State), Attempts: r.Attempts, NextAt: utc(r.NextAt), LastError: r.LastError,
		CreatedAt: r.CreatedAt.UTC(), FinishedAt: utc(r.FinishedAt),
	}
}

// Notifications lists what was told to whom, newest first.
func (s *Store) Notifications(ctx context.Context, filter report.NotificationFilter, p report.Page) (report.List[report.Notification], error) {
	const query = `
		SELECT ` + notificationColumns + ` FROM notification n
		 WHERE (NOT @after OR n.id < @id) AND (@channel = '' OR n.channel = @channel) AND (@rule = '' OR n.rule = @rule)
		   AND (@state = '' OR n.state = @state)
		 ORDER BY n.id DESC LIMIT @limit`
	var out report.List[report.Notification]
	var id int64
	after, err := report.DecodeCursor("notifications", p.Cursor, &id)
	if err != nil {
		return out, err
	}
	args := pgx.NamedArgs{"after": after, "id": id, "channel": filter.Channel, "rule": filter.Rule, "state": string(filter.State), "limit": p.Size() + 1}
	err = s.read(ctx, "list notifications", func(at snapshot) error {
		found, err := rows[notificationRow](ctx, at, query, args)
		out = page(found, p.Size(), notificationRow.report,
			func(r notificationRow) string { return report.EncodeCursor("notifications", r.ID) })
		return err
	})
	return out, err
}

// Notification returns one with what was tried. The error is of kind NotFound when
// there is none.
func (s *Store) Notification(ctx context.Context, id int64) (report.NotificationReport, error) {
	const query = `SELECT ` + notificationColumns + ` FROM notification n WHERE n.id = @id`
	const message = `SELECT message FROM notification WHERE id = $1`
	const tries = `SELECT at, duration_ms, status, error, answer FROM notification_attempt WHERE notification_id = @id ORDER BY id DESC LIMIT 50`
	out := report.NotificationReport{Tries: []report.NotificationAttempt{}}
	err := s.read(ctx, "read notification", func(at snapshot) error {
		found, err := rows[notificationRow](ctx, at, query, pgx.NamedArgs{"id": id})
		if err != nil {
			return err
		}
		if len(found) == 0 {
			return report.NoNotification(id)
		}
		out.Notification = found[0].report()
		var raw []byte
		if err := at.QueryRow(ctx, message, id).Scan(&raw); err != nil {
			return err
		}
		out.Message = json.RawMessage(raw)
		list, err := rows[attemptRow](ctx, at, tries, pgx.NamedArgs{"id": id})
		for _, r := range list {
			out.Tries = append(out.Tries, report.NotificationAttempt{At: r.At.UTC(), DurationMS: r.DurationMS, Status: r.Status, Error: r.Error, Answer: r.Answer})
		}
		return err
	})
	return out, err
}

type attemptRow struct {
	At         time.Time
	DurationMS int64
	Status     int
	Error      string
	Answer     string
}

// Redeliver queues a notification again, whatever became of it, under its message
// id, and returns what it is now. One that is being sent stays as it is. The error
// is of kind NotFound when there is none.
func (s *Store) Redeliver(ctx context.Context, id int64) (report.Notification, error) {
	const again = `
		UPDATE notification SET state = 'queued', attempts = 0, next_at = now(), finished_at = NULL, lease_token = NULL, lease_until = NULL
		 WHERE id = $1 AND (lease_until IS NULL OR lease_until < now())`
	if _, err := s.pool.Exec(ctx, again, id); err != nil {
		return report.Notification{}, wrap("redeliver", err)
	}
	found, err := s.Notification(ctx, id)
	return found.Notification, err
}
