package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

func forgetPath(repository string, more ...string) string {
	return "/repositories?" + url.Values{"repository": {repository}}.Encode() + strings.Join(more, "")
}

func TestForgetRepository(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	team := b.newToken("team", report.ScopeAdmin, postgrestest.Host+"/team")
	preview := into[report.Forgotten](t, b.do(http.MethodDelete, forgetPath("alias.example.com:5000/team/app", "&dry_run=true"), team, "", ""))
	if preview.Repository != appName || !preview.DryRun || !preview.Configured || preview.Note == "" || preview.Counts.Tags != 2 {
		t.Errorf("dry run: %+v", preview)
	}
	if got := b.get("/tags", "repository", appName); got.status != http.StatusOK {
		t.Errorf("after the dry run: status %d", got.status)
	}
	got := into[report.Forgotten](t, b.do(http.MethodDelete, forgetPath(appName), team, "", ""))
	if !got.Done || got.DryRun || got.Counts != preview.Counts {
		t.Errorf("forgot %+v", got)
	}
	b.get("/tags", "repository", appName).refused(t, errs.NotFound, "")
	b.do(http.MethodDelete, forgetPath(appName), team, "", "").refused(t, errs.NotFound, "")
	log := into[report.List[report.AuditEntry]](t, b.get("/audit", "action", "repository.forget"))
	if len(log.Items) != 3 || log.Items[1].Actor != "token:team" || log.Items[1].Object != appName || log.Items[1].Detail["tags"] != float64(2) || log.Items[0].Outcome != report.ChangeRefused {
		t.Errorf("audit log: %+v", log.Items)
	}
	if uploads := into[report.Forgotten](t, b.do(http.MethodDelete, forgetPath("sboms/team/app"), b.token, "", "")); !uploads.Done || uploads.Registry != "sboms" || uploads.Note != "" {
		t.Errorf("uploads: %+v", uploads)
	}
}

func TestForgetRefuses(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	team := b.newToken("team", report.ScopeAdmin, postgrestest.Host+"/team")
	for _, tt := range []struct {
		name, path, token string
		kind              errs.Kind
		field             string
	}{
		{"no repository", "/repositories", b.token, errs.Invalid, "repository"},
		{"no word", forgetPath(appName, "&dry_run=perhaps"), b.token, errs.Invalid, "dry_run"},
		{"a filter that there is not", forgetPath(appName, "&older=1"), b.token, errs.Invalid, "older"},
		{"a host that there is not", forgetPath("elsewhere.example.com/a"), b.token, errs.NotFound, "repository"},
		{"a token that may not", forgetPath(appName), b.newToken("triage", report.ScopeTriage), errs.Forbidden, ""},
		{"another's repository", forgetPath(postgrestest.Host + "/other/secret"), team, errs.NotFound, ""},
		{"another's repository, dry", forgetPath(postgrestest.Host+"/other/secret", "&dry_run=true"), team, errs.NotFound, ""},
		{"a registry, limited", "/registries/main", team, errs.Forbidden, ""},
		{"a registry, limited and dry", "/registries/main?dry_run=true", team, errs.Forbidden, ""},
		{"a registry that there is not", "/registries/nobody", b.token, errs.NotFound, "name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.do(http.MethodDelete, tt.path, tt.token, "", "").refused(t, tt.kind, tt.field)
		})
	}
	if found := into[report.List[report.Repository]](t, b.get("/repositories")); len(found.Items) != 8 {
		t.Errorf("%d repositories are left of 8", len(found.Items))
	}
}

func TestForgetRegistry(t *testing.T) {
	w := postgrestest.Harbour(t)
	b := newBench(t, w)
	preview := into[report.Forgotten](t, b.do(http.MethodDelete, "/registries/main?dry_run=true", b.token, "", ""))
	if !preview.Configured || !strings.Contains(preview.Note, "configuration") || preview.Counts.Repositories != 7 {
		t.Errorf("dry run: %+v", preview)
	}
	nobody := serve(t, w, newHandler(t, w, func(o *api.Options) { o.Hosts = func(string) (string, bool) { return "", false } }))
	got := into[report.Forgotten](t, nobody.do(http.MethodDelete, "/registries/main", b.token, "", ""))
	if got.Configured || got.Note != "" || !got.Done || got.Counts.Repositories != 7 {
		t.Errorf("forgot %+v", got)
	}
	left := into[report.List[report.Registry]](t, b.get("/registries"))
	if len(left.Items) != 1 || left.Items[0].Name != "sboms" {
		t.Errorf("left: %+v", left.Items)
	}
	log := into[report.List[report.AuditEntry]](t, b.get("/audit", "action", "registry.forget"))
	if len(log.Items) != 2 || log.Items[0].Object != "main" || log.Items[0].Detail["repositories"] != float64(7) {
		t.Errorf("audit log: %+v", log.Items)
	}
}

func TestVersion(t *testing.T) {
	b := newBench(t, postgrestest.New(t), func(o *api.Options) {
		o.Program = report.Version{Version: "v1.2.3", Go: "go1", Engine: report.ToolVersion{Name: "grype", Version: "v0.1"}, Cataloger: report.ToolVersion{Name: "syft", Version: "v1"}}
	})
	got := into[report.Version](t, b.get("/version"))
	if got.Version != "v1.2.3" || got.Schema < 15 || got.Build == nil || got.Build.Checksum != "sha256:one" || got.Engine.Name != "grype" {
		t.Errorf("version: %+v", got)
	}
	b.get("/version", "x", "1").refused(t, errs.Invalid, "x")
}
