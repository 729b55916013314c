package sampleimage

import (
	"archive/tar"
	"bytes"
	"io"
	"path"
	"sort"
	"strings"
)

// tree is the files of a layer by path, without the leading slash.
type tree map[string]file

type file struct {
	content string
	mode    int64
}

func (t tree) empty() bool { return len(t) == 0 }

func (t tree) add(path, content string) { t.addMode(path, content, 0o644) }

func (t tree) addMode(path, content string, mode int64) {
	t[strings.TrimPrefix(path, "/")] = file{content, mode}
}

// archive is a finished tar.
type archive []byte

func (a archive) open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(a)), nil }

// tar writes directories and files in the order of their names, with the same
// owner and time for all.
func (t tree) tar() (archive, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range t.names() {
		h := &tar.Header{Name: name, Mode: 0o755, ModTime: epoch, Typeflag: tar.TypeDir, Format: tar.FormatPAX}
		if f, ok := t[name]; ok {
			h.Typeflag, h.Mode, h.Size = tar.TypeReg, f.mode, int64(len(f.content))
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(w, t[name].content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// names lists the files and the directories above them; a directory ends with a
// slash.
func (t tree) names() []string {
	seen := map[string]bool{}
	for name := range t {
		seen[name] = true
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			seen[dir+"/"] = true
		}
	}
	out := make([]string, 0, len(seen))
	for name := range seen {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}
