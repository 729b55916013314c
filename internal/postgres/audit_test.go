package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func TestAuditLog(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	changes := []report.Change{
		{Actor: "token:ci", Address: "198.51.100.7", Request: "r1", Action: "scan.request", Object: "r.example/a:1", Detail: map[string]any{"scan": 7.0}},
		{Actor: "oidc:corp/alice", Subject: "u-1", Action: "token.create", Object: "web", Outcome: report.ChangeRefused, Reason: errs.Forbidden},
		{Actor: "cli:root", Action: "token.revoke", Object: "web"},
	}
	for i, c := range changes {
		if err := store.SaveChange(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if _, err := pool.Exec(t.Context(), `UPDATE audit_log SET at = now() - make_interval(hours => $1) WHERE id = $2`, len(changes)-i, i+1); err != nil {
			t.Fatal(err)
		}
	}
	all, err := store.Audit(t.Context(), report.AuditFilter{}, report.Page{})
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range all.Items {
		want := changes[len(changes)-1-i]
		if want.Outcome == "" {
			want.Outcome = report.ChangeDone
		}
		if want.Detail == nil {
			want.Detail = map[string]any{}
		}
		if diff := cmp.Diff(want, e.Change); diff != "" {
			t.Error(diff)
		}
	}
	now := time.Now()
	for _, tt := range []struct {
		filter report.AuditFilter
		want   string
	}{
		{report.AuditFilter{}, "3 2 1"}, {report.AuditFilter{Actor: "token:ci"}, "1"}, {report.AuditFilter{Action: "token"}, "3 2"},
		{report.AuditFilter{Action: "token.revoke"}, "3"}, {report.AuditFilter{Action: "toke"}, ""}, {report.AuditFilter{Object: "web", Actor: "cli:root"}, "3"},
		{report.AuditFilter{Since: now.Add(-150 * time.Minute)}, "3 2"}, {report.AuditFilter{Until: now.Add(-90 * time.Minute)}, "2 1"},
	} {
		var got []string
		for p := (report.Page{Limit: 1}); ; {
			list, err := store.Audit(t.Context(), tt.filter, p)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range list.Items {
				got = append(got, fmt.Sprint(e.ID))
			}
			if p.Cursor = list.NextCursor; p.Cursor == "" {
				break
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%+v: %v, want %s", tt.filter, got, tt.want)
		}
	}
	if _, err := store.Audit(t.Context(), report.AuditFilter{}, report.Page{Cursor: "x"}); !errs.Is(err, errs.Invalid) {
		t.Errorf("cursor: %v", err)
	}
}

// Callers choose many of the words of a row.
func TestTheAuditLogHoldsWhateverComes(t *testing.T) {
	store := postgres.New(pgtest.New(t))
	token := "tw_" + strings.Repeat("x", 43)
	err := store.SaveChange(t.Context(), report.Change{
		Actor: "token:\x00\xff", Action: "scan.request", Object: strings.Repeat("a", 1<<20) + token,
		Detail: map[string]any{"image": "a\x00b" + token, "list": []string{token, "\x00"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.SaveChange(t.Context(), report.Change{Actor: "a", Action: "b", Object: token, Detail: map[string]any{"all": make([]int, 10_000)}}); err != nil {
		t.Fatal(err)
	}
	list, err := store.Audit(t.Context(), report.AuditFilter{}, report.Page{})
	if err != nil || len(list.Items) != 2 || len(list.Items[1].Object) > 1000 || list.Items[0].Detail["too_large"] != true {
		t.Errorf("%v, %+v", err, list)
	}
	if shown := fmt.Sprintf("%+v", list); strings.Contains(shown, token) {
		t.Error("a token is shown")
	}
}

func TestTheAuditLogIsCollected(t *testing.T) {
	pool := pgtest.New(t)
	store := postgres.New(pool)
	for range 3 {
		if err := store.SaveChange(t.Context(), report.Change{Actor: "cli:root", Action: "token.create"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pool.Exec(t.Context(), `UPDATE audit_log SET at = now() - interval '40 days' WHERE id < 3`); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		keep time.Duration
		want int64
	}{{0, 0}, {41 * 24 * time.Hour, 0}, {39 * 24 * time.Hour, 2}} {
		done, err := store.Collect(t.Context(), postgres.Retention{Audit: tt.keep}, postgres.CollectOptions{})
		if err != nil || done.Figures["audit_log"].Rows != tt.want {
			t.Errorf("%v: %+v, %v, want %d rows", tt.keep, done, err, tt.want)
		}
	}
}
