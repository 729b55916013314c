package app_test

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/config"
	hostile "github.com/tidewaiter/tidewaiter/internal/hostileimage"
	"github.com/tidewaiter/tidewaiter/internal/report"
)

// sizes are how large hostile images are made.
type sizes struct {
	// entries and packages are within their limits, tooMany are not.
	entries, tooManyEntries, packages, tooManyPackages                        int
	layers, padding, manifest, config, history, images, objects, chain, depth int
	bomb, archive, text, pax, release                                         int64
	archives                                                                  int
	// bombs is the reason that bombs give.
	bombs string
	// crowd is what is said of too many packages.
	crowd string
	// held is what the test may hold at most, with the images it makes and their
	// registry.
	held   uint64
	wait   time.Duration // for all of them
	limits option
}

// hostileCase is an image and how its scan has to end.
type hostileCase struct {
	name  string
	from  func() hostile.Artifact
	lied  bool // no real registry takes it
	state report.State
	// reason of the state; says is a part of the words that go with it.
	reason, says string
	// found is a package that has to be among the answer's, besides those of the
	// honest layer below.
	found string
}

// whole ends done: what is bad in it costs itself only.
func whole(name string, layers ...hostile.Blob) hostileCase {
	return hostileCase{name: name, state: report.StateDone, from: func() hostile.Artifact { return hostile.Over(layers...).Artifact() }}
}

// bad ends without an answer.
func bad(name string, state report.State, reason, says string, from func() hostile.Artifact) hostileCase {
	return hostileCase{name: name, state: state, reason: reason, says: says, from: from}
}

func over(layers ...hostile.Blob) func() hostile.Artifact {
	return func() hostile.Artifact { return hostile.Over(layers...).Artifact() }
}

func lying(c hostileCase) hostileCase               { c.lied = true; return c }
func (c hostileCase) with(found string) hostileCase { c.found = found; return c }

// hostileNames are images with names, links and texts that mean harm.
func hostileNames(z sizes, target string) []hostileCase {
	return []hostileCase{
		whole("path traversal", hostile.Traversal(target)),
		whole("link loops", hostile.Loops()),
		whole("device nodes and a chain of links", hostile.Devices(z.chain)),
		whole("whiteouts of the root", hostile.Whiteouts()),
		whole("an opaque root", hostile.OpaqueRoot(), hostile.Honest()),
		whole("many entries", hostile.ManyEntries(z.entries)),
		whole("names of 100,000 characters", hostile.LongNames(100_000)),
		whole("NUL and no UTF-8", hostile.Binary()),
		whole("os-release that is a link to itself", hostile.OddRelease(tar.TypeSymlink, 0)),
		whole("os-release that is a directory", hostile.OddRelease(tar.TypeDir, 0)),
		whole("os-release that is a pipe", hostile.OddRelease(tar.TypeFifo, 0)),
		whole("a huge os-release", hostile.OddRelease(tar.TypeReg, z.release)),
		whole("everything twice", hostile.Twice(100)).with("twice"),
		whole("sparse files of exabytes", hostile.Sparse(1<<60)),
		whole("malformed databases", hostile.MalformedDatabases()),
		whole("entities of entities", hostile.Entities(12)),
		whole("many packages of a distribution", hostile.DebPackages(z.packages)),
		whole("many locked packages", hostile.LockedPackages(z.tooManyPackages)), // catalogued in no image
		whole("lists of lists of lists", hostile.Nesting(z.depth)),
		whole("aliases of aliases", hostile.Aliases(12)),
		whole("programs that lead nowhere", hostile.Programs()),
		whole("jars with names that climb out", hostile.ZipSlip(target, 2_000)).with("slipped"),
		{name: "texts that no database takes", state: report.StateDone, from: func() hostile.Artifact { return hostile.Labelled(hostile.Over(), 100_000).Artifact() }},
	}
}

// hostileSizesOf are images that are too much.
func hostileSizesOf(z sizes) []hostileCase {
	tooLarge := func(name, says string, from func() hostile.Artifact) hostileCase {
		return bad(name, report.StateTooLarge, "too_large", says, from)
	}
	unresolved := func(name, says string, from func() hostile.Artifact) hostileCase {
		return bad(name, report.StateFailed, "too_large", says, from)
	}
	return []hostileCase{
		bad("gzip bomb", report.StateTooLarge, z.bombs, "unpack", over(hostile.Endless(z.bomb))),
		bad("zstd bomb", report.StateTooLarge, z.bombs, "unpack", over(hostile.Zeros("zeros", z.bomb, hostile.Zstd))),
		tooLarge("too many entries", "files", over(hostile.ManyEntries(z.tooManyEntries))),
		tooLarge("too many packages", z.crowd, over(hostile.DebPackages(z.tooManyPackages))),
		lying(hostileCase{name: "a padded manifest", state: report.StateDone, from: func() hostile.Artifact { return hostile.Padded(hostile.Over(), z.padding).Artifact() }}),
		lying(bad("an index of padded manifests", report.StateTooLarge, "too_large", "together", func() hostile.Artifact { return hostile.Padding(20, z.padding) })),
		whole("zip bomb", hostile.ZipBomb("opt/bomb.zip", z.archives, z.archive/100)),
		whole("jar bomb", hostile.ZipBomb("opt/bomb.jar", z.archives, z.archive)),
		whole("jar of jars of zeros", hostile.JarOfJars(z.archives, z.archive)),
		whole("jars nested 30 deep", hostile.NestedJars(30)),
		whole("a huge package.json", hostile.LargeManifest(z.text)),
		tooLarge("many layers", "layers", func() hostile.Artifact { return hostile.ManyLayers(z.layers).Artifact() }),
		lying(unresolved("a large manifest", "manifest", func() hostile.Artifact { return hostile.Padded(hostile.Over(), 9*z.manifest).Artifact() })),
		tooLarge("a large config", "config", func() hostile.Artifact { return hostile.LargeConfig(hostile.Over(), z.config).Artifact() }),
		tooLarge("a long history", "objects", func() hostile.Artifact { return hostile.LongHistory(hostile.Over(), z.history).Artifact() }),
		lying(unresolved("a manifest of nothing", "objects", func() hostile.Artifact { return hostile.Hollow(z.objects) })),
		lying(unresolved("an index of too many images", "manifests", func() hostile.Artifact { return hostile.WideIndex(z.images) })),
		bad("an index nested 50 deep", report.StateTooLarge, "too_large", "nested", func() hostile.Artifact { return hostile.Nested(50, hostile.Over().Artifact()) }),
	}
}

// hostileLies are images that are not what they say. Each has a layer of its own:
// one that was read before is not asked for again.
func hostileLies(z sizes) []hostileCase {
	text := func(name string) string { return name + strings.Repeat("text\n", 10_000) }
	gzip := func(name string) hostile.Blob { return hostile.Layer(hostile.Files(name, text(name)), hostile.Gzip) }
	plain := func(name string) hostile.Blob { return hostile.Layer(hostile.Files(name, text(name)), hostile.None) }
	zstd := func(name string) hostile.Blob { return hostile.Layer(hostile.Files(name, text(name)), hostile.Zstd) }
	longer, shorter := gzip("longer"), gzip("shorter")
	malformed := func(name string, from func() hostile.Artifact) hostileCase {
		return bad(name, report.StateFailed, "malformed", "", from)
	}
	const manifest, index, tarball = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.layer.v1.tar"
	return []hostileCase{
		malformed("a file that claims exabytes", over(hostile.Claims(1<<60))),
		malformed("a PAX header too long", over(hostile.LongPAX(z.pax))),
		malformed("gzip that ends early", over(hostile.Short(gzip("short"), 0.5))),
		malformed("tar that ends early", over(hostile.Short(plain("short"), 0.5))),
		malformed("zstd that ends early", over(hostile.Short(zstd("short"), 0.5))),
		malformed("corrupt gzip", over(hostile.Corrupt(gzip("corrupt"), 0.5))),
		malformed("corrupt tar", over(hostile.Corrupt(plain("corrupt"), 0.01))),
		malformed("corrupt zstd", over(hostile.Corrupt(zstd("corrupt"), 0.8))),
		malformed("more behind the end", over(hostile.Behind(gzip("behind"), "more"))),
		malformed("no tar at all", over(hostile.Typed(hostile.Bytes("", []byte(strings.Repeat("no tar ", 1000))), tarball))),
		malformed("another diffID", over(hostile.Unpacks(gzip("another"), plain("a").DiffID))),
		malformed("a diffID that is none", over(hostile.Unpacks(gzip("none"), "sha256:short"))),
		malformed("fewer diffIDs than layers", func() hostile.Artifact { return hostile.Fewer(hostile.Over(gzip("fewer"))) }),
		malformed("diffIDs in another order", func() hostile.Artifact { return hostile.Shuffled(hostile.Over(gzip("shuffled"))) }),
		lying(malformed("half a layer", over(hostile.Cut(gzip("half"), 0.5)))),
		lying(bad("a layer that breaks off", report.StateFailed, "unavailable", "broke off", over(hostile.Broken(gzip("broken"), 0.5)))),
		lying(malformed("a layer with the content of another", over(hostile.Swapped(gzip("swapped"), gzip("with this"))))),
		lying(malformed("a layer longer than it says", over(hostile.Sized(longer, longer.Size/2)))),
		lying(malformed("a layer shorter than it says", over(hostile.Sized(shorter, shorter.Size*2)))),
		lying(bad("a layer that is not there", report.StateFailed, "not_found", "", over(hostile.Missing(gzip("missing"))))),
		lying(malformed("an image served as an index", func() hostile.Artifact { return hostile.Served(hostile.Over().Artifact(), index) })),
		lying(malformed("JSON nested 20,000 deep", func() hostile.Artifact { return hostile.Deep(20_000) })),
		lying(malformed("no JSON", func() hostile.Artifact { return hostile.Raw(manifest, "no JSON") })),
		whole("layers that are not packed as they say", hostile.Typed(gzip("typed"), tarball+"+zstd"), hostile.Typed(plain("typed"), tarball+"+gzip")),
		lying(hostileCase{name: "a manifest with bytes that are no text", state: report.StateDone, from: func() hostile.Artifact { return hostile.NotUTF8(hostile.Over().Artifact()) }}),
	}
}

func TestHostileImagesEndInTheirStates(t *testing.T) {
	yard := t.TempDir()
	target := filepath.Join(yard, "target", "owned")
	temp, work, home := filepath.Join(yard, "tmp"), filepath.Join(yard, "work"), filepath.Join(yard, "home")
	for _, dir := range []string{temp, work, home, filepath.Dir(target)} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	var lies hostile.Registry
	var host string
	s := start(t, liar(t, &lies), hostileSizes.limits, func(c *config.Config) {
		host, c.TempDir = c.Registries[len(c.Registries)-1].Host, work
		c.Workers.MaxAttempts = 1 // what fails does so at once
		t.Setenv("TMPDIR", temp)
		t.Setenv("HOME", home)
	})
	cases := append(append(hostileNames(hostileSizes, target), hostileSizesOf(hostileSizes)...), hostileLies(hostileSizes)...)
	refs := map[string]string{}
	before, watch := peakMemory(t)
	for i, c := range cases {
		from := &lies
		if !c.lied {
			from = nil
		}
		refs[c.name] = s.told(fmt.Sprintf("hostile/h%d", i), c.from(), from, host)
		if i%10 == 0 {
			s.told(fmt.Sprintf("good/g%d", i), hostile.Over(hostile.Layer(hostile.Files("good", fmt.Sprint(i)), hostile.Gzip)).Artifact(), nil, "")
		}
	}
	s.untilWithin(hostileSizes.wait, `(SELECT count(DISTINCT repository_id) FROM scan) >= $1 AND NOT EXISTS (SELECT 1 FROM scan WHERE state IN ('queued', 'running'))`, len(cases)+len(cases)/10)
	if grown := watch() - before; grown > hostileSizes.held {
		t.Errorf("the service held %d MiB more than before", grown>>20)
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { s.checkHostile(t, refs[c.name], c) })
	}
	if n := s.count(`manifest m JOIN repository_manifest rm ON rm.manifest_id = m.id JOIN repository r ON r.id = rm.repository_id WHERE r.name LIKE 'good/%' AND m.state <> 'done'`); n != 0 {
		t.Errorf("%d good images beside them have no answer", n)
	}
	checkYard(t, temp, work, home, filepath.Dir(target))
}

func TestAnImageWhoseReadingNeverEndsIsStopped(t *testing.T) {
	s := start(t, func(c *config.Config) {
		c.Limits.ImageTime, c.Workers.Count, c.Workers.MaxAttempts = 15*time.Second, 1, 1
	})
	stalling := hostile.Over(hostile.Stalling(60)).Artifact()
	if err := hostile.Push(t.Context(), s.registry.Host(), "hostile/stall", "1", stalling); err != nil {
		t.Fatal(err)
	}
	s.until(`EXISTS (SELECT 1 FROM manifest WHERE digest = $1 AND state = 'running')`, stalling.Digest())
	s.pushedRaw("good/one", "1", hostile.Over(hostile.Layer(hostile.Files("good", "one"), hostile.Gzip)).Artifact())
	for digest, want := range map[string]string{stalling.Digest(): "failed timeout", hostile.Over(hostile.Layer(hostile.Files("good", "one"), hostile.Gzip)).Artifact().Digest(): "done "} {
		var got, detail string
		if err := s.pool.QueryRow(t.Context(), `SELECT state || ' ' || reason, detail FROM manifest WHERE digest = $1`, digest).Scan(&got, &detail); err != nil || got != want {
			t.Errorf("%s: %s, %v", got, detail, err)
		}
	}
}

func (s *service) checkHostile(t *testing.T, ref string, c hostileCase) {
	t.Helper()
	var got report.Image
	if status := s.get("/api/v1/image?ref="+url.QueryEscape(ref), &got); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}
	if got.State != c.state || got.Reason != c.reason || !strings.Contains(got.Detail, c.says) {
		t.Errorf("it is %s (%s): %s", got.State, got.Reason, got.Detail)
	}
	if strings.Contains(got.Detail, "panic") || strings.Contains(got.Detail, os.TempDir()) {
		t.Errorf("not for people: %s", got.Detail)
	}
	if c.state != report.StateDone {
		return
	}
	var findings report.List[report.Finding]
	s.get("/api/v1/findings?limit=500&ref="+url.QueryEscape(ref), &findings)
	lodash := false
	for _, f := range findings.Items {
		lodash = lodash || f.Package.Name == "lodash"
	}
	if !lodash {
		t.Errorf("what is bad in it cost the image: %d findings, answer %s", len(findings.Items), got.Answer)
	}
	for _, format := range []string{"syft-json", "cyclonedx-json", "spdx-json"} {
		var document map[string]any
		if status := s.get("/api/v1/sbom?format="+format+"&ref="+url.QueryEscape(ref), &document); status != http.StatusOK {
			t.Errorf("no SBOM as %s: status %d", format, status)
		}
	}
	if c.found != "" && s.count(`inventory_package ip JOIN package p ON p.id = ip.package_id JOIN manifest m ON m.inventory_id = ip.inventory_id WHERE m.digest = $1 AND p.name = $2`, string(got.Platforms[0].Digest), c.found) == 0 {
		t.Errorf("package %s is not found", c.found)
	}
}

// checkYard expects that nothing is left in directories, but for what the worker
// processes that still run work in: directories with nothing but their lock.
func checkYard(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			name, _ := strings.CutPrefix(path, dir+"/")
			worker, inside, _ := strings.Cut(name, "/")
			if strings.HasPrefix(worker, "tidewaiter-worker-") && (inside == "" || inside == ".lock") {
				return err
			}
			if err == nil && path != dir {
				t.Errorf("left behind: %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// peakMemory returns what this process holds and a function that tells the most
// it held since.
func peakMemory(t *testing.T) (now uint64, peak func() uint64) {
	held := func() uint64 {
		sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
		metrics.Read(sample)
		return sample[0].Value.Uint64() - sample[1].Value.Uint64()
	}
	runtime.GC()
	now = held()
	var mu sync.Mutex
	most, stop, done := now, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				mu.Lock()
				most = max(most, held())
				mu.Unlock()
			}
		}
	}()
	end := sync.OnceFunc(func() { close(stop); <-done })
	t.Cleanup(end)
	return now, func() uint64 { end(); return most }
}
