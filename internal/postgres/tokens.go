package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// tokenPattern is the form of API tokens: a mark that secret scanners can look
// for, and 32 random bytes; or what an operator chose as the initial one.
var tokenPattern = regexp.MustCompile(`^(tw_[A-Za-z0-9_-]{43}|[!-~]{32,200})$`)

// CreateToken makes an API token in the name of the service itself and returns it,
// as IssueToken does.
func (s *Store) CreateToken(ctx context.Context, name string, scope report.Scope, repositories []string, expires time.Time) (string, error) {
	made, err := s.IssueToken(ctx, report.NewToken{Name: name, Scope: scope, Prefixes: repositories, Expires: expires},
		report.Change{Actor: report.ActorSystem})
	return made.Secret, err
}

// IssueToken makes an API token for by.Actor and writes that into the audit log.
// Only the token's hash is kept, so this is the one time it can be seen. Whether
// its maker may make it is for the caller to decide (report.Principal.MayIssue); a
// parent that is no longer good makes none. The error is of kind Invalid for a bad
// argument, Conflict when the name is taken, Unauthorized for the parent.
func (s *Store) IssueToken(ctx context.Context, t report.NewToken, by report.Change) (report.IssuedToken, error) {
	kept, err := checkToken(t)
	if err != nil {
		return report.IssuedToken{}, err
	}
	t.Prefixes = kept
	made := report.IssuedToken{Secret: newToken()}
	err = s.inTx(ctx, "create token", func(tx pgx.Tx) error {
		if err := holdParent(ctx, tx, t.Parent); err != nil {
			return err
		}
		made.Token, err = insertToken(ctx, tx, t, made.Secret, by)
		return err
	})
	return made, err
}

func newToken() string {
	var random [32]byte
	// crypto/rand.Read never fails; it ends the process instead.
	_, _ = rand.Read(random[:])
	return "tw_" + base64.RawURLEncoding.EncodeToString(random[:])
}

// holdParent keeps the token that asks for another one from being revoked until
// the transaction ends.
func holdParent(ctx context.Context, tx pgx.Tx, id int64) error {
	const query = `SELECT 1 FROM api_token WHERE id = $1 AND revoked_at IS NULL AND COALESCE(expires_at > now(), true) FOR SHARE`
	if id == 0 {
		return nil
	}
	var one int
	err := tx.QueryRow(ctx, query, id).Scan(&one)
	if errors.Is(err, pgx.ErrNoRows) {
		return errs.New(errs.Unauthorized, "the token was revoked or has expired")
	}
	return err
}

// insertToken adds a checked token, and says so in the audit log.
func insertToken(ctx context.Context, tx pgx.Tx, t report.NewToken, secret string, by report.Change) (report.Token, error) {
	const insert = `
		INSERT INTO api_token (name, hash, scope, prefixes, expires_at, created_by)
		VALUES (@name, @hash, @scope, @prefixes, @expires, @by)
		RETURNING ` + tokenColumns
	made, err := rows[tokenRow](ctx, tx, insert, pgx.NamedArgs{
		"name": t.Name, "hash": hashToken(secret), "scope": string(t.Scope), "prefixes": t.Prefixes, "expires": orNull(t.Expires), "by": cleanText(by.Actor),
	})
	if isUnique(err, "api_token_name_key") {
		return report.Token{}, errs.New(errs.Conflict, "there is a token named %q already", t.Name).
			WithField("name").WithHint("choose another name; revoked tokens keep theirs")
	}
	if err != nil {
		return report.Token{}, err
	}
	by.Action, by.Object, by.Detail = ActionTokenCreate, t.Name, tokenDetail(t)
	return made[0].report(), saveChange(ctx, tx, by)
}

// What the audit log calls changes of tokens.
const (
	ActionTokenCreate  = "token.create"
	ActionTokenRevoke  = "token.revoke"
	actionTokenReplace = "token.replace"
)

// tokenDetail is what the audit log says of a new token.
func tokenDetail(t report.NewToken) map[string]any {
	detail := map[string]any{"scope": string(t.Scope)}
	if len(t.Prefixes) > 0 {
		detail["prefixes"] = t.Prefixes
	}
	if !t.Expires.IsZero() {
		detail["expires_at"] = t.Expires.UTC().Format(time.RFC3339)
	}
	return detail
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,99}$`)

// checkToken returns the prefixes as they are kept: with a slash at the end.
func checkToken(t report.NewToken) ([]string, error) {
	switch {
	case !tokenName.MatchString(t.Name):
		return nil, errs.New(errs.Invalid, "token name %.120q is not 1 to 100 letters, digits, spaces or . _ @ / -", t.Name).WithField("name")
	case tokenInText.MatchString(t.Name):
		return nil, errs.New(errs.Invalid, "the name looks like a token: names are shown to everybody who may see them").WithField("name")
	case t.Name == initialToken:
		return nil, errs.New(errs.Invalid, "the name %s is kept for the token that the service makes at its first start", t.Name).
			WithField("name").WithHint("choose another name")
	}
	if _, err := report.ParseScope(string(t.Scope)); err != nil {
		return nil, err
	}
	if !t.Expires.IsZero() && !t.Expires.After(time.Now()) {
		return nil, errs.New(errs.Invalid, "the token would have expired already").WithField("expires_at")
	}
	return report.CleanPrefixes(t.Prefixes)
}

// Authenticate tells who a token belongs to and notes its use, at most once a
// minute. The error is of kind Unauthorized when it is unknown, revoked or
// expired.
func (s *Store) Authenticate(ctx context.Context, token string) (report.Principal, error) {
	const query = `
		SELECT id, name, scope, prefixes, expires_at, revoked_at IS NOT NULL AS revoked, COALESCE(expires_at <= now(), false) AS expired,
		       COALESCE(last_used_at < now() - interval '1 minute', true) AS note
		  FROM api_token WHERE hash = @hash`
	type row struct {
		ID                     int64
		Name                   string
		Scope                  string
		Prefixes               []string
		ExpiresAt              *time.Time
		Revoked, Expired, Note bool
	}
	if !tokenPattern.MatchString(token) {
		return report.Principal{}, errs.New(errs.Unauthorized, "this is not an API token").
			WithHint("tokens begin with tw_; make one with tidewaiter token create")
	}
	found, err := s.pool.Query(ctx, query, pgx.NamedArgs{"hash": hashToken(token)})
	if err != nil {
		return report.Principal{}, wrap("look up token", err)
	}
	tokens, err := pgx.CollectRows(found, pgx.RowToStructByName[row])
	switch {
	case err != nil:
		return report.Principal{}, wrap("look up token", err)
	case len(tokens) == 0:
		return report.Principal{}, errs.New(errs.Unauthorized, "the token is unknown")
	case tokens[0].Revoked:
		return report.Principal{}, errs.New(errs.Unauthorized, "the token was revoked")
	case tokens[0].Expired:
		return report.Principal{}, errs.New(errs.Unauthorized, "the token has expired")
	}
	t := tokens[0]
	if t.Note {
		if err := s.noteTokenUse(ctx, t.ID); err != nil {
			return report.Principal{}, err
		}
	}
	who := report.Principal{Token: t.Name, TokenID: t.ID, Scope: report.Scope(t.Scope), Access: report.Access{Prefixes: t.Prefixes}}
	if t.ExpiresAt != nil {
		who.Expires = t.ExpiresAt.UTC()
	}
	return who, nil
}

// noteTokenUse repeats the condition, so that of many requests at once only one
// writes.
func (s *Store) noteTokenUse(ctx context.Context, id int64) error {
	const note = `
		UPDATE api_token SET last_used_at = now()
		 WHERE id = $1 AND COALESCE(last_used_at < now() - interval '1 minute', true)`
	_, err := s.pool.Exec(ctx, note, id)
	return wrap("note token use", err)
}
