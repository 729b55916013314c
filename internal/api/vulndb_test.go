package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

const heldBuild = "sha256:3f2a91c0000000000000000000000000000000000000000000000000000000ff"

// hold puts a build into the state held, as a feed that lost an ecosystem would
// be.
func (b *bench) hold() {
	b.t.Helper()
	_, err := b.Store.Pool().Exec(b.t.Context(), `
		INSERT INTO vuln_build (checksum, engine, engine_version, config, schema_version, built, source, state, reason, held_at, base_build, report)
		SELECT $1, 'grype', 'v0', '1-x', 'v6', now(), 'https://user:secret@mirror.example/x', 'held', 'knows nothing about ecosystem:npm any more', now(), id,
		       '{"names": 3, "records": 1, "packages": 20, "before": {"ecosystem:npm": 30}, "after": {}, "matches": {"ecosystem:npm": {"before": 20, "closed": 20, "opened": 0}}}'
		  FROM vuln_build WHERE state = 'active'`, heldBuild)
	if err != nil {
		b.t.Fatal(err)
	}
}

func TestABuildIsShownWithWhatItChanges(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	b.hold()
	for _, name := range []string{heldBuild, strings.TrimPrefix(heldBuild, "sha256:"), "3f2a91c0", "sha256:3f2a91c0"} {
		got := into[report.BuildState](t, b.get("/vulndb/"+name))
		if got.Checksum != heldBuild || got.State != "held" || got.HeldAt == nil || strings.Contains(got.Source, "secret") {
			t.Fatalf("%s: %+v", name, got)
		}
		if c := got.Changes; c == nil || c.Matches.Closed != 20 || len(c.Scopes) != 1 || c.Scopes[0].Records.Before != 30 {
			t.Errorf("%s: changes %+v", name, c)
		}
	}
	list := into[report.Builds](t, b.get("/vulndb"))
	if list.Active == nil || list.Active.State != "active" || len(list.Recent) < 2 || list.Recent[1].Changes.Scopes != nil {
		t.Errorf("builds = %+v", list)
	}
	b.get("/vulndb/3f2a91c1").refused(t, errs.NotFound, "checksum")
	for _, bad := range []string{"latest", "3f2a", "sha256:%25", "3F2A91C0"} {
		b.get("/vulndb/"+bad).refused(t, errs.Invalid, "checksum")
	}
}

func TestOnlyAdministratorsDecideAboutBuilds(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	b.hold()
	triage := b.newToken("triage", report.ScopeTriage)
	limited := b.newToken("limited", report.ScopeAdmin, postgrestest.Host+"/team/")
	for _, path := range []string{"/vulndb/check", "/vulndb/" + heldBuild + "/release", "/vulndb/" + heldBuild + "/discard"} {
		for _, token := range []string{triage, limited} {
			b.do(http.MethodPost, path, token, "", "").refused(t, errs.Forbidden, "")
		}
	}
	if got := into[report.Builds](t, b.get("/vulndb")); got.Check.RequestedAt != nil || got.Recent[1].State != "held" {
		t.Errorf("somebody else decided: %+v", got)
	}
	answer := b.do(http.MethodPost, "/vulndb/check", b.token, "", "")
	if got := into[report.Builds](t, answer); answer.status != http.StatusAccepted || got.Check.RequestedAt == nil || got.Check.Over() {
		t.Errorf("%d %+v", answer.status, got.Check)
	}
	if got := into[report.BuildState](t, b.do(http.MethodPost, "/vulndb/3f2a91c0/release", b.token, "", "")); got.State != "candidate" || got.ReleasedAt == nil || got.Progress == nil {
		t.Errorf("released: %+v", got)
	}
	b.do(http.MethodPost, "/vulndb/3f2a91c0/release", b.token, "", "").refused(t, errs.Conflict, "")
	if got := into[report.BuildState](t, b.do(http.MethodPost, "/vulndb/3f2a91c0/discard", b.token, "", "")); got.State != "retired" || got.Reason != "discarded" {
		t.Errorf("discarded: %+v", got)
	}
	b.do(http.MethodPost, "/vulndb/3f2a91c0/discard", b.token, "", "").refused(t, errs.Conflict, "")
	b.do(http.MethodPost, "/vulndb/00000000/discard", b.token, "", "").refused(t, errs.NotFound, "checksum")
}

func TestAnOldBuildIsAnAlarm(t *testing.T) {
	for _, c := range []struct {
		age  time.Duration
		want bool
	}{{0, false}, {time.Second, true}, {1 << 62, false}} {
		b := newBench(t, postgrestest.Harbour(t), func(o *api.Options) { o.DatabaseAlarm = c.age })
		if got := into[report.Builds](t, b.get("/vulndb")); got.Alarm != (c.want && !got.Active.Sample) {
			t.Errorf("alarm at %v: %v (built %v)", c.age, got.Alarm, got.Active.Built)
		}
	}
}
