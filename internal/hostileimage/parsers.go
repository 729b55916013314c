package hostileimage

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
)

// nested are files that are read by recursion, by what opens a level.
var nested = []struct{ name, head, open string }{
	{"opt/n/package-lock.json", `{"packages":`, `{"a":`},
	{"opt/n/composer.lock", `{"packages":`, "["},
	{"opt/n/Pipfile.lock", `{"default":`, `{"a":`},
	{"opt/n/Package.resolved", `{"pins":`, "["},
	{"opt/n/app.deps.json", `{"libraries":`, `{"a":`},
	{"opt/n/pnpm-lock.yaml", "lockfileVersion: '9.0'\npackages: ", "["},
	{"opt/n/pubspec.lock", "packages: ", "{a: "},
	{"opt/n/stack.yaml.lock", "packages: ", "["},
	{".github/workflows/n.yml", "jobs: ", "{a: "},
	{"opt/n/Cargo.lock", "a = ", "["},
	{"opt/n/poetry.lock", "a = ", "["},
	{"opt/n/uv.lock", "a = ", "["},
	{"opt/n/pdm.lock", "a = ", "{ a = "},
	{"opt/n/pom.xml", "<project>", "<a>"},
	{"opt/n/.terraform.lock.hcl", "a = ", "["},
	{"opt/n/mix.lock", "%{", `"a": {:hex, `},
	{"opt/n/rebar.lock", "", "[{"},
	{"opt/n/n-1.0-1.rockspec", "package = ", "{a = "},
	{"opt/n/n.opam", "depends: ", "["},
	{"opt/n/flake.lock", `{"nodes":`, `{"a":`},
	{"opt/n/MODULE.bazel.lock", `{"a":`, "["},
	{"usr/local/lib/python3/site-packages/n.dist-info/direct_url.json", `{"a":`, "["},
	{"conda-meta/n.json", `{"a":`, "["},
	{"opt/bitnami/n/.spdx-n.spdx", `{"a":`, "["},
	{"opt/n/conan.lock", `{"a":`, "["},
	{"usr/lib/systemd/n.plist", "<plist>", "<array>"},
}

// Nesting is a layer with files of every form in which lists hold lists, depth
// deep.
func Nesting(depth int) Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		for _, n := range nested {
			size := int64(len(n.head) + depth*len(n.open))
			if err := w.WriteHeader(&tar.Header{Name: n.name, Mode: 0o644, Size: size, Typeflag: tar.TypeReg}); err != nil {
				return err
			}
			if _, err := io.WriteString(w, n.head); err != nil {
				return err
			}
			if _, err := io.Copy(w, repeated(n.open, int64(depth*len(n.open)))); err != nil {
				return err
			}
		}
		return nil
	}), Gzip)
}

// Stalling is a layer with a small file that syft's reader of PEAR's registry needs
// 2^depth steps for.
func Stalling(depth int) Blob {
	return Layer(Files("usr/share/php/.registry/stall.reg", strings.Repeat("a:1:{i:0;", depth)), Gzip)
}

// Aliases is a layer of YAML files whose aliases stand for lists of aliases, depth
// deep, nine times each.
func Aliases(depth int) Blob {
	var b strings.Builder
	b.WriteString("lockfileVersion: '9.0'\na0: &a0 [x]\n")
	for i := range depth {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	text := b.String() + fmt.Sprintf("packages: *a%d\n", depth)
	return Layer(Files("opt/a/pnpm-lock.yaml", text, "opt/a/pubspec.lock", text, ".github/workflows/a.yml", text, "opt/a/stack.yaml", text), Gzip)
}

// Programs is a layer of programs whose headers lead everywhere: tables beyond
// the end, counts and sizes that no file has, build information without end.
func Programs() Blob {
	info := "\xff Go buildinf:\x08\x02" + strings.Repeat("\x00", 16) + "\xff\xff\xff\xff\xff\xff\xff\xff\x7f" + strings.Repeat("A", 3000)
	note := strings.Repeat("\xff", 64) + `{"type":"deb","name":"` + strings.Repeat("n", 5000)
	wide := []byte("\xca\xfe\xba\xbe\x7f\xff\xff\xff" + strings.Repeat("\xff", 4000))
	return Layer(Files(
		"usr/bin/elf-tables", string(elf(1<<62, 0xffff, "")),
		"usr/bin/elf-go", string(elf(64, 4, info)),
		"usr/bin/elf-note", string(elf(64, 4, note)),
		"usr/bin/pe", "MZ"+strings.Repeat("\x00", 58)+"\x40\x00\x00\x00PE\x00\x00\x64\x86\xff\xff"+strings.Repeat("\xff", 4000),
		"usr/bin/macho", "\xcf\xfa\xed\xfe\x07\x00\x00\x01\x03\x00\x00\x00\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"+strings.Repeat("\xff", 4000),
		"usr/bin/fat", string(wide),
	), Gzip)
}

// elf is a program with a section table at an offset, so many entries, and a text
// where sections would be.
func elf(table uint64, entries uint16, text string) []byte {
	var b bytes.Buffer
	b.WriteString("\x7fELF\x02\x01\x01\x00" + strings.Repeat("\x00", 8))
	put := func(v any) { must(binary.Write(&b, binary.LittleEndian, v)) }
	put([]uint16{2, 62})                  // type, machine
	put(uint32(1))                        // version
	put([]uint64{0x400000, table, table}) // entry, program headers, sections
	put(uint32(0))                        // flags
	put([]uint16{64, 56, entries, 64})    // sizes and counts
	put([]uint16{entries, entries - 1})   // sections, index of names
	for range 4 {                         // sections that claim exabytes
		put([]uint32{1, 1}) // name, type
		put([]uint64{2, 0x400000, 200, 1 << 62, 0, 1, 1 << 62})
	}
	b.WriteString(text)
	b.WriteString(strings.Repeat("\xff", 512))
	return b.Bytes()
}

// ZipSlip is a layer with a jar whose jars have names that climb out of the
// directory they are unpacked to, towards target, an absolute path; and one with
// n entries.
func ZipSlip(target string, n int) Blob {
	inner := jar("slipped", "1.0", nil)
	var b, many bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{strings.Repeat("../", 40) + strings.TrimPrefix(target, "/") + ".jar", target + ".jar", `..\..\` + "slip.jar", "a/../../../slip.jar", "..", "/", "", "link.jar"} {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		content := inner
		if name == "link.jar" {
			h.SetMode(0o777 | 1<<27) // a symbolic link
			content = []byte(target)
		}
		f, err := w.CreateHeader(h)
		must(err)
		if !strings.HasSuffix(name, "/") {
			_, err = f.Write(content)
			must(err)
		}
	}
	must(w.Close())
	w = zip.NewWriter(&many)
	for i := range n {
		must(zipped(w, fmt.Sprintf("%d/pom.properties", i), strings.NewReader("")))
	}
	must(w.Close())
	return Layer(Files("opt/app/slip.jar", b.String(), "opt/app/slip.war", b.String(), "opt/app/many.jar", many.String()), Gzip)
}
