package postgres

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// initialToken is the name of the token that gets an operator in for the first
// time.
const initialToken = "initial-admin"

// FirstToken makes the initial token, of scope admin, where there is no token yet,
// and returns it; empty when there is one already. Of several processes that start
// at once, one makes it.
func (s *Store) FirstToken(ctx context.Context) (string, error) {
	const query = `SELECT EXISTS (SELECT 1 FROM api_token)`
	var made string
	err := s.inTx(ctx, "make the initial token", func(tx pgx.Tx) error {
		made = ""
		if err := lockInitialToken(ctx, tx); err != nil {
			return err
		}
		var there bool
		if err := tx.QueryRow(ctx, query).Scan(&there); err != nil || there {
			return err
		}
		made = newToken()
		_, err := insertToken(ctx, tx, initial(), made, report.Change{Actor: report.ActorSystem})
		return err
	})
	if err != nil {
		return "", err
	}
	return made, nil
}

func initial() report.NewToken {
	return report.NewToken{Name: initialToken, Scope: report.ScopeAdmin, Prefixes: []string{}}
}

func lockInitialToken(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(`+lockKey("initial token")+`)`)
	return err
}

// GivenToken is what became of a token that the configuration gives.
type GivenToken string

// What becomes of it.
const (
	GivenMade     GivenToken = "made"
	GivenReplaced GivenToken = "replaced" // the one that was given before is worthless now
	GivenKept     GivenToken = "kept"
	GivenRevoked  GivenToken = "revoked" // somebody revoked it, and it stays so until another one is given
)

// GiveToken makes a token that an operator chose the initial one, of scope admin,
// in place of the one given before. The error is of kind Invalid when it could be
// guessed (report.CheckGivenToken).
func (s *Store) GiveToken(ctx context.Context, token string) (GivenToken, error) {
	const query = `SELECT hash, revoked_at FROM api_token WHERE name = $1 FOR UPDATE`
	const replace = `
		UPDATE api_token SET hash = $2, scope = 'admin', prefixes = '{}', created_at = now(), created_by = $3, expires_at = NULL,
		       last_used_at = NULL, revoked_at = NULL, revoked_by = ''
		 WHERE name = $1`
	if err := report.CheckGivenToken(token); err != nil {
		return "", err
	}
	became := GivenKept
	err := s.inTx(ctx, "keep the initial token", func(tx pgx.Tx) error {
		if err := lockInitialToken(ctx, tx); err != nil {
			return err
		}
		var hash []byte
		var revoked *time.Time
		by := report.Change{Actor: report.ActorSystem}
		err := tx.QueryRow(ctx, query, initialToken).Scan(&hash, &revoked)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			became = GivenMade
			_, err := insertToken(ctx, tx, initial(), token, by)
			return err
		case err != nil:
			return err
		case bytes.Equal(hash, hashToken(token)):
			if became = GivenKept; revoked != nil {
				became = GivenRevoked
			}
			return nil
		}
		became = GivenReplaced
		if _, err := tx.Exec(ctx, replace, initialToken, hashToken(token), report.ActorSystem); err != nil {
			return err
		}
		by.Action, by.Object = actionTokenReplace, initialToken
		return saveChange(ctx, tx, by)
	})
	if isUnique(err, "api_token_hash_key") {
		return "", errs.New(errs.Conflict, "the initial token is that of another token already").WithHint("give another one")
	}
	return became, err
}
