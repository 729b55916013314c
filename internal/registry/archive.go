package registry

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// openArchive opens an image of a file that docker save wrote: the one that is
// named behind the path, or else the only one.
func openArchive(source string, platform image.Platform) (v1.Image, image.Reference, error) {
	path, wanted := splitPath(source, func(i os.FileInfo) bool { return !i.IsDir() })
	if err := checkArchive(path); err != nil {
		return nil, image.Reference{}, err
	}
	saved, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(path) })
	if err != nil {
		return nil, image.Reference{}, errs.New(errs.Invalid, "%s is not a docker archive: %s", path, clean(err))
	}
	tag, err := pickSaved(saved, wanted)
	if err != nil {
		return nil, image.Reference{}, err
	}
	img, err := openSaved(path, tag, len(saved) == 1)
	if err != nil {
		return nil, image.Reference{}, errs.New(errs.Malformed, "%s: %s", path, clean(err))
	}
	ref := image.Reference{Registry: dockerArchive, Repository: filepath.Base(path)}
	if named, err := image.ParseReference(tag); err == nil {
		ref.Tag = named.Tag
	}
	return img, ref, only(img, platform)
}

// checkArchive tells what is wrong with a file that cannot be an archive.
func checkArchive(path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return errs.New(errs.Invalid, "%v", err)
	}
	defer func() { _ = f.Close() }()
	start := make([]byte, 4)
	n, err := io.ReadFull(f, start)
	if n == 0 {
		return errs.New(errs.Invalid, "%s is not a docker archive: %v", path, err)
	}
	for _, packed := range []struct{ magic, form, with string }{
		{"\x1f\x8b", "gzip", "gunzip"}, {"\x28\xb5\x2f\xfd", "zstd", "unzstd"}, {"BZh", "bzip2", "bunzip2"}, {"\xfd7zX", "xz", "unxz"},
	} {
		if bytes.HasPrefix(start, []byte(packed.magic)) {
			return errs.New(errs.Invalid, "%s is packed with %s", path, packed.form).WithHint("unpack it first: %s %s", packed.with, path)
		}
	}
	return nil
}

// pickSaved finds the image with a name, as "registry/app:1", "app:1" or "1", and
// returns the first tag of it that fits, empty for an only image without one.
func pickSaved(saved tarball.Manifest, wanted string) (tag string, err error) {
	var all []string
	var found []int
	for n, d := range saved {
		all = append(all, d.RepoTags...)
		for _, t := range d.RepoTags {
			if (wanted == "" || isNamed(t, wanted)) && !slices.Contains(found, n) {
				found = append(found, n)
				tag = t
			}
		}
	}
	slices.Sort(all)
	hint := strings.Join(all, ", ")
	switch {
	case len(found) == 1 && (wanted != "" || len(saved) == 1), wanted == "" && len(saved) == 1:
		return tag, nil
	case len(all) == 0:
		return "", errs.New(errs.Invalid, "the archive holds %d images without a name", len(saved)).WithHint("save one image to a file")
	case wanted == "":
		return "", errs.New(errs.Invalid, "the archive holds %d images", len(saved)).WithHint("add one of these behind a colon: %s", hint)
	case len(found) > 1:
		return "", errs.New(errs.Invalid, "the archive has %d images %q", len(found), wanted).WithHint("write one of these in full: %s", hint)
	}
	return "", errs.New(errs.NotFound, "the archive has no image %q", wanted).WithHint("it has %s", hint)
}

// isNamed reports whether a tag of an archive is meant by a name.
func isNamed(tag, wanted string) bool {
	saved, err := image.ParseReference(tag)
	if tag == wanted || err != nil {
		return tag == wanted
	}
	meant, err := image.ParseReference(wanted)
	return saved.Tag == wanted || err == nil && meant == saved
}

// openSaved opens the image with a tag, or the only one.
func openSaved(path, tag string, single bool) (v1.Image, error) {
	if single {
		return tarball.ImageFromPath(path, nil)
	}
	named, err := name.NewTag(tag)
	if err != nil {
		return nil, err
	}
	return tarball.ImageFromPath(path, &named)
}
