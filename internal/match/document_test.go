package match

import (
	"bytes"
	"testing"

	"github.com/anchore/syft/syft/artifact"
	"github.com/anchore/syft/syft/cpe"
	"github.com/anchore/syft/syft/file"
	"github.com/anchore/syft/syft/format/syftjson"
	"github.com/anchore/syft/syft/linux"
	syft "github.com/anchore/syft/syft/pkg"
	syftsbom "github.com/anchore/syft/syft/sbom"
	"github.com/anchore/syft/syft/source"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

const layer = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

// bill is an SBOM to be written.
type bill struct {
	distro   *linux.Release
	packages []syft.Package
	edges    []artifact.Relationship
}

// add appends a package that lies at a path and returns it with its id.
func (b *bill) add(p syft.Package, path string) syft.Package {
	p.Locations = file.NewLocationSet(file.NewLocationFromCoordinates(file.Coordinates{RealPath: path, FileSystemID: layer}))
	p.SetID()
	b.packages = append(b.packages, p)
	return p
}

// own records that files of one package belong to another.
func (b *bill) own(owner, owned syft.Package) {
	b.edges = append(b.edges, artifact.Relationship{From: owner, To: owned, Type: artifact.OwnershipByFileOverlapRelationship})
}

func (b *bill) sbom() *syftsbom.SBOM {
	return &syftsbom.SBOM{
		Artifacts:     syftsbom.Artifacts{Packages: syft.NewCollection(b.packages...), LinuxDistribution: b.distro},
		Relationships: b.edges,
		Source:        source.Description{ID: "test", Metadata: source.ImageMetadata{UserInput: "test"}},
		Descriptor:    syftsbom.Descriptor{Name: "syft", Version: "test"},
	}
}

// document is the bill as it is stored.
func (b *bill) document(t testing.TB) sbom.Document {
	t.Helper()
	var out bytes.Buffer
	if err := syftjson.NewFormatEncoder().Encode(&out, *b.sbom()); err != nil {
		t.Fatal(err)
	}
	return sbom.Document{JSON: out.Bytes(), Tool: "syft", Packages: len(b.packages)}
}

// take reads the bill both ways, from memory and from its document, which must
// come to the same.
func take(t testing.TB, b *bill) *inventory.Inventory {
	t.Helper()
	doc := b.document(t)
	want, err := TakeInventory(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	doc.Value = b.sbom()
	got, err := TakeInventory(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("another inventory from memory (-document +memory):\n%s", diff)
	}
	return got
}

func debian12() *linux.Release {
	return &linux.Release{ID: "debian", VersionID: "12", VersionCodename: "bookworm", PrettyName: "Debian GNU/Linux 12 (bookworm)"}
}

func deb(name, version, source string, files ...string) syft.Package {
	p := syft.Package{
		Name: name, Version: version, Type: syft.DebPkg, PURL: "pkg:deb/debian/" + name + "@" + version,
		CPEs: []cpe.CPE{cpe.Must("cpe:2.3:a:"+name+":"+name+":1.0:*:*:*:*:*:*:*", "")},
	}
	entry := syft.DpkgDBEntry{Package: name, Version: version, Source: source, Files: []syft.DpkgFileRecord{}}
	for _, f := range files {
		entry.Files = append(entry.Files, syft.DpkgFileRecord{Path: f})
	}
	p.Metadata = entry
	return p
}

func apk(name, version, origin string) syft.Package {
	return syft.Package{Name: name, Version: version, Type: syft.ApkPkg, PURL: "pkg:apk/alpine/" + name + "@" + version,
		Metadata: syft.ApkDBEntry{Package: name, Version: version, OriginPackage: origin, Architecture: "x86_64"}}
}

func npm(name, version string) syft.Package {
	return syft.Package{Name: name, Version: version, Type: syft.NpmPkg, Language: syft.JavaScript, PURL: "pkg:npm/" + name + "@" + version}
}

func pyPackage(name, version string) syft.Package {
	return syft.Package{Name: name, Version: version, Type: syft.PythonPkg, Language: syft.Python, PURL: "pkg:pypi/" + name + "@" + version}
}

func goModule(name, version string, symbols map[string][]string) syft.Package {
	return syft.Package{Name: name, Version: version, Type: syft.GoModulePkg, Language: syft.Go, PURL: "pkg:golang/" + name + "@" + version,
		Metadata: syft.GolangBinaryBuildinfoEntry{MainModule: "example.com/app", GoCompiledVersion: "go1.20.1", Symbols: symbols}}
}

func jar(group, name, version string) syft.Package {
	return syft.Package{Name: name, Version: version, Type: syft.JavaPkg, Language: syft.Java, PURL: "pkg:maven/" + group + "/" + name + "@" + version,
		Metadata: syft.JavaArchive{PomProperties: &syft.JavaPomProperties{GroupID: group, ArtifactID: name, Version: version}}}
}

// mixed is a Debian image with several ecosystems: a copy of a Go module that a
// fixed Debian package owns and a free one, a Python package that grype leaves
// out, a false positive of grype's own list, and a package without a version.
func mixed() *bill {
	b := &bill{distro: debian12()}
	b.add(deb("libssl3", "3.0.9-1", "openssl", "/usr/lib/libssl.so.3"), "/var/lib/dpkg/status")
	b.add(deb("zlib1g", "1:1.2.13.dfsg-1", "zlib"), "/var/lib/dpkg/status")
	ssh := b.add(deb("openssh-server", "1:9.2p1-2+deb12u3", "openssh", "/usr/bin/tool"), "/var/lib/dpkg/status")
	b.own(ssh, b.add(goModule("golang.org/x/crypto", "v0.14.0", nil), "/usr/bin/tool"))
	b.add(goModule("golang.org/x/crypto", "v0.14.0", nil), "/usr/local/bin/app")
	requests := b.add(deb("python3-requests", "2.25.0-1", "requests"), "/var/lib/dpkg/status")
	b.own(requests, b.add(pyPackage("requests", "2.25.0"), "/usr/lib/python3/dist-packages/requests"))
	b.add(pyPackage("Django", "3.2.0"), "/opt/app/django")
	b.add(npm("lodash", "4.17.15"), "/opt/app/node_modules/lodash/package.json")
	b.add(npm("lodash", "4.17.15"), "/opt/other/node_modules/lodash/package.json")
	b.add(npm("minimist", "1.2.0"), "/opt/app/node_modules/minimist/package.json")
	b.add(npm("nameless", "UNKNOWN"), "/opt/app/package.json")
	b.add(jar("org.apache.logging.log4j", "log4j-core", "2.14.1"), "/opt/app/log4j-core.jar")
	b.add(goModule("stdlib", "1.20.1", map[string][]string{"net/http": {"(*Server).Serve"}}), "/usr/local/bin/app")
	return b
}

// onAlpine is an image where CPEs and origins count.
func onAlpine() *bill {
	b := &bill{distro: &linux.Release{ID: "alpine", VersionID: "3.18.4", PrettyName: "Alpine Linux v3.18"}}
	b.add(apk("libssl3", "3.1.0-r0", "openssl"), "/lib/apk/db/installed")
	b.add(apk("busybox-binsh", "1.36.1-r5", "busybox"), "/lib/apk/db/installed")
	b.add(apk("busybox", "1.36.1-r7", "busybox"), "/lib/apk/db/installed")
	b.add(syft.Package{Name: "rack", Version: "2.0.8", Type: syft.GemPkg, Language: syft.Ruby, PURL: "pkg:gem/rack@2.0.8"}, "/usr/lib/rack.gemspec")
	return b
}

// onCentOS is an image whose distro the sample has no data for.
func onCentOS() *bill {
	b := &bill{distro: &linux.Release{ID: "centos", VersionID: "7", PrettyName: "CentOS Linux 7"}}
	epoch, label := 1, ""
	b.add(syft.Package{Name: "bind-license", Version: "32:9.11.4-26.el7", Type: syft.RpmPkg, PURL: "pkg:rpm/centos/bind-license@9.11.4",
		Metadata: syft.RpmDBEntry{Name: "bind-license", Version: "9.11.4", Epoch: &epoch, Arch: "noarch", SourceRpm: "bind-9.11.4-26.el7.src.rpm", ModularityLabel: &label}}, "/var/lib/rpm/Packages")
	return b
}

// sampleEngine is an engine with the sample database.
func sampleEngine(t testing.TB) *Engine {
	t.Helper()
	e := NewEngine(Options{Parallel: 2})
	if err := e.Use(t.Context(), sample(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

func sample(t testing.TB) vulndb.Installed {
	t.Helper()
	in, err := vulndb.BuildSample(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func pin(t testing.TB, e *Engine) *Session {
	t.Helper()
	s, err := e.Pin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}
