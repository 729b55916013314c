package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// ask for a token.
func (b *bench) issue(token, body string) reply {
	b.t.Helper()
	return b.do(http.MethodPost, "/tokens", token, "application/json", body)
}

func TestTokensAreMadeListedAndRevoked(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	answer := b.issue(b.token, fmt.Sprintf(`{"name": "ci", "scope": "triage", "prefixes": ["%s/team"], "expires_at": %q}`, postgrestest.Host, until.Format(time.RFC3339)))
	made := into[report.IssuedToken](t, answer)
	path := fmt.Sprintf("/tokens/%d", made.ID)
	if answer.status != http.StatusCreated || answer.header.Get("Location") != "/api/v1"+path || made.CreatedBy != "token:all" || made.Prefixes[0] != postgrestest.Host+"/team/" ||
		!made.ExpiresAt.Equal(until) {
		t.Errorf("%d %s %+v", answer.status, answer.header.Get("Location"), made)
	}
	if got := b.do(http.MethodGet, "/repositories", made.Secret, "", ""); got.status != 200 {
		t.Errorf("the new token: status %d", got.status)
	}
	first := into[report.List[report.Token]](t, b.get("/tokens", "limit", "1"))
	second := into[report.List[report.Token]](t, b.get("/tokens", "limit", "1", "cursor", first.NextCursor))
	if first.Items[0].Name != "all" || second.Items[0].Name != "ci" || second.NextCursor != "" {
		t.Errorf("pages %+v and %+v", first, second)
	}
	if shown, _ := json.Marshal(second); strings.Contains(string(shown), made.Secret) {
		t.Error("the list shows the token")
	}
	if named := into[report.List[report.Token]](t, b.get("/tokens", "name", "ci")); len(named.Items) != 1 {
		t.Errorf("by name: %+v", named)
	}
	gone := into[report.Token](t, b.do(http.MethodDelete, path, b.token, "", ""))
	again := into[report.Token](t, b.do(http.MethodDelete, path, b.newToken("other", report.ScopeAdmin), "", ""))
	if gone.RevokedAt == nil || gone.RevokedBy != "token:all" || !again.RevokedAt.Equal(*gone.RevokedAt) {
		t.Errorf("revoked %+v, again %+v", gone, again)
	}
	b.do(http.MethodGet, "/repositories", made.Secret, "", "").refused(t, errs.Unauthorized, "")
}

// TestNobodyGetsMoreThanTheyHave plays the holder of a limited token who wants more.
func TestNobodyGetsMoreThanTheyHave(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	soon := time.Now().Add(time.Hour).UTC()
	mayEnd := fmt.Sprintf(`, "expires_at": %q`, soon.Add(-time.Minute).Format(time.RFC3339))
	limited, err := b.Store.IssueToken(t.Context(), report.NewToken{Name: "limited", Scope: report.ScopeAdmin, Expires: soon,
		Prefixes: []string{postgrestest.Host + "/team/"}}, report.Change{Actor: "cli:root"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, body string
		kind       errs.Kind
		field      string
	}{
		{"its own prefix", `"scope": "admin", "prefixes": ["` + postgrestest.Host + `/team/"]` + mayEnd, "", ""},
		{"one inside", `"scope": "read", "prefixes": ["` + postgrestest.Host + `/team/web"]` + mayEnd, "", ""},
		{"everything", `"scope": "read"` + mayEnd, errs.Forbidden, "prefixes"},
		{"everything, spelt out", `"scope": "read", "prefixes": []` + mayEnd, errs.Forbidden, "prefixes"},
		{"the whole host", `"scope": "read", "prefixes": ["` + postgrestest.Host + `"]` + mayEnd, errs.Forbidden, "prefixes"},
		{"a neighbour that begins alike", `"scope": "read", "prefixes": ["` + postgrestest.Host + `/team2"]` + mayEnd, errs.Forbidden, "prefixes"},
		{"a neighbour beside its own", `"scope": "read", "prefixes": ["` + postgrestest.Host + `/team/", "` + postgrestest.Host + `/other/"]` + mayEnd, errs.Forbidden, "prefixes"},
		{"the part before", `"scope": "read", "prefixes": ["/"]` + mayEnd, errs.Forbidden, "prefixes"},
		{"nothing", `"scope": "read", "prefixes": [""]` + mayEnd, errs.Forbidden, "prefixes"},
		{"a wildcard", `"scope": "read", "prefixes": ["` + postgrestest.Host + `/team/*"]` + mayEnd, errs.Invalid, "prefixes"},
		{"for ever", `"scope": "read", "prefixes": ["` + postgrestest.Host + `/team/"]`, errs.Forbidden, "expires_at"},
		{"for longer", `"scope": "read", "prefixes": ["` + postgrestest.Host + `/team/"], "expires_at": "2999-01-01T00:00:00Z"`, errs.Forbidden, "expires_at"},
		{"for no time", `"scope": "read", "prefixes": ["` + postgrestest.Host + `/team/"], "expires_at": "0001-01-01T00:00:00Z"`, errs.Invalid, "expires_at"},
		{"another scope", `"scope": "root", "prefixes": ["` + postgrestest.Host + `/team/"]` + mayEnd, errs.Invalid, "scope"},
		{"another's name", `"parent": 1, "scope": "read"`, errs.Invalid, "body"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := b.issue(limited.Secret, `{"name": "`+tt.name+`", `+tt.body+`}`)
			if tt.kind != "" {
				got.refused(t, tt.kind, tt.field)
				return
			}
			into[report.IssuedToken](t, got)
		})
	}
	// What sees more is not there for it.
	list := into[report.List[report.Token]](t, b.do(http.MethodGet, "/tokens", limited.Secret, "", ""))
	for _, token := range list.Items {
		if len(token.Prefixes) == 0 {
			t.Errorf("it is shown %+v", token)
		}
	}
	b.do(http.MethodDelete, "/tokens/1", limited.Secret, "", "").refused(t, errs.NotFound, "")
	if got := b.get("/registries"); got.status != 200 {
		t.Errorf("the other token: status %d", got.status)
	}
	b.issue(b.newToken("triage", report.ScopeTriage), `{"name": "x", "scope": "triage"}`).refused(t, errs.Forbidden, "")
	b.issue(b.token, `{"name": "limited", "scope": "read"}`).refused(t, errs.Conflict, "name")
	b.issue(b.token, `{"name": "initial-admin", "scope": "read"}`).refused(t, errs.Invalid, "name")
	b.issue(b.token, `{"name": "", "scope": "read"}`).refused(t, errs.Invalid, "name")
}

func TestTheAuditLogIsRead(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	ci := b.newToken("ci", report.ScopeTriage)
	scan := into[report.Scan](t, b.do(http.MethodPost, "/scans", ci, "application/json", `{"image": "`+appRef+`"}`))
	b.do(http.MethodDelete, "/scans/999", ci, "", "").refused(t, errs.NotFound, "")
	b.do(http.MethodPost, "/vulndb/check", ci, "", "").refused(t, errs.Forbidden, "")
	list := into[report.List[report.AuditEntry]](t, b.get("/audit", "actor", "token:ci"))
	if len(list.Items) != 3 {
		t.Fatalf("%+v", list)
	}
	for i, want := range []string{"vulndb.check vulndb/check refused forbidden", "scan.cancel scans/999 refused not_found", "scan.request " + appRef + " done "} {
		e := list.Items[i]
		if got := fmt.Sprintf("%s %s %s %s", e.Action, e.Object, e.Outcome, e.Reason); got != want || e.Address != "127.0.0.1" {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if id, ok := list.Items[2].Detail["scan"].(float64); !ok || int64(id) != scan.ID {
		t.Errorf("detail %v", list.Items[2].Detail)
	}
	if page := into[report.List[report.AuditEntry]](t, b.get("/audit", "action", "scan", "limit", "1")); len(page.Items) != 1 || page.NextCursor == "" {
		t.Errorf("%+v", page)
	}
	past := into[report.List[report.AuditEntry]](t, b.get("/audit", "until", "2020-01-01T00:00:00Z"))
	if len(past.Items) != 0 {
		t.Errorf("%+v", past)
	}
	b.get("/audit", "since", "yesterday").refused(t, errs.Invalid, "since")
	b.get("/audit", "who", "me").refused(t, errs.Invalid, "who")
}

// Refusals do not fill the disk.
func TestAFloodOfRefusalsIsCountedOnly(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	reader := b.newToken("reader", report.ScopeRead)
	for range 150 {
		b.do(http.MethodPost, "/vulndb/check", reader, "", "").refused(t, errs.Forbidden, "")
	}
	if n := len(b.audited(t)); n < 100 || n > 140 {
		t.Errorf("%d rows", n)
	}
	if got := b.do(http.MethodPost, "/vulndb/check", b.token, "", ""); got.status != http.StatusAccepted {
		t.Fatal(got.status)
	}
	if all := b.audited(t); all[len(all)-1] != "token:all vulndb.check done 127.0.0.1" {
		t.Errorf("the last is %s", all[len(all)-1])
	}
}
