package app_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/tidewaiter/tidewaiter/internal/config"
	hostile "github.com/tidewaiter/tidewaiter/internal/hostileimage"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// liar adds a registry, under the name "liar", that serves what a real one would
// not take.
func liar(t *testing.T, r *hostile.Registry) option {
	t.Helper()
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	return func(c *config.Config) {
		other := c.Registries[0]
		other.Name, other.Host, other.Aliases = "liar", strings.TrimPrefix(server.URL, "http://"), nil
		other.Webhook.Format = "generic"
		c.Registries = append(c.Registries, other)
	}
}

// told pushes an artifact to the real registry, or puts it into the other one and
// tells of it, and returns its reference.
func (s *service) told(repository string, a hostile.Artifact, liar *hostile.Registry, host string) string {
	s.t.Helper()
	if liar == nil {
		if err := hostile.Push(s.t.Context(), s.registry.Host(), repository, "1", a); err != nil {
			s.t.Fatal(err)
		}
		return s.registry.Host() + "/" + repository + ":1"
	}
	liar.Put(repository, "1", a)
	if status, answer := s.post("liar", "Bearer "+secret, "application/json", `{"image":"`+repository+`:1"}`); status != http.StatusAccepted {
		s.t.Fatalf("%d %s", status, answer)
	}
	return host + "/" + repository + ":1"
}

// artifactKind is a line of the table of kinds.
type artifactKind struct {
	name   string
	from   hostile.Artifact
	kind   image.Kind
	state  report.State
	reason string
	// platforms are the children of an index: "kind state reason".
	platforms []string
	answer    report.Answer
	lied      bool // no real registry takes it
}

// artifactKinds are artifacts of every kind, as the tools make them that people
// use.
func artifactKinds() []artifactKind {
	const empty = "application/vnd.oci.empty.v1+json"
	honest := hostile.Over()
	subject := honest.Artifact()
	done := func(name string, a hostile.Artifact, answer report.Answer) artifactKind {
		return artifactKind{name: name, from: a, kind: image.KindImage, state: report.StateDone, answer: answer}
	}
	not := func(name string, kind image.Kind, a hostile.Artifact) artifactKind {
		return artifactKind{name: name, from: a, kind: kind, state: report.StateUnsupported, reason: string(kind), answer: report.None}
	}
	lie := func(k artifactKind) artifactKind { k.lied = true; return k }
	bundle := func(content string) hostile.Artifact {
		const v3 = "application/vnd.dev.sigstore.bundle.v0.3+json"
		return hostile.Other{Type: v3, Layers: []string{v3}, Subject: &subject, Annotations: map[string]string{image.BundleContentAnnotation: content}}.Artifact()
	}
	var mixed []hostile.Blob
	for i, c := range []hostile.Compression{hostile.Gzip, hostile.Zstd, hostile.None, hostile.Stargz, hostile.Chunked} {
		mixed = append(mixed, hostile.Layer(hostile.Files(fmt.Sprintf("usr/lib/node_modules/p%d/package.json", i), hostile.NPM(fmt.Sprintf("p%d", i), "1.0.0")), c))
	}
	files := func(pairs ...string) hostile.Blob { return hostile.Layer(hostile.Files(pairs...), hostile.Gzip) }
	encrypted := hostile.Typed(files("a", "b"), "application/vnd.oci.image.layer.v1.tar+gzip+encrypted")
	docker := honest
	docker.Docker = true
	about := honest
	about.Manifest = map[string]any{"subject": map[string]any{"mediaType": subject.MediaType, "digest": subject.Digest(), "size": len(subject.Manifest)}, "artifactType": "application/spdx+json"}
	wasi := hostile.Image{Layers: []hostile.Blob{files("module.wasm", "\x00asm\x01\x00\x00\x00")}, Config: map[string]any{"os": "wasi", "architecture": "wasm"}}
	missing := hostile.On(hostile.Over(files("missing", "")).Artifact(), "linux", "s390x")
	missing.Absent = true
	nowhere := hostile.Entry{Artifact: hostile.Index(false, missing), Absent: true}

	return []artifactKind{
		done("OCI image", subject, report.Findings),
		done("Docker image", docker.Artifact(), report.Findings),
		done("every compression", hostile.Over(mixed...).Artifact(), report.Findings),
		done("no layers", hostile.Image{}.Artifact(), report.Clean),
		done("only a config", hostile.Image{Config: map[string]any{"config": map[string]any{"Entrypoint": []string{"/x"}}}}.Artifact(), report.Clean),
		done("scratch with one program", hostile.Image{Layers: []hostile.Blob{files("app", "\x7fELF\x02\x01\x01\x00")}}.Artifact(), report.Clean),
		done("no distribution", hostile.Image{Layers: []hostile.Blob{files("app/node_modules/lodash/package.json", hostile.NPM("lodash", "4.17.15"))}}.Artifact(), report.Findings),
		done("distribution without data", hostile.Image{Layers: []hostile.Blob{files("etc/os-release", "ID=debian\nVERSION_ID=\"7\"\n", "var/lib/dpkg/status", hostile.Deb("zlib1g", "1:1.2.7.dfsg-13"))}}.Artifact(), report.Unknown),
		done("image that says it is an SBOM about another", about.Artifact(), report.Findings),
		{name: "index", kind: image.KindIndex, state: report.StateDone, answer: report.Findings, platforms: []string{"image done ", "image done ", "attestation unsupported attestation"},
			from: hostile.Index(false, hostile.On(subject, "linux", "amd64"), hostile.On(hostile.Over(mixed[1]).Artifact(), "linux", "arm64"), hostile.Attestation(subject))},
		{name: "manifest list", kind: image.KindIndex, state: report.StateDone, answer: report.Findings, platforms: []string{"image done "}, from: hostile.Index(true, hostile.On(docker.Artifact(), "linux", "amd64"))},
		{name: "nested index", kind: image.KindIndex, state: report.StateDone, answer: report.Findings, platforms: []string{"index unsupported nested_index", "image done "}, from: hostile.Nested(2, subject)},
		{name: "index of attestations", kind: image.KindIndex, state: report.StateUnsupported, reason: "no_image", answer: report.None, platforms: []string{"attestation unsupported attestation"}, from: hostile.Index(false, hostile.Attestation(subject))},
		{name: "empty index", kind: image.KindIndex, state: report.StateUnsupported, reason: "no_image", answer: report.None, from: hostile.Index(false)},
		lie(artifactKind{name: "index with a missing child", kind: image.KindIndex, state: report.StateFailed, reason: "not_found", answer: report.Partial, platforms: []string{"image done ", "image failed not_found"},
			from: hostile.Index(false, hostile.On(subject, "linux", "amd64"), missing)}),
		lie(artifactKind{name: "index with a missing index", kind: image.KindIndex, state: report.StateFailed, reason: "not_found", answer: report.Partial, platforms: []string{"image done ", "index failed not_found"},
			from: hostile.Index(false, hostile.On(subject, "linux", "amd64"), nowhere)}),
		not("encrypted", image.KindEncrypted, hostile.Over(encrypted).Artifact()),
		lie(not("first schema", image.KindSchema1, hostile.Schema1(false))),
		lie(not("signed first schema", image.KindSchema1, hostile.Schema1(true))),
		not("attestation of BuildKit", image.KindAttestation, hostile.Attestation(subject).Artifact),
		not("attestation of cosign", image.KindAttestation, hostile.Other{Config: image.MediaTypeOCIConfig, Layers: []string{"application/vnd.dsse.envelope.v1+json"}}.Artifact()),
		not("bundle of an attestation", image.KindAttestation, bundle("dsse-envelope")),
		not("bundle of a signature", image.KindSignature, bundle("message-signature")),
		not("signature of cosign", image.KindSignature, hostile.Other{Config: image.MediaTypeOCIConfig, Layers: []string{"application/vnd.dev.cosign.simplesigning.v1+json"}}.Artifact()),
		not("signature of Notation", image.KindSignature, hostile.Other{Type: "application/vnd.cncf.notary.signature", Layers: []string{"application/jose+json"}, Subject: &subject}.Artifact()),
		not("SPDX", image.KindSBOMFile, hostile.Other{Type: "application/spdx+json", Layers: []string{"application/spdx+json"}, Subject: &subject}.Artifact()),
		not("CycloneDX", image.KindSBOMFile, hostile.Other{Type: "application/vnd.cyclonedx+json", Layers: []string{"application/vnd.cyclonedx+json"}, Subject: &subject}.Artifact()),
		not("SBOM of Harbor", image.KindSBOMFile, hostile.Other{Config: "application/vnd.goharbor.harbor.sbom.v1", Layers: []string{"application/vnd.oci.image.layer.v1.tar"}, Subject: &subject}.Artifact()),
		not("SBOM of cosign", image.KindSBOMFile, hostile.Other{Config: image.MediaTypeOCIConfig, Layers: []string{"text/spdx+json"}}.Artifact()),
		not("chart", image.KindHelmChart, hostile.Other{Config: "application/vnd.cncf.helm.config.v1+json", Layers: []string{"application/vnd.cncf.helm.chart.content.v1.tar+gzip"}}.Artifact()),
		not("WASM", image.KindWASM, hostile.Other{Config: "application/vnd.wasm.config.v0+json", Layers: []string{"application/wasm"}}.Artifact()),
		not("older WASM", image.KindWASM, hostile.Other{Config: "application/vnd.wasm.config.v1+json", Layers: []string{"application/vnd.wasm.content.layer.v1+wasm"}}.Artifact()),
		not("WASM in an image", image.KindWASM, wasi.Artifact()),
		not("ModelPack", image.KindModel, hostile.Other{Type: "application/vnd.cncf.model.manifest.v1+json", Config: "application/vnd.cncf.model.config.v1+json", Layers: []string{"application/vnd.cncf.model.weight.v1.raw"}}.Artifact()),
		not("GGUF", image.KindModel, hostile.Other{Config: "application/vnd.docker.ai.model.config.v0.1+json", Layers: []string{"application/vnd.docker.ai.gguf.v3"}}.Artifact()),
		not("model of Ollama", image.KindModel, hostile.Other{Docker: true, Config: image.MediaTypeDockerConfig, Layers: []string{"application/vnd.ollama.image.model"}}.Artifact()),
		not("another referrer", image.KindReferrer, hostile.Other{Type: "application/vnd.example.report+json", Layers: []string{"application/json"}, Subject: &subject}.Artifact()),
		not("artifact of ORAS", image.KindArtifact, hostile.Other{Type: "application/vnd.example", Layers: []string{"text/plain"}}.Artifact()),
		not("artifact of older ORAS", image.KindArtifact, hostile.Other{Config: "application/vnd.unknown.config.v1+json", Layers: []string{"text/plain"}}.Artifact()),
		lie(not("artifact manifest", image.KindArtifact, hostile.ArtifactManifest("application/vnd.example", nil))),
		lie(not("SBOM in an artifact manifest", image.KindSBOMFile, hostile.ArtifactManifest("application/spdx+json", &subject))),
		lie(not("unknown type", image.KindUnknown, hostile.Raw("application/vnd.example.manifest+json", `{"mediaType":"application/vnd.example.manifest+json","config":{},"layers":[]}`))),
		not("empty config without layers", image.KindArtifact, hostile.Other{Config: empty}.Artifact()),
	}
}

func TestEveryKindOfArtifactEndsInItsState(t *testing.T) {
	var lies hostile.Registry
	var host string
	s := start(t, liar(t, &lies), func(c *config.Config) { host = c.Registries[len(c.Registries)-1].Host })
	refs := map[string]string{}
	table := artifactKinds()
	for i, c := range table {
		from := &lies
		if !c.lied {
			from = nil
		}
		refs[c.name] = s.told(fmt.Sprintf("kinds/k%d", i), c.from, from, host)
	}
	s.until(`(SELECT count(DISTINCT repository_id) FROM scan) = $1 AND NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`, len(table))
	seen := map[image.Kind]bool{image.KindSBOM: true} // uploaded, see TestUploads
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			s.checkKind(t, refs[c.name], c)
			seen[c.kind] = true
		})
	}
	for _, k := range image.Kinds() {
		if !seen[k] {
			t.Errorf("no artifact of kind %s was tried", k)
		}
	}
}

func (s *service) checkKind(t *testing.T, ref string, c artifactKind) {
	t.Helper()
	var got report.Image
	if status := s.get("/api/v1/image?ref="+ref, &got); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if got.Kind != c.kind || got.State != c.state || got.Reason != c.reason || got.Answer != c.answer {
		t.Errorf("it is %s, %s (%s) with answer %s: %s", got.Kind, got.State, got.Reason, got.Answer, got.Detail)
	}
	if got.State == report.StateFailed && got.Detail == "" {
		t.Error("nothing says why")
	}
	if c.kind == image.KindIndex {
		var platforms []string
		for _, p := range got.Platforms {
			platforms = append(platforms, fmt.Sprintf("%s %s %s", p.Kind, p.State, p.Reason))
		}
		slices.Sort(platforms)
		slices.Sort(c.platforms)
		if diff := cmp.Diff(c.platforms, platforms); diff != "" {
			t.Error(diff)
		}
	}
	s.checkLedger(t, ref, c)
}

// checkLedger holds the ledger to what the image says: everything is in it, and
// what is no failure has the last word.
func (s *service) checkLedger(t *testing.T, ref string, c artifactKind) {
	t.Helper()
	repository := ref[:strings.LastIndex(ref, ":")]
	var page report.List[report.LedgerItem]
	if status := s.get("/api/v1/coverage/manifests?repository="+url.QueryEscape(repository), &page); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if want := 1 + len(c.platforms); len(page.Items) != want {
		t.Errorf("%d manifests are in the ledger, want %d: %+v", len(page.Items), want, page.Items)
	}
	var open report.List[report.LedgerItem]
	s.get("/api/v1/coverage/manifests?uncovered=true&repository="+url.QueryEscape(repository), &open)
	if failed := c.state == report.StateFailed; failed != (len(open.Items) > 0) {
		t.Errorf("open in the ledger: %+v", open.Items)
	}
}

func TestWhatAnImageIsMadeForIsKnown(t *testing.T) {
	s := start(t)
	windows := hostile.Over(hostile.Layer(hostile.Files("Files/app/node_modules/p/package.json", hostile.NPM("p", "1.0.0")), hostile.Gzip))
	windows.Docker, windows.Config = true, map[string]any{"os": "windows", "os.version": "10.0.20348.2402"}
	s.pushedRaw("kinds/windows", "1", windows.Artifact())
	s.pushedRaw("kinds/windows", "2", hostile.Index(true, hostile.On(windows.Artifact(), "windows", "amd64")))
	for _, tag := range []string{"1", "2"} {
		var got report.Image
		s.get("/api/v1/image?ref="+s.registry.Host()+"/kinds/windows:"+tag, &got)
		p := got.Platforms[0]
		if got.State != report.StateDone || got.Answer != report.Partial || got.Complete || p.Partial == "" || p.OSVersion != "10.0.20348.2402" || p.Platform != "windows/amd64" || p.Packages == 0 {
			t.Errorf("%s: %+v", tag, got)
		}
	}
	s.pushedRaw("kinds/debian", "1", hostile.Over().Artifact())
	var got report.Image
	s.get("/api/v1/image?ref="+s.registry.Host()+"/kinds/debian:1", &got)
	if end := got.Platforms[0].EndOfLife; end == nil || end.Format("2006-01-02") != "2026-07-11" || got.Platforms[0].EndOfLifePassed != end.Before(got.LastScan.CreatedAt) {
		t.Errorf("Debian 12 ends at %v: %+v", end, got.Platforms[0])
	}
}

// pushedRaw pushes and waits for the answer.
func (s *service) pushedRaw(repository, tag string, a hostile.Artifact) {
	s.t.Helper()
	if err := hostile.Push(s.t.Context(), s.registry.Host(), repository, tag, a); err != nil {
		s.t.Fatal(err)
	}
	s.until(`count(*) = 1 FROM tag t JOIN manifest m ON m.id = t.manifest_id JOIN repository r ON r.id = t.repository_id
		WHERE r.name = $1 AND t.name = $2 AND m.digest = $3 AND m.state NOT IN ('queued', 'running')`, repository, tag, a.Digest())
}

func TestLayersThatTheRegistryNeedNotHaveAreLeftOut(t *testing.T) {
	var lies hostile.Registry
	var host string
	s := start(t, liar(t, &lies), func(c *config.Config) { host = c.Registries[len(c.Registries)-1].Host })
	const foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
	base := func(of string) hostile.Blob {
		return hostile.Layer(hostile.Files("Files/Windows/base", of), hostile.Gzip)
	}
	app := hostile.Layer(hostile.Files("Files/app/node_modules/lodash/package.json", hostile.NPM("lodash", "4.17.15")), hostile.Gzip)
	windows := map[string]any{"os": "windows", "os.version": "10.0.17763.1"}
	for tag, c := range map[string]struct {
		from    hostile.Image
		partial string
		answer  report.Answer
	}{
		"absent": {hostile.Image{Docker: true, Config: windows, Layers: []hostile.Blob{hostile.Elsewhere(base("absent"), foreign, "https://mcr.example.com/base"), app}},
			"windows: what Windows itself installs is not seen; layers: 1 of 2 are kept outside the registry and were not read", report.Partial},
		"there": {hostile.Image{Docker: true, Config: windows, Layers: []hostile.Blob{hostile.Typed(base("there"), foreign), app}},
			"windows: what Windows itself installs is not seen", report.Partial},
		"linux": {hostile.Over(hostile.Elsewhere(base("linux"), "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "https://example.com/base"), app),
			"layers: 1 of 3 are kept outside the registry and were not read", report.Partial},
	} {
		ref := s.told("foreign/"+tag, c.from.Artifact(), &lies, host)
		var got report.Image
		s.get("/api/v1/image?wait=60s&ref="+ref, &got)
		if got.State != report.StateDone || got.Answer != c.answer || got.Complete || got.Counts == nil || got.Counts.Total == 0 || got.Platforms[0].Partial != c.partial {
			t.Errorf("%s: %s (%s) %s, partial: %q, %s", tag, got.State, got.Reason, got.Answer, got.Platforms[0].Partial, got.Detail)
		}
	}
}

func TestAChildThatGoesAwayLaterIsTold(t *testing.T) {
	s := start(t)
	gone := hostile.On(hostile.Over(hostile.Layer(hostile.Files("x", "y"), hostile.Gzip)).Artifact(), "linux", "s390x")
	index := hostile.Index(false, hostile.On(hostile.Over().Artifact(), "linux", "amd64"), gone)
	// The registry takes the whole index; then the child is deleted before a
	// second repository's tag is looked at.
	s.pushedRaw("kinds/whole", "1", index)
	ref, err := name.NewDigest(s.registry.Host()+"/kinds/whole@"+gone.Digest(), name.Insecure)
	if err == nil {
		err = remote.Delete(ref)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.until(`EXISTS (SELECT 1 FROM repository_manifest rm JOIN manifest m ON m.id = rm.manifest_id WHERE m.digest = $1 AND rm.presence = 'gone')`, gone.Digest())
	var got report.Image
	s.get("/api/v1/image?ref="+s.registry.Host()+"/kinds/whole:1", &got)
	if got.State != report.StateDone || len(got.Platforms) != 2 || got.Answer != report.Findings {
		t.Errorf("the last answer does not stand: %+v", got)
	}
}

func TestDocumentationListsEveryKind(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range image.Kinds() {
		if !strings.Contains(string(page), "\n| `"+string(k)+"` |") {
			t.Errorf("docs/api.md has no line for kind %s", k)
		}
	}
	for _, reason := range []string{"nested_index", "no_image", "platform_failed"} {
		if !strings.Contains(string(page), "`"+reason+"`") {
			t.Errorf("docs/api.md does not name %s", reason)
		}
	}
}
