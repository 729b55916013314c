package webhook

import (
	"strings"

	"github.com/anchore/packageurl-go"
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
	if len(text) > maxReference {
		return claim{ignored: ReasonMalformed}
	}
	p, err := packageurl.FromString(text)
	switch {
	case err != nil:
		return claim{ignored: ReasonMalformed}
	case p.Type != purlOCI && p.Type != purlDocker:
		return claim{repository: p.Name, tag: p.Version, ignored: ReasonArtifact}
	}
	qualifiers := p.Qualifiers.Map()
	host, folder := r.splitLocation(qualifiers["repository_url"])
	if p.Type == purlDocker && (host == "" && folder == "" || host == "hub.docker.com") {
		host = "docker.io"
	}
	c := claim{host: host, repository: joinName(folder, p.Namespace, p.Name), tag: qualifiers["tag"]}
	if host == "docker.io" && !strings.Contains(c.repository, "/") {
		c.repository = "library/" + c.repository
	}
	switch {
	case strings.Contains(p.Version, ":"):
		c.digest = p.Version
	case c.tag == "":
		c.tag = p.Version
	}
	return c
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

// joinName puts the parts of a package URL together, without repeating the name
// that a location may end in.
func joinName(folder, namespace, name string) string {
	if namespace != "" {
		name = namespace + "/" + name
	}
	switch {
	case folder == "":
		return name
	case folder == name, strings.HasSuffix(folder, "/"+name):
		return folder
	}
	return folder + "/" + name
}
