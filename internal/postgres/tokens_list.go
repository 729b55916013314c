package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

const tokenColumns = `id, name, scope, prefixes, created_at, created_by, expires_at, last_used_at, revoked_at, revoked_by`

type tokenRow struct {
	ID         int64
	Name       string
	Scope      string
	Prefixes   []string
	CreatedAt  time.Time
	CreatedBy  string
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
	RevokedAt  *time.Time
	RevokedBy  string
}

func (r tokenRow) report() report.Token {
	return report.Token{
		ID: r.ID, Name: r.Name, Scope: report.Scope(r.Scope), Prefixes: append([]string{}, r.Prefixes...), CreatedAt: r.CreatedAt.UTC(), CreatedBy: r.CreatedBy,
		ExpiresAt: utc(r.ExpiresAt), LastUsedAt: utc(r.LastUsedAt), RevokedAt: utc(r.RevokedAt), RevokedBy: r.RevokedBy,
	}
}

// withinCaller is the condition that lets a limited caller see a token: it could do no
// more than the caller. report.Access.Covers states the same. It needs the
// argument prefixes.
const withinCaller = `(cardinality(@prefixes::text[]) = 0 OR cardinality(prefixes) > 0 AND NOT EXISTS (
	SELECT 1 FROM unnest(prefixes) AS t (prefix)
	 WHERE NOT EXISTS (SELECT 1 FROM unnest(@prefixes::text[]) AS p (prefix) WHERE starts_with(t.prefix, rtrim(p.prefix, '/') || '/'))))`

// ListTokens lists tokens by name, revoked and expired ones too; to a limited
// caller those that see nothing else. The error is of kind Invalid for a cursor
// that is none.
func (s *Store) ListTokens(ctx context.Context, access report.Access, filter report.TokenFilter, p report.Page) (report.List[report.Token], error) {
	const query = `
		SELECT ` + tokenColumns + ` FROM api_token
		 WHERE ` + withinCaller + ` AND (@name = '' OR name = @name) AND (NOT @after OR name > @last)
		 ORDER BY name LIMIT @limit`
	var out report.List[report.Token]
	var last string
	after, err := report.DecodeCursor("tokens", p.Cursor, &last)
	if err != nil {
		return out, err
	}
	args := pgx.NamedArgs{"prefixes": prefixes(access), "name": filter.Name, "after": after, "last": last, "limit": p.Size() + 1}
	err = s.inTx(ctx, "list tokens", func(tx pgx.Tx) error {
		found, err := rows[tokenRow](ctx, tx, query, args)
		out = page(found, p.Size(), tokenRow.report, func(r tokenRow) string { return report.EncodeCursor("tokens", r.Name) })
		return err
	})
	return out, err
}

// RevokeToken ends a token at once, in the name of by.Actor, and writes that into
// the audit log. Revoking it again changes nothing. To a limited caller, what could
// do more than they is not there. The error is of kind NotFound.
func (s *Store) RevokeToken(ctx context.Context, access report.Access, id int64, by report.Change) (report.Token, error) {
	const hold = `SELECT ` + tokenColumns + ` FROM api_token WHERE id = @id AND ` + withinCaller + ` FOR UPDATE`
	const revoke = `UPDATE api_token SET revoked_at = now(), revoked_by = @by WHERE id = @id RETURNING ` + tokenColumns
	var out report.Token
	args := pgx.NamedArgs{"id": id, "prefixes": prefixes(access), "by": cleanText(by.Actor)}
	err := s.inTx(ctx, "revoke token", func(tx pgx.Tx) error {
		found, err := rows[tokenRow](ctx, tx, hold, args)
		switch {
		case err != nil:
			return err
		case len(found) == 0:
			return errs.New(errs.NotFound, "there is no token %d", id)
		}
		was := found[0].RevokedAt
		if was == nil {
			if found, err = rows[tokenRow](ctx, tx, revoke, args); err != nil {
				return err
			}
		}
		out = found[0].report()
		by.Action, by.Object, by.Detail = ActionTokenRevoke, out.Name, map[string]any{"scope": string(out.Scope)}
		if was != nil {
			by.Detail["revoked_before"] = true
		}
		return saveChange(ctx, tx, by)
	})
	return out, err
}

// RevokeTokenNamed is RevokeToken by name, for who sees everything.
func (s *Store) RevokeTokenNamed(ctx context.Context, name string, by report.Change) (report.Token, error) {
	found, err := s.ListTokens(ctx, report.Access{}, report.TokenFilter{Name: name}, report.Page{})
	switch {
	case err != nil:
		return report.Token{}, err
	case name == "" || len(found.Items) == 0:
		return report.Token{}, errs.New(errs.NotFound, "there is no token named %.120q", name)
	}
	return s.RevokeToken(ctx, report.Access{}, found.Items[0].ID, by)
}
