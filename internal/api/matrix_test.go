package api_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/api/apitest"
	"github.com/tidewaiter/tidewaiter/internal/notify"
	"github.com/tidewaiter/tidewaiter/internal/oidc"
	"github.com/tidewaiter/tidewaiter/internal/oidc/oidctest"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// right is a row of the matrix: what callers get whose scope suffices, by what they
// see. Those of a lesser scope get 403, those without a token 401.
type right struct {
	route string
	path  string // with what the route needs to succeed
	body  string
	need  report.Scope // empty for everybody, without a token too
	// all is for who sees everything, inside for who sees the repositories that the
	// path is about and their neighbours, outside for who sees others.
	all, inside, outside int
	// prepare makes the request possible once more; it returns the path, where that
	// depends on it.
	prepare func(b *bench) string
}

// rights has every route. What is about all repositories is for who sees all; what
// lies outside of what a caller sees is told as what does not exist.
var rights = []right{
	{route: "GET /openapi.yaml", path: "/openapi.yaml", all: 200, inside: 200, outside: 200},

	// Listings leave out what the caller does not see.
	{route: "GET /registries", path: "/registries", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /repositories", path: "/repositories", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /events", path: "/events", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /trends", path: "/trends", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /export/findings", path: "/export/findings", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /packages", path: "/packages?name=log4j-core", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /scans", path: "/scans", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /deliveries", path: "/deliveries", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /coverage", path: "/coverage", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /coverage/repositories", path: "/coverage/repositories", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /reconciliations", path: "/reconciliations", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /vulndb", path: "/vulndb", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /vulndb/{checksum}", path: "/vulndb/" + heldBuild, need: report.ScopeRead, all: 200, inside: 200, outside: 200, prepare: holdAgain},
	{route: "GET /version", path: "/version", need: report.ScopeRead, all: 200, inside: 200, outside: 200},
	{route: "GET /tokens", path: "/tokens", need: report.ScopeAdmin, all: 200, inside: 200, outside: 200},

	// A vulnerability is there for who sees an image with it.
	{route: "GET /vulnerabilities/{id}", path: "/vulnerabilities/CVE-2021-44228", need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /vulnerabilities/{id}/images", path: "/vulnerabilities/CVE-2021-44228/images", need: report.ScopeRead, all: 200, inside: 200, outside: 404},

	// What is of one repository.
	{route: "GET /tags", path: "/tags?repository=" + appName, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /tags/history", path: "/tags/history?ref=" + appRef, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /image", path: "/image?ref=" + appRef, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /findings", path: "/findings?ref=" + appRef, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /compare", path: "/compare?from=" + appRef + "&to=" + webRef, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /upgrades", path: "/upgrades?ref=" + appRef, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /sbom", path: "/sbom?ref=" + appRef, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /coverage/manifests", path: "/coverage/manifests?repository=" + appName, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /trace", path: "/trace?ref=" + appRef, need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /scans/{id}", path: "/scans/1", need: report.ScopeRead, all: 200, inside: 200, outside: 404},
	{route: "GET /reconciliations/{id}", need: report.ScopeRead, all: 200, inside: 200, outside: 404, prepare: reconciling},
	{route: "POST /scans", path: "/scans", body: `{"image": "` + appRef + `"}`, need: report.ScopeTriage, all: 202, inside: 202, outside: 404},
	{route: "DELETE /scans/{id}", need: report.ScopeTriage, all: 200, inside: 200, outside: 404, prepare: queuedScan},
	{route: "POST /sboms", path: "/sboms?repository=team/app", body: `{"artifacts": []}`, need: report.ScopeTriage, all: 202, inside: 202, outside: 404},
	{route: "POST /reconciliations", path: "/reconciliations", body: `{"registry": "main", "repository": "team/app"}`, need: report.ScopeTriage, all: 202, inside: 202, outside: 404},

	{route: "DELETE /repositories", path: "/repositories?dry_run=true&repository=" + appName, need: report.ScopeAdmin, all: 200, inside: 200, outside: 404},

	// What is of all repositories.
	{route: "DELETE /registries/{name}", path: "/registries/main?dry_run=true", need: report.ScopeAdmin, all: 200, inside: 403, outside: 403},
	{route: "GET /notifications", path: "/notifications", need: report.ScopeRead, all: 200, inside: 403, outside: 403},
	{route: "POST /notifications/{id}/redeliver", path: "/notifications/1/redeliver", need: report.ScopeAdmin, all: 202, inside: 403, outside: 403},
	{route: "POST /notifications/channels/{name}/test", path: "/notifications/channels/good/test", need: report.ScopeAdmin, all: 200, inside: 403, outside: 403},
	{route: "POST /vulndb/check", path: "/vulndb/check", need: report.ScopeAdmin, all: 202, inside: 403, outside: 403},
	{route: "POST /vulndb/{checksum}/release", path: "/vulndb/" + heldBuild + "/release", need: report.ScopeAdmin, all: 200, inside: 403, outside: 403, prepare: holdAgain},
	{route: "POST /vulndb/{checksum}/discard", path: "/vulndb/" + heldBuild + "/discard", need: report.ScopeAdmin, all: 200, inside: 403, outside: 403, prepare: holdAgain},
	{route: "GET /audit", path: "/audit", need: report.ScopeAdmin, all: 200, inside: 403, outside: 403},

	// A token makes and ends what could do no more than itself.
	{route: "POST /tokens", path: "/tokens", body: `{"name": "NEW", "scope": "admin", "prefixes": ["` + appName + `"]}`, need: report.ScopeAdmin, all: 201, inside: 201, outside: 403},
	{route: "DELETE /tokens/{id}", need: report.ScopeAdmin, all: 200, inside: 200, outside: 404, prepare: oneMoreToken},
}

const webRef = postgrestest.Host + "/team/web:1"

// matrixBench has something for every row to succeed on.
func matrixBench(t *testing.T, people api.Tokens) *bench {
	t.Helper()
	w, address := postgrestest.Harbour(t), receiver(t)
	good, err := notify.NewChannel(notify.Settings{
		Name: "good", Type: "webhook", URL: address, Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString([]byte(receiverKey))},
	})
	if err != nil {
		t.Fatal(err)
	}
	n, err := notify.New(notify.Options{Store: w.Store, Channels: []notify.Channel{good}})
	if err != nil {
		t.Fatal(err)
	}
	b := newBench(t, w, func(o *api.Options) {
		o.Notifications = notifications{w.Store, n}
		o.Tokens = everybody{w.Store, people}
	})
	b.tell("urgent", "good", report.NewsSent)
	return b
}

func holdAgain(b *bench) string {
	b.t.Helper()
	if _, err := b.Pool.Exec(b.t.Context(), `DELETE FROM vuln_build WHERE checksum = $1`, heldBuild); err != nil {
		b.t.Fatal(err)
	}
	b.hold()
	return ""
}

func reconciling(b *bench) string {
	b.t.Helper()
	id, err := b.Store.RequestReconciliation(b.t.Context(), "main", "team/app")
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("/reconciliations/%d", id)
}

func queuedScan(b *bench) string {
	b.t.Helper()
	path, _ := b.pushed("team/app", fmt.Sprintf("t%d", next(b)))
	return path
}

func oneMoreToken(b *bench) string {
	b.t.Helper()
	made, err := b.Store.IssueToken(b.t.Context(), report.NewToken{Name: fmt.Sprintf("end-%d", next(b)), Scope: report.ScopeAdmin, Prefixes: []string{appName}},
		report.Change{Actor: report.ActorSystem})
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("/tokens/%d", made.ID)
}

// next is a number that was not there before.
func next(b *bench) (n int64) {
	b.t.Helper()
	if err := b.Pool.QueryRow(b.t.Context(), `SELECT nextval('audit_log_id_seq')`).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// everybody is API tokens and those of an issuer, as the service has them.
type everybody struct {
	*postgres.Store
	people api.Tokens
}

func (e everybody) Authenticate(ctx context.Context, token string) (report.Principal, error) {
	if report.LooksSigned(token) {
		return e.people.Authenticate(ctx, token)
	}
	return e.Store.Authenticate(ctx, token)
}

// caller is a column of the matrix.
type caller struct {
	name, token, actor string
	scope              report.Scope
	view               string
}

// views are what callers see, by name.
var views = map[string][]string{
	"all": nil, "inside": {postgrestest.Host + "/team/", "sboms/team/"}, "outside": {postgrestest.Host + "/elsewhere/"},
}

// status is the answer to expect.
func (c caller) status(r right) int {
	if r.need != "" && !c.scope.Allows(r.need) {
		return http.StatusForbidden
	}
	return map[string]int{"all": r.all, "inside": r.inside, "outside": r.outside}[c.view]
}

// callers are API tokens and people of every scope and view.
func callers(b *bench, issuer *oidctest.Issuer) []caller {
	var all []caller
	for view, prefixes := range views {
		for _, scope := range []report.Scope{report.ScopeRead, report.ScopeTriage, report.ScopeAdmin} {
			name := string(scope) + "-" + view
			all = append(all,
				caller{"token " + name, b.newToken(name, scope, prefixes...), "token:" + name, scope, view},
				caller{"person " + name, issuer.Sign(issuer.Claims("tw", name, name)), "oidc:corp/" + name, scope, view})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].name < all[j].name })
	return all
}

// issuing is an issuer whose groups are called as the callers.
func issuing(t *testing.T) (*oidctest.Issuer, *oidc.Verifier) {
	t.Helper()
	issuer := oidctest.Start(t)
	configured := oidc.Issuer{Name: "corp", URL: issuer.URL, Audience: "tw", CAFile: issuer.CAFile}
	for view, prefixes := range views {
		for _, scope := range []report.Scope{report.ScopeRead, report.ScopeTriage, report.ScopeAdmin} {
			configured.Rules = append(configured.Rules, oidc.Rule{Groups: []string{string(scope) + "-" + view}, Scope: scope, Prefixes: prefixes})
		}
	}
	people, err := oidc.New(oidc.Options{Issuers: []oidc.Issuer{configured}})
	if err != nil {
		t.Fatal(err)
	}
	return issuer, people
}

// TestWhoMayDoWhat goes through every route with every scope and view, as an API
// token and as a person of an issuer, and without a token. Every request that is
// not for reading leaves one row in the audit log, whatever became of it.
func TestWhoMayDoWhat(t *testing.T) {
	issuer, people := issuing(t)
	b := matrixBench(t, people)
	all := callers(b, issuer)
	for _, r := range rights {
		t.Run(r.route, func(t *testing.T) {
			method, _, _ := strings.Cut(r.route, " ")
			open := 401
			if r.need == "" {
				open = 200
			}
			b.try(t, r, method, caller{name: "nobody"}, open)
			for _, c := range all {
				b.try(t, r, method, c, c.status(r))
			}
		})
	}
}

// try makes one request of the matrix.
func (b *bench) try(t *testing.T, r right, method string, c caller, want int) {
	t.Helper()
	path, contentType := r.path, ""
	if r.prepare != nil {
		if made := r.prepare(b); made != "" {
			path = made
		}
	}
	if r.body != "" {
		contentType = "application/json"
	}
	before := b.audited(t)
	got := b.do(method, path, c.token, contentType, strings.ReplaceAll(r.body, "NEW", fmt.Sprintf("new-%d", next(b))))
	if got.status != want {
		t.Errorf("%s: status %d, want %d: %s", c.name, got.status, want, got.body)
	}
	if r.need != "" && c.view == "outside" && got.status < 300 && strings.Contains(string(got.body), "team/") {
		t.Errorf("%s: the answer tells of what they must not see: %s", c.name, got.body)
	}
	rows := b.audited(t)[len(before):]
	if method == http.MethodGet || c.actor == "" {
		if len(rows) != 0 {
			t.Errorf("%s: it is in the audit log: %q", c.name, rows)
		}
		return
	}
	outcome := "done"
	if got.status >= 300 {
		outcome = "refused"
	}
	if want := []string{c.actor + " " + api.Action(r.route) + " " + outcome + " 127.0.0.1"}; !slices.Equal(rows, want) {
		t.Errorf("%s: the audit log says %q, want %q", c.name, rows, want)
	}
}

// audited is what the audit log says, oldest first; what tests prepare is left out.
func (b *bench) audited(t *testing.T) []string {
	t.Helper()
	rows, err := b.Pool.Query(t.Context(), `SELECT concat_ws(' ', actor, action, outcome, address) FROM audit_log WHERE actor <> 'system' ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// No route is missing from the matrix, neither one that is served nor one that is
// documented; and every one that changes something has a name in the audit log.
func TestEveryRouteIsInTheMatrix(t *testing.T) {
	served, err := api.Routes()
	if err != nil {
		t.Fatal(err)
	}
	var documented, listed []string
	for path, item := range apitest.Document(t).Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	for _, r := range rights {
		listed = append(listed, r.route)
		if method, _, _ := strings.Cut(r.route, " "); method != http.MethodGet && api.Action(r.route) == "" {
			t.Errorf("%s changes something and has no action for the audit log", r.route)
		}
	}
	sort.Strings(documented)
	sort.Strings(listed)
	if diff := cmp.Diff(listed, served); diff != "" {
		t.Errorf("(-matrix +router):\n%s", diff)
	}
	if diff := cmp.Diff(listed, documented); diff != "" {
		t.Errorf("(-matrix +openapi.yaml):\n%s", diff)
	}
}
