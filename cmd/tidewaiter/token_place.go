package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// onCommandLine is a change that is made here, in the database, as the audit log
// has it. Who is at the keyboard only their system knows.
func onCommandLine() report.Change {
	name := strconv.Itoa(os.Getuid())
	if who, err := user.Current(); err == nil && who.Username != "" {
		name = who.Username
	}
	return report.Change{Actor: "cli:" + name}
}

// storedKeyring works on the database.
type storedKeyring struct{ store *postgres.Store }

func (k storedKeyring) issue(ctx context.Context, t report.NewToken) (report.IssuedToken, error) {
	made, err := k.store.IssueToken(ctx, t, onCommandLine())
	return made, databaseError(err)
}

func (k storedKeyring) list(ctx context.Context) ([]report.Token, error) {
	return allPages(func(p report.Page) (report.List[report.Token], error) {
		return k.store.ListTokens(ctx, report.Access{}, report.TokenFilter{}, p)
	})
}

func (k storedKeyring) revoke(ctx context.Context, name string) (report.Token, error) {
	return k.store.RevokeTokenNamed(ctx, name, onCommandLine())
}

func (k storedKeyring) close() { k.store.Close() }

// servedKeyring asks a running service.
type servedKeyring struct{ asked *client }

// wantedToken is what the API is asked for.
type wantedToken struct {
	Name      string       `json:"name"`
	Scope     report.Scope `json:"scope"`
	Prefixes  []string     `json:"prefixes,omitempty"`
	ExpiresAt *time.Time   `json:"expires_at,omitempty"`
}

func (k servedKeyring) issue(ctx context.Context, t report.NewToken) (made report.IssuedToken, err error) {
	wanted := wantedToken{Name: t.Name, Scope: t.Scope, Prefixes: t.Prefixes}
	if !t.Expires.IsZero() {
		wanted.ExpiresAt = &t.Expires
	}
	err = k.asked.post(ctx, "/tokens", wanted, &made)
	if err == nil && made.Secret == "" {
		err = errs.New(errs.Malformed, "the answer of %s holds no token", k.asked.base.Host).WithHint(otherServer)
	}
	return made, err
}

func (k servedKeyring) list(ctx context.Context) ([]report.Token, error) {
	return allPages(func(p report.Page) (list report.List[report.Token], err error) {
		parameters := url.Values{"limit": {strconv.Itoa(report.MaxLimit)}}
		if p.Cursor != "" {
			parameters.Set("cursor", p.Cursor)
		}
		err = k.asked.get(ctx, "/tokens", parameters, &list)
		return list, err
	})
}

func (k servedKeyring) revoke(ctx context.Context, name string) (revoked report.Token, err error) {
	var found report.List[report.Token]
	if err := k.asked.get(ctx, "/tokens", url.Values{"name": {name}}, &found); err != nil {
		return revoked, err
	}
	if name == "" || len(found.Items) != 1 || found.Items[0].Name != name {
		return revoked, errs.New(errs.NotFound, "there is no token named %.120q that the one in use may revoke", name)
	}
	return revoked, k.asked.delete(ctx, fmt.Sprintf("/tokens/%d", found.Items[0].ID), &revoked)
}

func (servedKeyring) close() {}

// allPages reads a listing to its end.
func allPages[T any](read func(report.Page) (report.List[T], error)) ([]T, error) {
	var all []T
	p := report.Page{Limit: report.MaxLimit}
	for {
		list, err := read(p)
		if err != nil {
			return nil, err
		}
		all = append(all, list.Items...)
		if list.NextCursor == "" || list.NextCursor == p.Cursor {
			return all, nil
		}
		p.Cursor = list.NextCursor
	}
}
