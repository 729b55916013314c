package webhook

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPurlClaim(t *testing.T) {
	escaped := strings.Replace(digestA, ":", "%3A", 1)
	full := claim{host: "registry.acme.test", repository: "a/b", tag: "1", digest: digestA}
	with := func(change func(*claim)) claim { c := full; change(&c); return c }
	tests := []struct {
		name, purl string
		want       claim
	}{
		{"oci, name repeated", "pkg:oci/b@" + escaped + "?repository_url=registry.acme.test/a/b&tag=1", full},
		{"oci, name not repeated", "pkg:oci/b@" + escaped + "?repository_url=registry.acme.test/a&tag=1", full},
		{"oci, host alone", "pkg:oci/b@" + escaped + "?repository_url=registry.acme.test&tag=1", with(func(c *claim) { c.repository = "b" })},
		{"oci with a namespace", "pkg:oci/a/b@" + escaped + "?repository_url=registry.acme.test&tag=1", full},
		{"folder called like the end of the name", "pkg:oci/b@" + escaped + "?repository_url=registry.acme.test/ab&tag=1", with(func(c *claim) { c.repository = "ab/b" })},
		{"folder of the name's name", "pkg:oci/b@" + escaped + "?repository_url=registry.acme.test/b&tag=1", with(func(c *claim) { c.repository = "b" })},
		{"URL with a scheme and a slash at the end", "pkg:oci/b@" + escaped + "?repository_url=https%3A%2F%2Fregistry.acme.test%2Fa%2F&tag=1", full},
		{"digest not escaped", "pkg:oci/b@" + digestA + "?repository_url=registry.acme.test/a/b&tag=1", full},
		{"no tag", "pkg:oci/b@" + escaped + "?repository_url=registry.acme.test/a/b", with(func(c *claim) { c.tag = "" })},
		{"no digest", "pkg:oci/b?repository_url=registry.acme.test/a/b&tag=1", with(func(c *claim) { c.digest = "" })},
		{"tag for a version", "pkg:oci/b@1?repository_url=registry.acme.test/a/b", with(func(c *claim) { c.digest = "" })},
		{"no repository_url", "pkg:oci/b@" + escaped + "?tag=1", claim{repository: "b", tag: "1", digest: digestA}},
		{"alias with a port", "pkg:oci/b@" + escaped + "?repository_url=inner:5000/a/b&tag=1", with(func(c *claim) { c.host = "inner:5000" })},
		{"repository_url without a host", "pkg:oci/b@" + escaped + "?repository_url=a/b&tag=1", with(func(c *claim) { c.host = "" })},
		{"user in the repository_url", "pkg:oci/b@" + escaped + "?repository_url=https://registry.acme.test@evil.test/a/b&tag=1", with(func(c *claim) { c.host = "registry.acme.test@evil.test" })},
		{"further qualifiers and a subpath", "pkg:oci/b@" + escaped + "?arch=amd64&repository_url=registry.acme.test/a/b&tag=1#x/y", full},
		{"slashes behind the scheme", "pkg://oci/b@" + escaped + "?repository_url=registry.acme.test/a/b&tag=1", full},
		{"type in upper case", "pkg:OCI/b@" + escaped + "?repository_url=registry.acme.test/a/b&tag=1", full},
		{"docker", "pkg:docker/a/b@1?repository_url=registry.acme.test", with(func(c *claim) { c.digest = "" })},
		{"docker by digest", "pkg:docker/a/b@" + escaped + "?repository_url=registry.acme.test", with(func(c *claim) { c.tag = "" })},
		{"Docker Hub", "pkg:docker/a/b@1", claim{host: "docker.io", repository: "a/b", tag: "1"}},
		{"Docker Hub by its page", "pkg:docker/a/b@1?repository_url=https://hub.docker.com", claim{host: "docker.io", repository: "a/b", tag: "1"}},
		{"Docker Hub, official", "pkg:docker/nginx@1", claim{host: "docker.io", repository: "library/nginx", tag: "1"}},
		{"another type", "pkg:npm/%40acme/api@1.0.0", claim{repository: "@acme/api", tag: "1.0.0", ignored: ReasonArtifact}},
	}
	for _, tt := range tests {
		r := request{endpoint: openEndpoint("cdevents")}
		if diff := cmp.Diff(tt.want, r.purlClaim(tt.purl), cmp.AllowUnexported(claim{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestPurlClaimOfWhatIsNone(t *testing.T) {
	for _, s := range []string{
		"", "pkg:", "pkg:oci", "pkg:oci/", "pkg:/b", "pkg:oci/@1", "oci/b@1", "registry.acme.test/a/b:1", "https://registry.acme.test/a/b",
		"pkg:oci/b@%zz", "pkg:oci/%zz", "pkg:oci/b?tag=%zz", "pkg:oci/b@1?a;b", "pkg:oci/" + strings.Repeat("a", maxReference),
	} {
		if c := (request{endpoint: openEndpoint("cdevents")}).purlClaim(s); c.ignored != ReasonMalformed {
			t.Errorf("%.60q: %+v", s, c)
		}
	}
}
