package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/postgres/postgrestest"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
)

func TestRequestScan(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	got := b.do("POST", "/scans", b.token, "application/json", `{"image": "alias.example.com:5000/team/new:3"}`)
	queued := into[report.Scan](t, got)
	if got.status != http.StatusAccepted || queued.State != report.RunQueued || queued.Cause != "request" || queued.Repository != postgrestest.Host+"/team/new" || queued.Tag != "3" {
		t.Errorf("status %d, scan %+v", got.status, queued)
	}
	followed := into[report.Scan](t, b.do("GET", strings.TrimPrefix(got.header.Get("Location"), api.Prefix), b.token, "", ""))
	if followed.ID != queued.ID {
		t.Errorf("Location leads to scan %d, want %d", followed.ID, queued.ID)
	}
	again := into[report.Scan](t, b.do("POST", "/scans", b.token, "application/json", `{"image": "`+postgrestest.Host+`/team/new:3"}`))
	if again.ID != queued.ID {
		t.Errorf("asked again: scan %d, want the one that waits, %d", again.ID, queued.ID)
	}
	pending := into[report.Image](t, b.get("/image", "ref", postgrestest.Host+"/team/new:3"))
	if pending.Answer != report.Pending || pending.LastScan.ID != queued.ID {
		t.Errorf("image = %+v, want it pending", pending)
	}
}

func TestRequestScanRefuses(t *testing.T) {
	b := newBench(t, postgrestest.Harbour(t))
	tests := []struct {
		name, body string
		kind       errs.Kind
		field      string
	}{
		{"no body", ``, errs.Invalid, "body"},
		{"no JSON", `{`, errs.Invalid, "body"},
		{"another type", `{"image": 1}`, errs.Invalid, "body"},
		{"an unknown field", `{"image": "` + appRef + `", "force": true}`, errs.Invalid, "body"},
		{"two values", `{"image": "` + appRef + `"} {}`, errs.Invalid, "body"},
		{"no image", `{}`, errs.Invalid, "image"},
		{"no reference", `{"image": "a b"}`, errs.Invalid, "image"},
		{"NUL", `{"image": "a\u0000b"}`, errs.Invalid, "image"},
		{"a host that is not configured", `{"image": "169.254.169.254/latest/meta-data:1"}`, errs.NotFound, "image"},
		{"Docker Hub, not configured", `{"image": "nginx"}`, errs.NotFound, "image"},
		{"an upload", `{"image": "sboms/team/app:ci"}`, errs.Invalid, "image"},
		{"huge", `{"image": "` + strings.Repeat("a", 70_000) + `"}`, errs.TooLarge, "body"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.do("POST", "/scans", b.token, "application/json", tt.body).refused(t, tt.kind, tt.field)
		})
	}
	if got := into[report.List[report.Scan]](t, b.get("/scans", "state", "queued")); len(got.Items) != 0 {
		t.Errorf("refused requests queued %d scans", len(got.Items))
	}
}

func TestUpload(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	document := ` {"bomFormat": "CycloneDX"}`
	got := b.do("POST", "/sboms?repository=team/app&tag=1.2", b.token, "application/vnd.cyclonedx+json", document)
	up := into[api.Upload](t, got)
	if got.status != http.StatusAccepted || up.Image != "sboms/team/app:1.2" || up.Digest != image.DigestOf([]byte(document)) || up.Scan.Cause != "upload" {
		t.Errorf("status %d, upload %+v", got.status, up)
	}
	if stored, err := b.Store.Upload(t.Context(), up.Digest); err != nil || string(stored) != document {
		t.Errorf("kept %q, %v; want the very bytes", stored, err)
	}
	if got := into[report.Image](t, b.get("/image", "ref", up.Image)); got.Answer != report.Pending {
		t.Errorf("answer = %s, want pending", got.Answer)
	}
	latest := into[api.Upload](t, b.do("POST", "/sboms?repository=app", b.token, "application/json", `{"artifacts": []}`))
	if latest.Image != "sboms/app:latest" {
		t.Errorf("without a tag: %s", latest.Image)
	}
	shown := into[api.Upload](t, b.do("POST", "/sboms?repository=sboms/b/x", b.token, "application/json", `{"spdxVersion": "SPDX-2.3"}`))
	if shown.Image != "sboms/b/x:latest" || shown.Scan.Repository != "sboms/b/x" {
		t.Errorf("by the name that answers show: %s, %s", shown.Image, shown.Scan.Repository)
	}
}

func TestUploadRefuses(t *testing.T) {
	b := newBench(t, postgrestest.New(t), func(o *api.Options) { o.UploadBytes = 1000 })
	tests := []struct {
		name, query, body string
		kind              errs.Kind
		field             string
	}{
		{"no repository", "", `{}`, errs.Invalid, "repository"},
		{"upper case", "?repository=Team/App", `{}`, errs.Invalid, "repository"},
		{"a tag in the name", "?repository=team/app:1", `{}`, errs.Invalid, "repository"},
		{"a path out", "?repository=../app", `{}`, errs.Invalid, "repository"},
		{"no tag", "?repository=team/app&tag=a/b", `{}`, errs.Invalid, "tag"},
		{"no body", "?repository=team/app", ``, errs.Invalid, "body"},
		{"no JSON", "?repository=team/app", `<bom/>`, errs.Invalid, "body"},
		{"no object", "?repository=team/app", `[1]`, errs.Invalid, "body"},
		{"no SBOM", "?repository=team/app", `{}`, errs.Invalid, "body"},
		{"the marks deeper down", "?repository=team/app", `{"sbom":{"bomFormat":"CycloneDX"}}`, errs.Invalid, "body"},
		{"only the place of uploads", "?repository=sboms/", `{"artifacts":[]}`, errs.Invalid, "repository"},
		{"cut off", "?repository=team/app", `{"a":`, errs.Invalid, "body"},
		{"too large", "?repository=team/app", `{"a":"` + strings.Repeat("x", 1000) + `"}`, errs.TooLarge, "body"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.do("POST", "/sboms"+tt.query, b.token, "application/json", tt.body).refused(t, tt.kind, tt.field)
		})
	}
}

// A caller that waits gets the answer as soon as it is there.
func TestImageWaitsForTheAnswer(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	digest := postgrestest.Digest("new")
	b.Deliver("main", postgres.Delivery{DedupeKey: "1", Action: "push", Repository: "team/new", Tag: "1", Digest: digest})
	answered := b.later("/image", "ref", postgrestest.Host+"/team/new:1", "wait", "60s")
	job := b.Claim()
	if err := b.Store.SaveManifest(t.Context(), *job, scan.Manifest{Digest: digest, Kind: image.KindHelmChart}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-answered:
		t.Fatalf("answered while the scan runs: %s", got.body)
	default:
	}
	if err := b.Store.FinishScan(t.Context(), *job, scan.Result{Digest: digest}, nil); err != nil {
		t.Fatal(err)
	}
	got := into[report.Image](t, <-answered)
	if got.State != report.StateUnsupported || got.Reason != "helm_chart" || got.LastScan.State != report.RunDone {
		t.Errorf("answer = %+v", got)
	}
}

// Somebody waits for it: a pushed image goes ahead of a backlog.
func TestAWaitingCallerGoesAheadOfPushes(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	for _, tag := range []string{"first", "second", "wanted"} {
		b.Deliver("main", postgres.Delivery{DedupeKey: tag, Action: "push", Repository: "team/app", Tag: tag, Digest: postgrestest.Digest(tag)})
	}
	b.get("/image", "ref", postgrestest.Host+"/team/app:second") // who only looks changes nothing
	b.get("/image", "ref", postgrestest.Host+"/team/app:wanted", "wait", "50ms")
	var order []string
	for range 3 {
		order = append(order, b.Claim().Ref.Tag)
	}
	if diff := cmp.Diff([]string{"wanted", "first", "second"}, order); diff != "" {
		t.Error(diff)
	}
}

// When the time is over the present state is the answer, with status 200.
func TestImageWaitEnds(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	b.Deliver("main", postgres.Delivery{DedupeKey: "1", Action: "push", Repository: "team/new", Tag: "1", Digest: postgrestest.Digest("new")})
	got := into[report.Image](t, b.get("/image", "ref", postgrestest.Host+"/team/new:1", "wait", "50ms"))
	if got.State != report.StateQueued || got.Answer != report.Pending {
		t.Errorf("answer = %s, %s; want it still pending", got.State, got.Answer)
	}
	b.get("/image", "ref", postgrestest.Host+"/team/other:1", "wait", "50ms").refused(t, errs.NotFound, "")
}

// A delivery that comes after the caller is waited for.
func TestImageWaitsForItsDelivery(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	done := b.later("/image", "ref", postgrestest.Host+"/team/new:1", "wait", "2s")
	b.Deliver("main", postgres.Delivery{DedupeKey: "1", Action: "push", Repository: "team/new", Tag: "1", Digest: postgrestest.Digest("new")})
	if got := into[report.Image](t, <-done); got.State != report.StateQueued {
		t.Errorf("state = %s, want queued", got.State)
	}
}

func TestWaitingIsBounded(t *testing.T) {
	b := newBench(t, postgrestest.New(t), func(o *api.Options) { o.MaxWaiting = 1 })
	b.Deliver("main", postgres.Delivery{DedupeKey: "1", Action: "push", Repository: "team/new", Tag: "1", Digest: postgrestest.Digest("new")})
	// Of several at once at most one may wait; the others are told to come again.
	var replies []<-chan reply
	for range 4 {
		replies = append(replies, b.later("/image", "ref", postgrestest.Host+"/team/new:1", "wait", "1s"))
	}
	refused := 0
	for _, r := range replies {
		if got := <-r; got.status == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused == 0 {
		t.Error("four waited where one may")
	}
	if got := b.get("/image", "ref", postgrestest.Host+"/team/new:1"); got.status != 200 {
		t.Errorf("without waiting: status %d", got.status)
	}
}

// When the database is too slow the caller is told so, and nothing of why.
func TestADeadlineIsAProblemOfItsOwn(t *testing.T) {
	b := newBench(t, postgrestest.New(t))
	slow := newBenchTimeout(t, b)
	got := slow.do("GET", "/repositories", b.token, "", "")
	p := got.refused(t, errs.Timeout, "")
	if strings.Contains(p.Detail, "postgres://") || strings.Contains(p.Detail, "SELECT") {
		t.Errorf("detail = %q tells too much", p.Detail)
	}
}

// newBenchTimeout is the same API with a reader that never comes to an end.
func newBenchTimeout(t *testing.T, b *bench) *bench {
	t.Helper()
	conn, err := b.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `LOCK TABLE repository IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	handler := newHandler(t, b.World, func(o *api.Options) { o.RequestTimeout = 200 * time.Millisecond })
	return serve(t, b.World, handler)
}
