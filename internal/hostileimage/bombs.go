package hostileimage

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/flate"
)

// Zeros is a layer with a file of size zeros, under a name.
func Zeros(name string, size int64, c Compression) Blob {
	return Layer(Entries(func(w *tar.Writer) error {
		return add(w, tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size})
	}), c)
}

// Endless is a layer of gzip members of a mebibyte of zeros each that claims
// another content and goes on for size bytes, without anybody having made them
// all: its digests are not true.
func Endless(size int64) Blob {
	var member bytes.Buffer
	head := rawEntry{name: "zeros", kind: tar.TypeReg, size: size}.header()
	if err := pack(func(w io.Writer) error { _, err := w.Write(head); return err }, Gzip, &member); err != nil {
		panic(err)
	}
	first := bytes.Clone(member.Bytes())
	member.Reset()
	if err := pack(func(w io.Writer) error { _, err := io.CopyN(w, zeros{}, 1<<20); return err }, Gzip, &member); err != nil {
		panic(err)
	}
	rest := size / (1 << 20)
	b := Bytes(ociTar+"+gzip", first)
	b.Size += rest * int64(member.Len())
	b.open = opener(func(w io.Writer) error {
		if _, err := w.Write(first); err != nil {
			return err
		}
		for range rest {
			if _, err := w.Write(member.Bytes()); err != nil {
				return err
			}
		}
		return nil
	})
	b.Digest, _ = measure(b.Open())
	return b
}

// ZipBomb is a layer with an archive of n files of size zeros each, under a name
// that says what sort of archive it is.
func ZipBomb(name string, n int, size int64) Blob {
	return withArchive(name, func(w *zip.Writer) error {
		for i := range n {
			if err := zipped(w, fmt.Sprintf("META-INF/maven/g/a%d/pom.properties", i), io.LimitReader(zeros{}, size)); err != nil {
				return err
			}
		}
		return nil
	})
}

// JarOfJars is a layer with a jar that holds n jars of size zeros each.
func JarOfJars(n int, size int64) Blob {
	return withArchive("opt/app/outer.jar", func(w *zip.Writer) error {
		for i := range n {
			if err := zipped(w, fmt.Sprintf("lib/inner%d.jar", i), io.LimitReader(zeros{}, size)); err != nil {
				return err
			}
		}
		return nil
	})
}

// NestedJars is a layer with a jar in a jar and so on, depth deep, each a package
// of its own. The innermost is log4j-core 2.14.1.
func NestedJars(depth int) Blob {
	inner := jar("log4j-core", "2.14.1", nil)
	for i := range depth {
		inner = jar(fmt.Sprintf("shell%d", i), "1.0", inner)
	}
	return Layer(Files("opt/app/nested.jar", string(inner)), Gzip)
}

// jar is a small jar with the properties that Maven writes, and one jar inside.
func jar(artifact, version string, inside []byte) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	files := map[string]string{
		"META-INF/MANIFEST.MF": "Manifest-Version: 1.0\r\nImplementation-Version: " + version + "\r\nImplementation-Title: " + artifact + "\r\n\r\n",
		"META-INF/maven/org.apache.logging.log4j/" + artifact + "/pom.properties": "groupId=org.apache.logging.log4j\nartifactId=" + artifact + "\nversion=" + version + "\n",
	}
	for _, name := range []string{"META-INF/MANIFEST.MF", "META-INF/maven/org.apache.logging.log4j/" + artifact + "/pom.properties"} {
		must(zipped(w, name, bytes.NewReader([]byte(files[name]))))
	}
	if inside != nil {
		must(zipped(w, "lib/inside.jar", bytes.NewReader(inside)))
	}
	must(w.Close())
	return b.Bytes()
}

// must is for writes to memory, which cannot fail.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("hostileimage: %v", err))
	}
}

// withArchive is a layer with a zip. A tar tells sizes first, so the archive is
// made once to be measured.
func withArchive(name string, write func(*zip.Writer) error) Blob {
	archive := opener(func(out io.Writer) error {
		w := zip.NewWriter(out)
		w.RegisterCompressor(zip.Deflate, func(out io.Writer) (io.WriteCloser, error) { return flate.NewWriter(out, flate.BestSpeed) })
		if err := write(w); err != nil {
			return err
		}
		return w.Close()
	})
	_, size := measure(archive())
	return Layer(Entries(func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		content := archive()
		defer func() { _ = content.Close() }()
		_, err := io.Copy(w, content)
		return err
	}), Gzip)
}

func zipped(w *zip.Writer, name string, content io.Reader) error {
	f, err := w.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return err
}

// LargeManifest is a layer with a package.json of about size bytes that is good
// JSON: a package with a very long list.
func LargeManifest(size int64) Blob {
	const head, item, tail = `{"name":"large","version":"1.0.0","keywords":[`, `"keyword",`, `"end"]}`
	items := size / int64(len(item)) * int64(len(item))
	return Layer(Entries(func(w *tar.Writer) error {
		if err := w.WriteHeader(&tar.Header{Name: "usr/lib/node_modules/large/package.json", Mode: 0o644, Typeflag: tar.TypeReg,
			Size: int64(len(head)) + items + int64(len(tail))}); err != nil {
			return err
		}
		if _, err := io.WriteString(w, head); err != nil {
			return err
		}
		if _, err := io.Copy(w, repeated(item, items)); err != nil {
			return err
		}
		_, err := io.WriteString(w, tail)
		return err
	}), Gzip)
}
