package registry

import (
	"slices"
	"strings"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
)

// otherSources are schemes that tools of this kind know and Open does not. An
// image on Docker Hub could have such a name; nobody has asked for one yet.
func otherSources() []string {
	return []string{
		"containerd", "containers-storage", "cpe", "dir", "docker-daemon", "docker-dir", "file", "http", "https", "oci", "oci-archive",
		"oci-layout", "oci-layout-dir", "pkg", "podman", "purl", "sbom", "singularity", "snap", "tarball",
	}
}

// fileEndings are those of files that people name in place of an image.
func fileEndings() []string {
	return []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".json", ".xml", ".spdx", ".sif"}
}

// CheckSource tells, without looking for anything, whether a source can be meant
// for Open. The error is of kind Invalid.
func CheckSource(source string) error {
	if isSource(source) {
		return nil
	}
	return errs.New(errs.Invalid, "%.300q is not an image", source).
		WithHint("write host/name:tag, oci-dir:PATH[:REF] or docker-archive:PATH[:REF]")
}

// isSource reports whether a source can be meant for Open: an OCI layout or an
// archive with a path, or else what reads as a reference and not as a path or as
// a source of another tool.
func isSource(source string) bool {
	if source == "" || strings.ContainsAny(source[:1], "./~") || strings.Contains(source, "\\") {
		return false
	}
	rest, _, _ := strings.Cut(source, "@")
	head, tail, colon := strings.Cut(rest, ":")
	switch {
	case head == ociDir || head == dockerArchive:
		return source[len(head):] != "" && source[len(head):] != ":"
	case !colon || strings.Contains(head, "/"):
		return !slices.ContainsFunc(fileEndings(), func(e string) bool { return strings.HasSuffix(rest, e) })
	case isPort(tail):
		return true
	}
	return image.IsTag(tail) && !slices.Contains(otherSources(), strings.ToLower(head))
}

// isPort reports whether what follows a host begins with a port and a path.
func isPort(s string) bool {
	port, _, ok := strings.Cut(s, "/")
	return ok && port != "" && strings.Trim(port, "0123456789") == ""
}
