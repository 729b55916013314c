package postgres

import (
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// SaveNews queues a message for channels, and takes the groups it was made of out
// of what waits, in one transaction: an event is in one message of a rule, or it
// waits. Without a message the groups are dropped. The error is of kind Conflict
// when somebody else took one of the groups; nothing is changed then.
func (s *Store) SaveNews(ctx context.Context, rule string, of []report.WaitingNews, channels []string, news *report.News) error {
	const take = `DELETE FROM notification_pending p WHERE ` + ofGroup
	const add = `
		INSERT INTO notification (rule, channel, kind, first_event, title, message)
		SELECT @rule, c, @kind, @first, @title, @message FROM unnest(@channels::text[]) c
		ON CONFLICT (rule, channel, first_event) DO NOTHING`
	return s.inTx(ctx, "save news", func(tx pgx.Tx) error {
		first := int64(0)
		for _, w := range of {
			tag, err := tx.Exec(ctx, take, pgx.NamedArgs{"rule": rule, "rows": w.Rows})
			if err != nil {
				return err
			}
			if tag.RowsAffected() != int64(w.Events) {
				return errs.New(errs.Conflict, "postgres: news of rule %s were taken by somebody else", rule)
			}
			if first == 0 || w.FirstEvent < first {
				first = w.FirstEvent
			}
		}
		if news == nil {
			return nil
		}
		encoded, err := json.Marshal(news)
		if err != nil {
			return errs.Wrap(errs.Internal, "postgres: encode message", err)
		}
		_, err = tx.Exec(ctx, add, pgx.NamedArgs{
			"rule": rule, "kind": news.Kind, "first": first, "title": cleanText(news.Title), "message": encoded, "channels": channels,
		})
		return err
	})
}

// MadeNews counts the messages of a rule since a time, and tells when the first of
// them was made; zero without one.
func (s *Store) MadeNews(ctx context.Context, rule string, since time.Time) (messages int, first time.Time, err error) {
	const query = `SELECT count(DISTINCT first_event), min(created_at) FROM notification WHERE rule = $1 AND created_at >= $2`
	var at *time.Time
	err = s.pool.QueryRow(ctx, query, rule, since).Scan(&messages, &at)
	if at != nil {
		first = at.UTC()
	}
	return messages, first, wrap("count news", err)
}

// ForgetNews drops what nobody will send or ask for any more: notifications that
// were finished before a time; and what was gathered before a week for rules that
// nobody looks after. What waits for a channel outside of configured is given up an
// hour after it was due.
func (s *Store) ForgetNews(ctx context.Context, before time.Time, configured []string) error {
	const finished = `DELETE FROM notification WHERE state <> 'queued' AND finished_at < $1`
	const rules = `DELETE FROM notification_rule WHERE seen_at < now() - interval '7 days'`
	const pending = `
		DELETE FROM notification_pending p WHERE p.collected_at < now() - interval '7 days'
		   AND NOT EXISTS (SELECT 1 FROM notification_rule r WHERE r.name = p.rule)`
	const outbox = `DELETE FROM notification_outbox WHERE created_at < now() - interval '30 days'`
	const orphans = `
		UPDATE notification SET state = 'failed', last_error = 'the channel is not configured', finished_at = now(), lease_token = NULL, lease_until = NULL
		 WHERE state = 'queued' AND channel <> ALL ($1) AND next_at < now() - interval '1 hour'`
	return s.inTx(ctx, "forget news", func(tx pgx.Tx) error {
		for _, step := range []struct {
			query string
			args  []any
		}{{finished, []any{before}}, {rules, nil}, {pending, nil}, {outbox, nil}, {orphans, []any{configured}}} {
			if _, err := tx.Exec(ctx, step.query, step.args...); err != nil {
				return err
			}
		}
		return nil
	})
}
