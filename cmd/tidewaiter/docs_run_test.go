package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/localregistry"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/pgtest"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// elsewhere are programs that a page may use and this test cannot: a block with
// one of them is not run, its commands of tidewaiter are still parsed.
var elsewhere = map[string]string{
	"docker": "needs Docker", "kubectl": "needs a cluster", "helm": "needs a cluster", "kustomize": "needs a cluster",
	"aws": "needs Amazon's cloud", "gcloud": "needs Google's cloud", "az": "needs Microsoft's cloud", "gh": "needs GitHub",
	"aliyun": "needs Alibaba's cloud", "tccli": "needs Tencent's cloud",
	"go": "builds the project", "make": "builds the project", "git": "needs the repository",
	"pg_dump": "internal/app/backup_test.go runs it", "pg_restore": "internal/app/backup_test.go runs it", "psql": "is up to the operator's Postgres",
	"apt-get": "changes the machine", "systemctl": "changes the machine",
}

// notRun are further blocks that are not run, by page and first line, with the
// reason or the test that does the same.
var notRun = map[string]string{
	"docs/builds.md: tidewaiter vulndb diff":         "needs a build that is held: TestPeopleDecideAboutBuilds",
	"deploy/registries/eventgrid.md: --azure-active": "is more of a command before it",
}

// reasonNot says why a block is not run here, or nothing.
func (b block) reasonNot(used map[string]bool) string {
	first, _, _ := strings.Cut(strings.TrimSpace(b.text), "\n")
	for key, reason := range notRun {
		if strings.HasPrefix(b.page+": "+first, key) {
			used[key] = true
			return reason
		}
	}
	for _, words := range b.commands() {
		if reason := elsewhere[filepath.Base(words[0])]; reason != "" {
			return reason
		}
		for _, word := range words[1:] {
			if host := hostOf(word); words[0] == "curl" && host != "" && !strings.HasPrefix(host, "localhost:") && host != "tidewaiter.acme.example" {
				return "asks " + host
			}
		}
	}
	return ""
}

func hostOf(word string) string {
	if u, err := url.Parse(word); err == nil && strings.HasPrefix(u.Scheme, "http") {
		return u.Host
	}
	return ""
}

// TestPagesWork runs the shell blocks of all pages against a service: a real
// Postgres, a real registry, the sample database, the images that pages speak of.
// Only names change: hosts of examples, numbers that a service gives.
func TestPagesWork(t *testing.T) {
	s := newStand(t)
	used := map[string]bool{}
	ran := 0
	for _, p := range pagesForPeople(t) {
		for _, b := range p.blocks {
			if b.language == "" && looksTyped(b.text) && !typedElsewhere(b) {
				t.Errorf("%s: commands belong into a block of language sh", b.where())
			}
			if b.language != "sh" || b.reasonNot(used) != "" {
				continue
			}
			ran++
			if out, err := s.sh(ofSender(b)); err != nil {
				t.Errorf("%s: %v\n%s\n%s", b.where(), err, b.text, out)
			}
		}
	}
	t.Logf("%d blocks were run", ran)
	if ran < 15 {
		t.Errorf("only %d blocks were run", ran)
	}
	for key := range notRun {
		if !used[key] {
			t.Errorf("no block begins as %q", key)
		}
	}
}

// ofSender has the block of a sender of its own speak of that sender's registry.
func ofSender(b block) string {
	for page, name := range map[string]string{"generic": "ci", "cdevents": "pipelines", "cloudevents": "broker"} {
		if b.page != "deploy/registries/"+page+".md" {
			continue
		}
		if name == "ci" && strings.Contains(b.text, "Bearer") {
			name = "ci-bearer" // the page shows two ways to the same endpoint
			b.text = strings.ReplaceAll(b.text, "/webhooks/ci", "/webhooks/"+name)
		}
		return strings.ReplaceAll(b.text, "registry.acme.example", name+".test")
	}
	return b.text
}

// looksTyped reports whether a block begins as something to type.
func looksTyped(text string) bool {
	first, _, _ := strings.Cut(strings.TrimSpace(text), " ")
	return slices.Contains(append(slices.Collect(maps.Keys(elsewhere)), "tidewaiter", "curl", "tw", "export"), first)
}

// typedElsewhere reports whether all that a block without a language types is
// for other programs, as the README's two commands are.
func typedElsewhere(b block) bool {
	for _, words := range commandsOf(b.text) {
		if elsewhere[words[0]] == "" {
			return false
		}
	}
	return true
}

// refused are lines that are right and that the service refuses here, by the
// status it answers.
var refused = map[string]string{
	`tw -X DELETE "$TIDEWAITER/api/v1/scans/1"`:                     "409", // it is over
	`tw -X DELETE "$TIDEWAITER/api/v1/registries/old`:               "404",
	`tw "$TIDEWAITER/api/v1/vulndb/sha256:3f2a91c0"`:                "404",
	`tw -X POST "$TIDEWAITER/api/v1/vulndb/sha256:3f2a91c0/release`: "404",
	`tw -X POST "$TIDEWAITER/api/v1/vulndb/sha256:3f2a91c0/discard`: "404",
	`tw -X DELETE "$TIDEWAITER/api/v1/tokens/999999"`:               "404",
}

// stand is a service that runs as a program of its own, and a directory in which
// the commands of pages find their files.
type stand struct {
	t        *testing.T
	dir      string
	url      string
	registry string
	env      []string
}

// webhookSecret is one as somebody would make it.
const webhookSecret = "5d1f0c4b8a7e4d6f9b3a2c1e0f8d7b6a"

func newStand(t *testing.T) *stand {
	t.Helper()
	s := &stand{t: t, dir: t.TempDir()}
	address := freeAddress(t)
	s.url = "http://" + address
	registry, err := localregistry.Start(t.Context(), localregistry.Config{
		Notify: s.url + "/webhooks/prod", NotifyHeaders: http.Header{"Authorization": {"Bearer " + webhookSecret}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close(context.Background()) })
	s.registry = registry.Host()
	messages := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }))
	t.Cleanup(messages.Close)
	s.writeFiles(address, messages.URL)
	s.env = append(os.Environ(), "TIDEWAITER_DATABASE_URL="+pgtest.Empty(t), "WEBHOOK_SECRET="+webhookSecret, "CI_JOB_ID=job-42", "TIDEWAITER_SERVER="+s.url, "HOME="+s.dir,
		"TIDEWAITER_CONFIG="+filepath.Join(s.dir, "tidewaiter.yaml"))
	s.serve()
	s.env = append(s.env, "TIDEWAITER_TOKEN="+strings.TrimSpace(s.must(`tidewaiter token create stand --scope admin`)))
	for i, ref := range []string{"team/shop:1.0", "team/shop:1.1", "team/app:1.2", "team/app:1.3"} {
		s.push(ref, i)
	}
	s.must(`curl -sS -o sbom.json -H "Authorization: Bearer $TIDEWAITER_TOKEN" "$TIDEWAITER_SERVER/api/v1/sbom?ref=registry.example/team/app:1.2"`)
	return s
}

// writeFiles writes what pages name: tidewaiter.yaml, a captured request.
func (s *stand) writeFiles(address, messages string) {
	s.t.Helper()
	library, err := vulndb.Open(vulndb.Config{Dir: filepath.Join(s.dir, "vulndb")})
	if err != nil {
		s.t.Fatal(err)
	}
	built, err := library.Build(s.t.Context(), vulndb.BuildOptions{Sample: true, Out: filepath.Join(s.dir, "sample")}, nil)
	if err == nil {
		_, err = library.Import(s.t.Context(), built.Archive, nil)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for file, text := range map[string]string{
		"tidewaiter.yaml": fmt.Sprintf(`
listen: %[1]q
vulndb: {dir: vulndb, auto_update: false}
cache: {dir: layers}
retention: {interval: 0s}
registries:
  - name: prod
    host: %[2]q
    plain_http: true
    reconcile: {interval: 0s}
    webhook:
      format: distribution
      auth: {kind: bearer, secrets: ["${WEBHOOK_SECRET}"]}
  - {name: ci, host: ci.test, endpoint: %[2]q, plain_http: true, reconcile: {interval: 0s}, webhook: {format: generic, auth: {kind: hmac-sha256, secrets: ["${WEBHOOK_SECRET}"]}}}
  - {name: ci-bearer, host: ci-bearer.test, endpoint: %[2]q, plain_http: true, reconcile: {interval: 0s}, webhook: {format: generic, auth: {kind: bearer, secrets: ["${WEBHOOK_SECRET}"]}}}
  - {name: pipelines, host: pipelines.test, endpoint: %[2]q, plain_http: true, reconcile: {interval: 0s}, webhook: {format: cdevents, auth: {kind: bearer, secrets: ["${WEBHOOK_SECRET}"]}}}
  - {name: broker, host: broker.test, endpoint: %[2]q, plain_http: true, reconcile: {interval: 0s}, webhook: {format: cloudevents, auth: {kind: bearer, secrets: ["${WEBHOOK_SECRET}"]}}}
notify:
  channels:
    - {name: team-slack, type: slack, url: %[3]q}
  rules:
    - {name: urgent, channels: [team-slack], min_severity: high}
`, address, s.registry, messages),
		"push.headers": "POST /webhooks/prod HTTP/1.1\nContent-Type: application/vnd.docker.distribution.events.v2+json\nAuthorization: Bearer " + webhookSecret + "\n",
		"push.json": fmt.Sprintf(`{"events":[{"id":"e1","timestamp":"2026-10-05T09:15:27Z","action":"push","target":{
			"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%064d","repository":"payments/api","tag":"2.14.0"},
			"request":{"host":%q},"actor":{"name":"ci"}}]}`, 7, s.registry),
	} {
		if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// serve runs the service until the test ends.
func (s *stand) serve() {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("tidewaiter", "serve", "--config", "tidewaiter.yaml")
	cmd.Dir, cmd.Env, cmd.Stderr = s.dir, s.env, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil || s.t.Failed() {
			text, _ := os.ReadFile(log.Name())
			s.t.Logf("the service ended with %v\n%s", err, text)
		}
	})
	s.until("the service answers", func() bool {
		answer, err := http.Get(s.url + "/readyz") //nolint:noctx // a loopback server of the test
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
}

func (s *stand) until(what string, ok func() bool) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("%s: not within five minutes\n%s", what, text)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// push pushes an image that differs from the others in one package, and waits
// for its answer.
func (s *stand) push(ref string, n int) {
	s.t.Helper()
	content := sampleimage.VulnerableContent()
	content.NPM = append(content.NPM, sampleimage.Package{Name: "left-pad", Version: fmt.Sprintf("1.0.%d", n)})
	img, err := sampleimage.Build(content)
	if err != nil {
		s.t.Fatal(err)
	}
	target, err := name.ParseReference(s.registry+"/"+ref, name.Insecure)
	if err == nil {
		err = remote.Write(target, img)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.until(ref+" is answered", func() bool {
		var image struct{ State string }
		out, err := s.sh(`curl -sS -H "Authorization: Bearer $TIDEWAITER_TOKEN" "$TIDEWAITER_SERVER/api/v1/image?wait=60s&ref=registry.example/` + ref + `"`)
		return err == nil && json.Unmarshal([]byte(out), &image) == nil && image.State == "done"
	})
}

func (s *stand) must(script string) string {
	s.t.Helper()
	out, err := s.sh(script)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

// prelude stands before every block: what docs/api.md sets up, an error for an
// answer that is one, and a service that is started and comes up is stopped again.
const prelude = `
export TIDEWAITER="$TIDEWAITER_SERVER" TOKEN="${TIDEWAITER_TOKEN:-}"
alias tw='curl -fsS -H "Authorization: Bearer $TOKEN"'
curl() {
	case " $*" in
	*" -f"* | *" --fail"*) command curl "$@" ;;
	*) command curl --fail-with-body "$@" ;;
	esac
}
refused() {
	wanted=$1
	shift 2 # and tw
	got=$(command curl -sS -o answer -w '%{http_code}' -H "Authorization: Bearer $TOKEN" "$@")
	[ "$got" = "$wanted" ] || { cat answer; echo "status $got, want $wanted"; return 1; }
}
tidewaiter() {
	[ "$1" != trace ] || set -- "$@" --wait # a block before may have asked for a scan
	if [ "$1" != serve ]; then
		command tidewaiter "$@"
		return
	fi
	TIDEWAITER_LISTEN=127.0.0.1:0 command tidewaiter "$@" > serve.log 2>&1 &
	until grep -q '"serving"' serve.log; do
		kill -0 $! || { cat serve.log; return 1; }
		sleep 0.1
	done
	kill $! && wait $!
}
`

// names that pages use, and numbers that a service gives.
func (s *stand) replace(script string) string {
	script = strings.NewReplacer(
		"http://localhost:8080", s.url, "https://tidewaiter.acme.example", s.url,
		"registry.acme.example", s.registry, "registry.example.com", s.registry, "registry.example/", s.registry+"/",
		"scans/42", "scans/1", "redeliver 12", "redeliver 1", "notifications/12", "notifications/1", "reconciliations/7", "reconciliations/1",
		"tokens/3", "tokens/999999", `"name": "ci"`, `"name": "ci-served"`,
	).Replace(script)
	for line, status := range refused {
		script = strings.ReplaceAll(script, line, "refused "+status+" "+line)
	}
	return regexp.MustCompile(`as_of=[0-9TZ:-]+`).ReplaceAllString(script, "as_of="+time.Now().UTC().Format(time.RFC3339))
}

// sh runs a script as a page has it.
func (s *stand) sh(script string) (string, error) {
	s.t.Helper()
	file := filepath.Join(s.dir, "script.sh")
	if err := os.WriteFile(file, []byte(prelude+s.replace(script)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-eu", file)
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.dir, s.env, time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
