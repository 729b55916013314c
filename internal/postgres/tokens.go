package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// tokenPattern is the form of API tokens: a mark that secret scanners can look
// for, and 32 random bytes.
var tokenPattern = regexp.MustCompile(`^tw_[A-Za-z0-9_-]{43}$`)

// CreateToken makes an API token and returns it; only its hash is kept, so this
// is the one time it can be seen. prefixes limit it to repositories under
// "host/team/"; none means all. A zero expires means never. The error is of kind
// Invalid for a bad argument and Conflict when the name is taken.
func (s *Store) CreateToken(ctx context.Context, name string, scope report.Scope, repositories []string, expires time.Time) (string, error) {
	const insert = `
		INSERT INTO api_token (name, hash, scope, prefixes, expires_at)
		VALUES (@name, @hash, @scope, @prefixes, @expires)`
	kept, err := checkToken(name, scope, repositories, expires)
	if err != nil {
		return "", err
	}
	var random [32]byte
	// crypto/rand.Read never fails; it ends the process instead.
	_, _ = rand.Read(random[:])
	token := "tw_" + base64.RawURLEncoding.EncodeToString(random[:])
	var until *time.Time
	if !expires.IsZero() {
		until = &expires
	}
	_, err = s.pool.Exec(ctx, insert, pgx.NamedArgs{
		"name": name, "hash": hashToken(token), "scope": string(scope), "prefixes": kept, "expires": until,
	})
	if isUnique(err, "api_token_name_key") {
		return "", errs.New(errs.Conflict, "there is a token named %q already", name).
			WithField("name").WithHint("choose another name; revoked tokens keep theirs")
	}
	if err != nil {
		return "", wrap("create token", err)
	}
	return token, nil
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

var tokenName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._@/-]{0,99}$`)

// checkToken returns the prefixes as they are kept: with a slash at the end.
func checkToken(name string, scope report.Scope, repositories []string, expires time.Time) ([]string, error) {
	if !tokenName.MatchString(name) {
		return nil, errs.New(errs.Invalid, "token name %.120q is not 1 to 100 letters, digits, spaces or . _ @ / -", name).WithField("name")
	}
	if _, err := report.ParseScope(string(scope)); err != nil {
		return nil, err
	}
	if !expires.IsZero() && !expires.After(time.Now()) {
		return nil, errs.New(errs.Invalid, "the token would have expired already").WithField("expires")
	}
	kept := []string{}
	for _, p := range repositories {
		trimmed := strings.Trim(p, "/")
		if trimmed == "" || cleanText(p) != p || strings.ContainsAny(p, "* \t\n@") {
			return nil, errs.New(errs.Invalid, "repository prefix %.200q is not host/team/", p).
				WithField("prefixes").WithHint("write it as host/team/ or host/team/app, without wildcards")
		}
		kept = append(kept, trimmed+"/")
	}
	return kept, nil
}

// Authenticate tells who a token belongs to and notes its use, at most once a
// minute. The error is of kind Unauthorized when it is unknown, revoked or
// expired.
func (s *Store) Authenticate(ctx context.Context, token string) (report.Principal, error) {
	const query = `
		SELECT id, name, scope, prefixes, revoked_at IS NOT NULL AS revoked, COALESCE(expires_at <= now(), false) AS expired,
		       COALESCE(last_used_at < now() - interval '1 minute', true) AS note
		  FROM api_token WHERE hash = @hash`
	type row struct {
		ID                     int64
		Name                   string
		Scope                  string
		Prefixes               []string
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
	return report.Principal{Token: t.Name, Scope: report.Scope(t.Scope), Access: report.Access{Prefixes: t.Prefixes}}, nil
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

// ListTokens lists all tokens by name, revoked and expired ones too.
func (s *Store) ListTokens(ctx context.Context) ([]report.Token, error) {
	const query = `
		SELECT name, scope, prefixes, created_at, expires_at, last_used_at, revoked_at FROM api_token ORDER BY name`
	found, err := s.pool.Query(ctx, query)
	if err != nil {
		return nil, wrap("list tokens", err)
	}
	tokens, err := pgx.CollectRows(found, pgx.RowToStructByName[report.Token])
	for i := range tokens {
		t := &tokens[i]
		t.CreatedAt, t.ExpiresAt, t.LastUsedAt, t.RevokedAt = t.CreatedAt.UTC(), utc(t.ExpiresAt), utc(t.LastUsedAt), utc(t.RevokedAt)
	}
	return tokens, wrap("list tokens", err)
}

// RevokeToken ends a token at once. Revoking it again changes nothing. The
// error is of kind NotFound when there is none of that name.
func (s *Store) RevokeToken(ctx context.Context, name string) error {
	const revoke = `UPDATE api_token SET revoked_at = COALESCE(revoked_at, now()) WHERE name = $1`
	done, err := s.pool.Exec(ctx, revoke, name)
	if err == nil && done.RowsAffected() == 0 {
		return errs.New(errs.NotFound, "there is no token named %.120q", name)
	}
	return wrap("revoke token", err)
}
