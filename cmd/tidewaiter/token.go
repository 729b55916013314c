package main

import (
	"context"
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

// tokenPlace is where tokens are kept: in the database, or with --server behind a
// running service, which is asked with a token. TIDEWAITER_SERVER does not count
// here: the first token can only be made in the database.
type tokenPlace struct {
	databaseFlags
	Server string `placeholder:"URL" help:"Ask this running service, with a token of scope admin, and leave the database alone. TIDEWAITER_SERVER is not looked at."`
	Token  string `placeholder:"TOKEN" env:"TIDEWAITER_TOKEN" help:"API token for --server; file:PATH reads it from a file. A flag can be seen in the list of processes, so prefer the variable or a file."`
	CAFile string `name:"ca-file" placeholder:"FILE" env:"TIDEWAITER_CA_FILE" help:"PEM file of certificate authorities to trust besides the system's, for --server."`
}

// keyring is what the commands do with tokens.
type keyring interface {
	issue(ctx context.Context, t report.NewToken) (report.IssuedToken, error)
	list(ctx context.Context) ([]report.Token, error)
	revoke(ctx context.Context, name string) (report.Token, error)
	close()
}

// open finds the tokens; close the answer when done.
func (p tokenPlace) open(ctx context.Context) (keyring, error) {
	if p.Server != "" {
		asked, err := serverFlags{Server: p.Server, Token: p.Token, CAFile: p.CAFile}.client()
		return servedKeyring{asked}, err
	}
	store, err := p.databaseFlags.open(ctx)
	return storedKeyring{store}, err
}

// tokenCreateCmd is tidewaiter token create.
type tokenCreateCmd struct {
	tokenPlace
	Name    string        `arg:"" help:"What the token is called; unique."`
	Scope   string        `enum:"read,triage,admin" default:"read" help:"What it may do: read; triage also asks for scans and uploads SBOMs; admin everything."`
	Prefix  []string      `placeholder:"PREFIX" help:"Repositories it may see, as host/team/; can be given several times. None means all."`
	Expires time.Duration `placeholder:"DURATION" help:"Time until it expires, as 720h. None means never."`
}

// Help is shown by --help.
func (tokenCreateCmd) Help() string {
	return `The token is printed on standard output and nowhere else; only a hash of it is kept, so a lost token cannot be shown again.

    export TIDEWAITER_TOKEN=$(tidewaiter token create ci --scope triage --expires 8760h)

    curl -H "Authorization: Bearer $TIDEWAITER_TOKEN" http://localhost:8080/api/v1/repositories

It works on the database, as the first token has to; with --server it asks a running service, whose tokens make none that can do more than themselves. Either way the audit log says who made it.

    tidewaiter token create web --prefix registry.example/web/ --server https://tidewaiter.example`
}

// Run is called by kong.
func (c *tokenCreateCmd) Run(ctx context.Context, out *output) error {
	expires, err := c.expiry(time.Now())
	if err != nil {
		return err
	}
	tokens, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer tokens.close()
	made, err := tokens.issue(ctx, report.NewToken{Name: c.Name, Scope: report.Scope(c.Scope), Prefixes: c.Prefix, Expires: expires})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out.Stdout, made.Secret)
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
	tokenPlace
	Output string `short:"o" enum:"table,json" default:"table" help:"Form of the answer: table or json."`
}

// Run is called by kong.
func (c *tokenListCmd) Run(ctx context.Context, out *output) error {
	tokens, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer tokens.close()
	all, err := tokens.list(ctx)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return writeTokensJSON(out.Stdout, all)
	}
	return writeTokens(out.Stdout, all, time.Now())
}

func writeTokensJSON(w io.Writer, tokens []report.Token) error {
	answers := append([]report.Token{}, tokens...)
	for i := range answers {
		if answers[i].Prefixes == nil {
			answers[i].Prefixes = []string{}
		}
	}
	return writeJSON(w, answers)
}

func writeTokens(w io.Writer, tokens []report.Token, now time.Time) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NAME\tSCOPE\tREPOSITORIES\tCREATED\tBY\tLAST USED\tSTATE")
	for _, t := range tokens {
		prefixes := strings.Join(t.Prefixes, " ")
		if prefixes == "" {
			prefixes = "all"
		}
		by := t.CreatedBy
		if by == "" {
			by = "-"
		}
		used := "never"
		if t.LastUsedAt != nil {
			used = timeText(*t.LastUsedAt)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			line(t.Name), line(string(t.Scope)), line(prefixes), timeText(t.CreatedAt), line(by), used, tokenState(t, now))
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
	tokenPlace
	Name string `arg:"" help:"The token's name."`
}

// Run is called by kong.
func (c *tokenRevokeCmd) Run(ctx context.Context, out *output) error {
	tokens, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer tokens.close()
	revoked, err := tokens.revoke(ctx, c.Name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out.Stdout, "token %s is revoked\n", line(revoked.Name))
	return err
}
