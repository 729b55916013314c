package hostileimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
)

// DebPackages is a layer with a dpkg status file of n packages.
func DebPackages(n int) Blob {
	record := func(i int) string { return Deb(fmt.Sprintf("package-%07d", i), fmt.Sprintf("1.%d-1", i)) }
	return Layer(counted("var/lib/dpkg/status", n, "", record, ""), Gzip)
}

// LockedPackages is a layer with a package-lock.json of n packages.
func LockedPackages(n int) Blob {
	record := func(i int) string {
		comma := ","
		if i == n-1 {
			comma = ""
		}
		return fmt.Sprintf(`"node_modules/p%07d":{"version":"1.%07d.0","license":"MIT"}%s`, i, i, comma)
	}
	return Layer(counted("opt/app/package-lock.json", n, `{"name":"many","lockfileVersion":3,"packages":{`, record, "}}"), Gzip)
}

// counted is a tar of one file of n records, each as long as the first but for a
// comma at the end; sizes are counted in a first pass.
func counted(name string, n int, head string, record func(int) string, tail string) Tar {
	size := int64(len(head) + len(tail))
	for i := range n {
		size += int64(len(record(i)))
	}
	return Entries(func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
		for i := range n {
			if _, err := io.WriteString(w, record(i)); err != nil {
				return err
			}
		}
		_, err := io.WriteString(w, tail)
		return err
	})
}

// MalformedDatabases is a layer whose package databases begin as they should and
// go on with noise: dpkg, apk, and rpm's Berkeley, ndb and sqlite.
func MalformedDatabases() Blob {
	berkeley := make([]byte, 4096)
	copy(berkeley[12:], "\x61\x15\x06\x00\x09\x00\x00\x00\x00\x10\x00\x00\x00\x08")
	ndb := append([]byte("RpmP\x00\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), noise(4076)...)
	sqlite := append([]byte("SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20\xff\xff\xff\xff"), noise(8000)...)
	garbled := "Package: half\nStatus: install ok inst" + string(noise(300)) + "\nVersion\n\n\n:\n: :\nPackage:\n\n" + strings.Repeat("X", 70_000) + "\n" + Deb("after-noise", "1")
	return Layer(Files(
		"var/lib/dpkg/status.d/garbled", garbled,
		"var/lib/dpkg/info/half.md5sums", string(noise(500)),
		"var/lib/dpkg/info/half.list", "/../../../etc/passwd\n"+string(noise(500)),
		"lib/apk/db/installed", "P:half\nV:\nF:"+strings.Repeat("../", 50)+"\nR:"+string(noise(200))+"\n\nP:\x00\nV:1\n\n"+string(noise(3000)),
		"var/lib/rpm/Packages", string(append(berkeley, noise(8192)...)),
		"var/lib/rpm/Packages.db", string(ndb),
		"var/lib/rpm/rpmdb.sqlite", string(sqlite),
		"usr/lib/sysimage/rpm/rpmdb.sqlite", string(sqlite[:1000]),
		"usr/lib/sysimage/rpm/Packages.db", string(ndb[:30]),
		"usr/local/bin/noise", "\x7fELF\x02\x01\x01"+string(noise(5000)),
		"usr/local/bin/noise.exe", "MZ"+string(noise(5000)),
		"opt/noise.jar", "PK\x03\x04"+string(noise(5000)),
		"opt/package-lock.json", `{"packages":{"":`+strings.Repeat(`{"a":`, 20_000),
		"opt/yarn.lock", string(noise(5000)),
		"opt/Cargo.lock", "[[package]]\nname = "+string(noise(200)),
		"opt/pom.xml", "<project>"+strings.Repeat("<a>", 20_000),
		"opt/go.sum", string(noise(500)),
		"opt/poetry.lock", "[[package]]\n"+string(noise(500)),
		"opt/composer.lock", "{\"packages\":[{},null,1,\"\"]}",
		"opt/conan.lock", "{\"graph_lock\":{\"nodes\":{\"0\":null}}}",
	), Gzip)
}

// noise is n bytes that look random and are the same every time.
func noise(n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(out) // never fails
	return out
}

// Entities is a layer with a pom.xml that refers to entities which refer to
// entities, depth deep, ten times each.
func Entities(depth int) Blob {
	var b bytes.Buffer
	b.WriteString("<?xml version=\"1.0\"?>\n<!DOCTYPE p [<!ENTITY e0 \"lol\">\n")
	for i := range depth {
		fmt.Fprintf(&b, "<!ENTITY e%d \"%s\">\n", i+1, strings.Repeat(fmt.Sprintf("&e%d;", i), 10))
	}
	fmt.Fprintf(&b, "]>\n<project><artifactId>&e%d;</artifactId><version>1</version></project>", depth)
	return Layer(Files("opt/pom.xml", b.String(), "opt/app.csproj", b.String()), Gzip)
}
