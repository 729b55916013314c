package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// tokenCmd groups what concerns API tokens.
type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token and print it, once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens there are."`
	Revoke tokenRevokeCmd `cmd:"" help:"Make a token worthless at once."`
}

// tokenCreateCmd is tidewaiter token create.
type tokenCreateCmd struct {
	databaseFlags
	Name    string        `arg:"" help:"What the token is called; unique."`
	Scope   string        `enum:"read,triage,admin" default:"read" help:"What it may do: read; triage also asks for scans and uploads SBOMs; admin everything."`
	Prefix  []string      `placeholder:"PREFIX" help:"Repositories it may see, as host/team/; can be given several times. None means all."`
	Expires time.Duration `placeholder:"DURATION" help:"Time until it expires, as 720h. None means never."`
}

// Help is shown by --help.
func (tokenCreateCmd) Help() string {
	return `The token is printed on standard output and nowhere else; only a hash of it is kept, so a lost token cannot be shown again.

    export TIDEWAITER_TOKEN=$(tidewaiter token create ci --scope triage --expires 8760h)

    curl -H "Authorization: Bearer $TIDEWAITER_TOKEN" http://localhost:8080/api/v1/repositories`
}

// Run is called by kong.
func (c *tokenCreateCmd) Run(ctx context.Context, out *output) error {
	expires, err := c.expiry(time.Now())
	if err != nil {
		return err
	}
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	token, err := store.CreateToken(ctx, c.Name, report.Scope(c.Scope), c.Prefix, expires)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out.Stdout, token)
	return err
}

// expiry is when the token expires; the zero time for never.
func (c *tokenCreateCmd) expiry(now time.Time) (time.Time, error) {
	switch {
	case c.Expires < 0:
		return time.Time{}, errs.New(errs.Invalid, "--expires %s lies in the past", c.Expires)
	case c.Expires == 0:
		return time.Time{}, nil
	}
	return now.Add(c.Expires), nil
}

// tokenListCmd is tidewaiter token list.
type tokenListCmd struct {
	databaseFlags
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json."`
}

// Run is called by kong.
func (c *tokenListCmd) Run(ctx context.Context, out *output) error {
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	tokens, err := store.ListTokens(ctx)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeTokensJSON(out.Stdout, tokens)
	}
	return writeTokens(out.Stdout, tokens, time.Now())
}

// tokenAnswer is the JSON form of a token.
type tokenAnswer struct {
	Name       string       `json:"name"`
	Scope      report.Scope `json:"scope"`
	Prefixes   []string     `json:"prefixes"`
	CreatedAt  time.Time    `json:"created_at"`
	ExpiresAt  *time.Time   `json:"expires_at,omitempty"`
	LastUsedAt *time.Time   `json:"last_used_at,omitempty"`
	RevokedAt  *time.Time   `json:"revoked_at,omitempty"`
}

func writeTokensJSON(w io.Writer, tokens []report.Token) error {
	answers := make([]tokenAnswer, len(tokens))
	for i, t := range tokens {
		answers[i] = tokenAnswer(t)
		if t.Prefixes == nil {
			answers[i].Prefixes = []string{}
		}
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(answers)
}

func writeTokens(w io.Writer, tokens []report.Token, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tSCOPE\tREPOSITORIES\tCREATED\tLAST USED\tSTATE")
	for _, t := range tokens {
		prefixes := strings.Join(t.Prefixes, " ")
		if prefixes == "" {
			prefixes = "all"
		}
		used := "never"
		if t.LastUsedAt != nil {
			used = timeText(*t.LastUsedAt)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, t.Scope, prefixes, timeText(t.CreatedAt), used, tokenState(t, now))
	}
	return table.Flush()
}

func tokenState(t report.Token, now time.Time) string {
	switch {
	case t.RevokedAt != nil:
		return "revoked"
	case t.ExpiresAt == nil:
		return "good"
	case t.ExpiresAt.Before(now):
		return "expired"
	}
	return "good until " + timeText(*t.ExpiresAt)
}

// tokenRevokeCmd is tidewaiter token revoke.
type tokenRevokeCmd struct {
	databaseFlags
	Name string `arg:"" help:"The token's name."`
}

// Run is called by kong.
func (c *tokenRevokeCmd) Run(ctx context.Context, out *output) error {
	store, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.RevokeToken(ctx, c.Name); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.Stdout, "token %s is revoked\n", c.Name)
	return err
}
