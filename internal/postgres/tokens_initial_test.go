package postgres_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestOneFirstTokenOfManyReplicas(t *testing.T) {
	pool := pgtest.New(t)
	made := make(chan string, 8)
	var all sync.WaitGroup
	for range cap(made) {
		all.Go(func() {
			token, err := postgres.New(pool).FirstToken(t.Context())
			if err != nil {
				t.Error(err)
			}
			made <- token
		})
	}
	all.Wait()
	close(made)
	var token string
	for m := range made {
		if m != "" && token != "" {
			t.Error("two were made")
		}
		token += m
	}
	who, err := postgres.New(pool).Authenticate(t.Context(), token)
	if err != nil || who.Token != "initial-admin" || who.Scope != report.ScopeAdmin || who.Access.Limited() {
		t.Errorf("%+v, %v", who, err)
	}
}

// Where there was a token once, none is made: to revoke all is to keep all out.
func TestNoFirstTokenBesideOthers(t *testing.T) {
	store := postgres.New(pgtest.New(t))
	if _, err := store.CreateToken(t.Context(), "ci", report.ScopeRead, nil, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := store.RevokeTokenNamed(t.Context(), "ci", report.Change{Actor: "cli:root"}); err != nil {
		t.Fatal(err)
	}
	if made, err := store.FirstToken(t.Context()); made != "" || err != nil {
		t.Errorf("%q, %v", made, err)
	}
}

func TestGivenToken(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	one, two := "first+"+strings.Repeat("aB3$eF6-", 4), "second"+strings.Repeat("aB3$eF6-", 4)
	give := func(token string, want postgres.GivenToken) {
		t.Helper()
		if got, err := store.GiveToken(t.Context(), token); got != want || err != nil {
			t.Errorf("%q, %v; want %s", got, err, want)
		}
	}
	good := func(token string, want bool) {
		t.Helper()
		who, err := store.Authenticate(t.Context(), token)
		if (err == nil) != want || want && who.Scope != report.ScopeAdmin || err != nil && !errs.Is(err, errs.Unauthorized) {
			t.Errorf("%+v, %v; want it good: %v", who, err, want)
		}
	}
	give(one, postgres.GivenMade)
	give(one, postgres.GivenKept)
	good(one, true)
	give(two, postgres.GivenReplaced)
	good(one, false)
	good(two, true)
	if _, err := store.RevokeTokenNamed(t.Context(), "initial-admin", report.Change{Actor: "token:x"}); err != nil {
		t.Fatal(err)
	}
	give(two, postgres.GivenRevoked)
	good(two, false)
	give(one, postgres.GivenReplaced)
	good(one, true)
	for _, weak := range []string{"", "letmein", strings.Repeat("ab", 30), strings.Repeat("aB3$eF6-xyz9", 4) + " ", strings.Repeat("aB3$eF6-xyz9", 40),
		"eyJ" + strings.Repeat("aB3eF6xyz9", 4) + ".x.y"} {
		if _, err := store.GiveToken(t.Context(), weak); !errs.Is(err, errs.Invalid) || weak != "" && strings.Contains(err.Error(), weak) {
			t.Errorf("%q: %v", weak, err)
		}
	}
	log, err := store.Audit(t.Context(), report.AuditFilter{Object: "initial-admin"}, report.Page{})
	if err != nil || len(log.Items) != 4 || log.Items[0].Action != "token.replace" {
		t.Errorf("%+v, %v", log, err)
	}
	var stored string
	if err := pool.QueryRow(t.Context(), `SELECT api_token::text FROM api_token`).Scan(&stored); err != nil || strings.Contains(stored, one) {
		t.Errorf("%s, %v", stored, err)
	}
}
