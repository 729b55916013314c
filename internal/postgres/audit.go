package postgres

import (
	"context"
	"encoding/json"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/text"
)

// Bounds of a row of the audit log, in bytes.
const (
	maxActor  = 400
	maxObject = 1000
	maxDetail = 8 << 10
)

// SaveChange adds a row to the audit log. Where a change and its row are to be
// written together, use saveChange within the transaction of the change.
func (s *Store) SaveChange(ctx context.Context, c report.Change) error {
	return s.inTx(ctx, "write audit log", func(tx pgx.Tx) error { return saveChange(ctx, tx, c) })
}

// saveChange adds a row to the audit log, which is there when the transaction is
// committed. A change without an outcome is done.
func saveChange(ctx context.Context, tx pgx.Tx, c report.Change) error {
	const insert = `
		INSERT INTO audit_log (actor, subject, address, request, action, object, outcome, reason, detail)
		VALUES (@actor, @subject, @address, @request, @action, @object, @outcome, @reason, @detail)`
	if c.Outcome == "" {
		c.Outcome = report.ChangeDone
	}
	_, err := tx.Exec(ctx, insert, pgx.NamedArgs{
		"actor": text.Clean(c.Actor, maxActor), "subject": text.Clean(c.Subject, maxActor), "address": text.Clean(c.Address, 100),
		"request": text.Clean(c.Request, 100), "action": text.Clean(c.Action, 100), "object": text.Clean(withoutTokens(c.Object), maxObject),
		"outcome": string(c.Outcome), "reason": string(c.Reason), "detail": detailJSON(c.Detail),
	})
	return wrap("write audit log", err)
}

// detailJSON encodes the detail of a change. What is too large, or cannot be
// encoded, leaves a sign that there was some.
func detailJSON(detail map[string]any) string {
	clean := make(map[string]any, len(detail))
	for key, value := range detail {
		clean[key] = cleanValue(value)
	}
	encoded, err := json.Marshal(clean)
	if err != nil || len(encoded) > maxDetail {
		return `{"too_large": true}`
	}
	return string(encoded)
}

func cleanValue(value any) any {
	switch v := value.(type) {
	case string:
		return text.Clean(withoutTokens(v), maxObject)
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = cleanValue(v[i])
		}
		return out
	}
	return value
}

// tokenInText is an API token that somebody put where a name belongs.
var tokenInText = regexp.MustCompile(`tw_[A-Za-z0-9_-]{20,}`)

func withoutTokens(s string) string { return tokenInText.ReplaceAllString(s, "tw_[redacted]") }

// Audit lists the audit log, newest first. The error is of kind Invalid for a
// cursor that is none.
func (s *Store) Audit(ctx context.Context, filter report.AuditFilter, p report.Page) (report.List[report.AuditEntry], error) {
	const query = `
		SELECT id, at, actor, subject, address, request, action, object, outcome, reason, detail
		  FROM audit_log
		 WHERE (NOT @after OR id < @id) AND (@actor = '' OR actor = @actor) AND (@object = '' OR object = @object)
		   AND (@action = '' OR action = @action OR starts_with(action, @action || '.'))
		   AND (@since::timestamptz IS NULL OR at >= @since) AND (@until::timestamptz IS NULL OR at < @until)
		 ORDER BY id DESC LIMIT @limit`
	var out report.List[report.AuditEntry]
	var id int64
	after, err := report.DecodeCursor("audit", p.Cursor, &id)
	if err != nil {
		return out, err
	}
	args := pgx.NamedArgs{
		"after": after, "id": id, "actor": filter.Actor, "action": filter.Action, "object": filter.Object,
		"since": orNull(filter.Since), "until": orNull(filter.Until), "limit": p.Size() + 1,
	}
	err = s.inTx(ctx, "read audit log", func(tx pgx.Tx) error {
		found, err := rows[auditRow](ctx, tx, query, args)
		out = page(found, p.Size(), auditRow.report, func(r auditRow) string { return report.EncodeCursor("audit", r.ID) })
		return err
	})
	return out, err
}

type auditRow struct {
	ID      int64
	At      time.Time
	Actor   string
	Subject string
	Address string
	Request string
	Action  string
	Object  string
	Outcome string
	Reason  string
	Detail  map[string]any
}

func (r auditRow) report() report.AuditEntry {
	return report.AuditEntry{ID: r.ID, At: r.At.UTC(), Change: report.Change{
		Actor: r.Actor, Subject: r.Subject, Address: r.Address, Request: r.Request, Action: r.Action, Object: r.Object,
		Outcome: report.ChangeOutcome(r.Outcome), Reason: errs.Kind(r.Reason), Detail: r.Detail,
	}}
}

// orNull is a time as an argument; the zero time is null.
func orNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// auditStage deletes rows of the audit log, the oldest first.
func auditStage(dry bool) stage {
	return stage{name: "audit_log", size: 2000, keep: func(r Retention) bool { return r.Audit > 0 },
		work: sweep{table: "audit_log", key: "id", where: `x.at < @audit::timestamptz`, order: "x.at", dry: dry}}
}
