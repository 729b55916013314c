package hostileimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Traversal is a layer whose entries climb out of the directory that somebody
// unpacks it to, towards target, an absolute path: by their names, by links and
// through links.
func Traversal(target string) Blob {
	inside := strings.TrimPrefix(target, "/")
	up := strings.Repeat("../", 40)
	return Layer(Entries(func(w *tar.Writer) error {
		entries := []tar.Header{
			{Name: "..", Typeflag: tar.TypeDir},
			{Name: "../", Typeflag: tar.TypeDir},
			{Name: "./../..", Typeflag: tar.TypeReg, Size: 1},
			{Name: up + inside, Typeflag: tar.TypeReg, Size: 1},
			{Name: "a/../../../" + up + inside, Typeflag: tar.TypeReg, Size: 1},
			{Name: target, Typeflag: tar.TypeReg, Size: 1},
			{Name: "//" + target, Typeflag: tar.TypeReg, Size: 1},
			{Name: `..\..\..\` + inside, Typeflag: tar.TypeReg, Size: 1},
			{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/"},
			{Name: "out/" + inside, Typeflag: tar.TypeReg, Size: 1},
			{Name: "up", Typeflag: tar.TypeSymlink, Linkname: up},
			{Name: "up/" + inside, Typeflag: tar.TypeReg, Size: 1},
			{Name: "hard", Typeflag: tar.TypeLink, Linkname: up + "etc/passwd"},
			{Name: "hard", Typeflag: tar.TypeReg, Size: 1},
			{Name: "usr/lib/node_modules/stolen/package.json", Typeflag: tar.TypeSymlink, Linkname: up + "proc/self/environ"},
			{Name: "usr/lib/node_modules/stolen2/package.json", Typeflag: tar.TypeLink, Linkname: "/proc/self/environ"},
		}
		return add(w, entries...)
	}), Gzip)
}

// add writes entries with contents of zeros.
func add(w *tar.Writer, entries ...tar.Header) error {
	for _, h := range entries {
		h.Mode = 0o755
		if err := w.WriteHeader(&h); err != nil {
			return fmt.Errorf("hostileimage: %.40q: %w", h.Name, err)
		}
		if _, err := io.CopyN(w, zeros{}, h.Size); err != nil {
			return err
		}
	}
	return nil
}

// Loops is a layer of links that lead to themselves, to each other and into
// themselves, in places where catalogers look.
func Loops() Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		link := func(name, to string) tar.Header {
			return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
		}
		return add(w,
			link("self", "self"),
			link("there", "back"), link("back", "there"),
			link("dir/into", "."), link("dir/up", ".."), link("dir/deep", "deep/deep/deep"),
			link("usr/lib/node_modules/loop/package.json", "package.json"),
			link("usr/lib/python3/dist-packages", "/usr/lib/python3/dist-packages"),
			link("lib/apk/db", "/lib/apk/db"),
			tar.Header{Name: "h1", Typeflag: tar.TypeLink, Linkname: "h2"}, tar.Header{Name: "h2", Typeflag: tar.TypeLink, Linkname: "h1"},
			tar.Header{Name: "h3", Typeflag: tar.TypeLink, Linkname: "h3"},
		)
	}), Gzip)
}

// Devices is a layer of everything that is neither a file nor a directory, in
// places where catalogers look, and a chain of n links.
func Devices(n int) Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		for i, kind := range []byte{tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeCont, 'Z'} {
			if err := add(w,
				tar.Header{Name: fmt.Sprintf("dev/d%d", i), Typeflag: kind, Devmajor: 1, Devminor: 5},
				tar.Header{Name: fmt.Sprintf("usr/lib/node_modules/d%d/package.json", i), Typeflag: kind, Devmajor: 1, Devminor: 5},
			); err != nil {
				return err
			}
		}
		for i := range n {
			if err := add(w, tar.Header{Name: fmt.Sprintf("chain/%d", i), Typeflag: tar.TypeSymlink, Linkname: fmt.Sprint(i + 1)}); err != nil {
				return err
			}
		}
		return file(w, fmt.Sprintf("chain/%d", n), "end")
	}), Gzip)
}

// Whiteouts is a layer that takes away the root, what is above it and what is not
// there.
func Whiteouts() Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		for _, name := range []string{".wh.", ".wh..", ".wh...", "./.wh..", "../.wh.etc", "a/../.wh..", ".wh..wh.", ".wh..wh..wh.", ".wh..wh.plnk", "nothing/.wh.here", "nothing/.wh..wh..opq"} {
			if err := add(w, tar.Header{Name: name, Typeflag: tar.TypeReg}); err != nil {
				return err
			}
		}
		return nil
	}), Gzip)
}

// OpaqueRoot is a layer that takes away everything below it.
func OpaqueRoot() Blob { return Layer(Files(".wh..wh..opq", ""), Gzip) }

// ManyEntries is a layer of n empty files in directories of a thousand.
func ManyEntries(n int) Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		for i := range n {
			if err := add(w, tar.Header{Name: fmt.Sprintf("many/%d/%d", i/1000, i), Typeflag: tar.TypeReg}); err != nil {
				return err
			}
		}
		return nil
	}), Gzip)
}

// LongNames is a layer whose names have n characters, as one and as many parts,
// and whose links lead as far. It also has a name in a package that is as long.
func LongNames(n int) Blob {
	long, deep := strings.Repeat("n", n), strings.Repeat("d/", n/2)
	return Layer(Entries(func(w *tar.Writer) error {
		if err := add(w,
			tar.Header{Name: long, Typeflag: tar.TypeReg, Size: 1},
			tar.Header{Name: deep + "package.json", Typeflag: tar.TypeReg, Size: 1},
			tar.Header{Name: "to", Typeflag: tar.TypeSymlink, Linkname: long},
			tar.Header{Name: "deep", Typeflag: tar.TypeSymlink, Linkname: deep},
		); err != nil {
			return err
		}
		if err := file(w, "opt/long/node_modules/long/package.json", NPM(long, "1.0.0-"+long)); err != nil {
			return err
		}
		return file(w, "var/lib/dpkg/status.d/long", Deb(long, "1:"+long+"-1"))
	}), Gzip)
}

// Binary is a layer whose names and texts hold what no text holds: NULs, bytes
// that are no UTF-8, escapes, and marks that turn the direction of writing. What
// is said of the release stands in os-release.
func Binary() Blob {
	const bad = "a\xff\xfe\xc0\xaf\x00\x1b[31m\u202e\ufeff\u0000<b>'\"\\;--"
	plain := strings.ReplaceAll(bad, "\x00", "")
	return Layer(Entries(func(w *tar.Writer) error {
		if err := rawName(w, plain+".jar"); err != nil {
			return err
		}
		for i, pair := range [][2]string{
			{"etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"" + bad + "\"\nNAME=" + bad + "\nVARIANT=" + bad + "\nBUILD_ID=" + bad + "\n"},
			{"var/lib/dpkg/status.d/bad", Deb(bad, "1:"+bad)},
			{"usr/lib/node_modules/bad/package.json", `{"name":"` + "b\xff\xfe" + `\u0000\ud800\u202e","version":"1.0.0\u0000` + "\xff" + `","license":"` + "\xff" + `\u0000","author":"\u0000","homepage":"\u0000"}`},
			{"usr/lib/python3/dist-packages/bad-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: " + bad + "\nVersion: 1" + bad + "\nLicense: " + bad + "\n"},
			{"opt/Gemfile.lock", "GEM\n  remote: https://rubygems.org/\n  specs:\n    " + plain + " (1." + bad + ")\n"},
			{"opt/requirements.txt", bad + "==" + bad + "\n"},
			{"opt/go.mod", "module " + bad + "\nrequire example.com/" + bad + " v1.0.0\n"},
			{"opt/pom.xml", "<project><groupId>" + bad + "</groupId><artifactId>&#0;" + bad + "</artifactId><version>1</version></project>"},
		} {
			if err := file(w, pair[0], pair[1]); err != nil {
				return fmt.Errorf("hostileimage: binary entry %d: %w", i, err)
			}
		}
		return nil
	}), Gzip)
}

// rawName writes an empty file with a name that may be no text.
func rawName(w *tar.Writer, name string) error {
	return w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Format: tar.FormatGNU})
}

// OddRelease is a layer in which os-release is what a recipe says: a link to
// itself, a directory, a device, or size bytes of text.
func OddRelease(kind byte, size int64) Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		h := tar.Header{Name: "etc/os-release", Typeflag: kind, Mode: 0o644, Size: size}
		if kind == tar.TypeSymlink {
			h.Linkname = "/etc/os-release"
		}
		if err := w.WriteHeader(&h); err != nil {
			return err
		}
		_, err := io.Copy(w, repeated("NAME=a\n", size))
		return err
	}), Gzip)
}

// Twice is a layer with every path n times, as a file, a directory and a link in
// turn; the package.json ends as a file.
func Twice(n int) Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		for range n {
			for _, name := range []string{"twice/a", "usr/lib/node_modules/twice/package.json"} {
				if err := add(w,
					tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 1},
					tar.Header{Name: name + "/", Typeflag: tar.TypeDir},
					tar.Header{Name: name + "/inside", Typeflag: tar.TypeReg},
					tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: "b"},
				); err != nil {
					return err
				}
			}
		}
		return file(w, "usr/lib/node_modules/twice/package.json", NPM("twice", "1.0.0"))
	}), Gzip)
}

// Sparse is a layer with a file of which a few bytes are there and the header
// claims size, in each of the three ways that tars have.
func Sparse(size int64) Blob {
	return Layer(func(w io.Writer) error {
		var b bytes.Buffer
		b.Write(rawEntry{name: "old/package.json", kind: tar.TypeGNUSparse, size: 1, sparse: &size}.header())
		b.Write(make([]byte, block))
		claimed := fmt.Sprint(size)
		b.Write(pax("GNU.sparse.major", "0", "GNU.sparse.minor", "1", "GNU.sparse.name", "new/package.json", "GNU.sparse.size", claimed,
			"GNU.sparse.numblocks", "1", "GNU.sparse.map", fmt.Sprintf("%d,1", size-1)))
		b.Write(rawEntry{name: "new", kind: tar.TypeReg, size: 1}.header())
		b.Write(make([]byte, block))
		b.Write(pax("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.name", "newer/a.jar", "GNU.sparse.realsize", claimed))
		table := fmt.Sprintf("1\n%d\n1\n", size-1)
		b.Write(rawEntry{name: "newer", kind: tar.TypeReg, size: block + 1}.header())
		b.WriteString(table)
		b.Write(make([]byte, block-len(table)+block))
		if _, err := w.Write(b.Bytes()); err != nil {
			return err
		}
		return end(w)
	}, Gzip)
}

// Claims is a layer with an ordinary file that claims size and ends early.
func Claims(size int64) Blob {
	return Layer(func(w io.Writer) error {
		_, err := w.Write(append(rawEntry{name: "etc/large", kind: tar.TypeReg, size: size}.header(), make([]byte, 10*block)...))
		return err
	}, Gzip)
}

// LongPAX is a layer with an extended header of size bytes.
func LongPAX(size int64) Blob {
	return Layer(func(w io.Writer) error {
		if _, err := w.Write(rawEntry{name: "pax", kind: tar.TypeXHeader, size: size}.header()); err != nil {
			return err
		}
		if _, err := io.Copy(w, repeated("20 comment=aaaaaaaa\n", size)); err != nil {
			return err
		}
		if _, err := io.CopyN(w, zeros{}, padding(size)); err != nil {
			return err
		}
		if _, err := w.Write(rawEntry{name: "after", kind: tar.TypeReg}.header()); err != nil {
			return err
		}
		return end(w)
	}, Gzip)
}
