package webhook

import (
	"errors"
	"net/url"
	"strings"
)

// The types of package URLs that name images (purl specification, "PURL
// types").
const (
	purlOCI    = "oci"
	purlDocker = "docker"
)

// purlClaim reads where a package URL says an image is:
//
//	pkg:oci/name@sha256%3A…?repository_url=host/path/name&tag=v
//	pkg:docker/path/name@tag?repository_url=host
//
// The repository_url may or may not repeat the name. Without one the host is
// Docker Hub's for the type docker and any for oci.
func (r request) purlClaim(text string) claim {
	p, ok := parsePURL(text)
	switch {
	case !ok:
		return claim{ignored: ReasonMalformed}
	case p.kind != purlOCI && p.kind != purlDocker:
		return claim{repository: p.name, tag: p.version, ignored: ReasonArtifact}
	}
	host, folder := r.splitLocation(p.qualifiers.Get("repository_url"))
	if p.kind == purlDocker && (host == "" && folder == "" || host == "hub.docker.com") {
		host = "docker.io"
	}
	c := claim{host: host, repository: joinName(folder, p.name), tag: p.qualifiers.Get("tag")}
	if host == "docker.io" && !strings.Contains(c.repository, "/") {
		c.repository = "library/" + c.repository
	}
	switch {
	case strings.Contains(p.version, ":"):
		c.digest = p.version
	case c.tag == "":
		c.tag = p.version
	}
	return c
}

// packageURL is what we use of a package URL.
type packageURL struct {
	kind       string
	name       string // with the namespace
	version    string
	qualifiers url.Values
}

// parsePURL reads "pkg:type/namespace/name@version?qualifiers#subpath", of which
// namespace and what stands behind the name may be missing (purl specification,
// "How to parse a PURL string in its components").
func parsePURL(s string) (p packageURL, ok bool) {
	s, ok = strings.CutPrefix(s, "pkg:")
	if !ok || len(s) > maxReference {
		return p, false
	}
	s, _, _ = strings.Cut(s, "#")
	s, query, _ := strings.Cut(s, "?")
	kind, path, _ := strings.Cut(strings.TrimLeft(s, "/"), "/")
	version := ""
	if at := strings.LastIndexByte(path, '@'); at >= 0 {
		path, version = path[:at], path[at+1:]
	}
	name, nameErr := url.PathUnescape(strings.Trim(path, "/"))
	version, versionErr := url.PathUnescape(version)
	qualifiers, err := url.ParseQuery(query)
	p = packageURL{kind: strings.ToLower(kind), name: name, version: version, qualifiers: qualifiers}
	return p, errors.Join(nameErr, versionErr, err) == nil && kind != "" && name != ""
}

// splitLocation cuts "host/folder", with or without a scheme, into its parts.
// The first part is a host as in references; see splitHost.
func (r request) splitLocation(location string) (host, folder string) {
	if _, rest, ok := strings.Cut(location, "://"); ok {
		location = rest
	}
	host, folder = r.splitHost(location + "/")
	return host, strings.Trim(folder, "/")
}

// joinName puts folder and name of a package URL together, without repeating the
// name that the folder may end in.
func joinName(folder, name string) string {
	switch {
	case folder == "":
		return name
	case folder == name, strings.HasSuffix(folder, "/"+name):
		return folder
	}
	return folder + "/" + name
}
