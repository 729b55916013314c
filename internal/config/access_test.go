package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRegistryAccess(t *testing.T) {
	const source = `registries:
  - name: good
    host: 123456789012.dkr.ecr.eu-central-1.amazonaws.com
    auth: {keychain: ecr}
    limits: {concurrent_pulls: 4, requests_per_second: 20, bandwidth: 50MiB}
    mirrors:
      - host: mirror.example:5000
        repository_prefix: proxy/hub
        plain_http: true
        trusted_hosts: [store.example]
        auth: {username: u, password: p}
      - host: mirror.example:5000
  - name: bad
    host: docker.io
    auth: {keychain: ecr, token: t}
    client_cert_file: client.pem
    limits:
      concurrent_pulls: -1
      requests_per_second: 1000000
      bandwidth: 1KiB
      burst: 3
    mirrors:
      - host: https://mirror.example
      - host: index.docker.io
      - host: shop.azurecr.io
        auth: {keychain: gcr}
      - host: mirror.example
        repository_prefix: /hub/
        plain_http: true
        ca_file: /no/ca.pem
        trusted_hosts: [a b]
        auth: {username: u}
      - host: mirror.example
        repository_prefix: /hub/
      - repository_prefix: hub
        client_cert_file: x
  - name: plain
    host: plain.example
    plain_http: true
    client_cert_file: /no/client.pem
    client_key_file: /no/client.key
    auth: {keychain: google}
`
	want := []string{
		"line 16: registries[1].auth: choose one of docker_config, username with password, token, and keychain",
		`line 16: registries[1].auth.keychain: Amazon has credentials for its own registries only, and "docker.io" is none of these; they are called ACCOUNT.dkr.ecr.REGION.amazonaws.com or public.ecr.aws; for another name of one, use a credential helper in docker_config`,
		"line 17: registries[1].client_cert_file: client_key_file is missing; they belong together",
		"line 19: registries[1].limits.concurrent_pulls: -1 is not between 0 and 10000",
		"line 20: registries[1].limits.requests_per_second: 1000000 is not between 0 and 100000",
		"line 21: registries[1].limits.bandwidth: 1KiB is not between 16KiB and 1TiB",
		"line 22: registries[1].limits.burst: unknown key; known here: concurrent_pulls, requests_per_second, bandwidth",
		`line 24: registries[1].mirrors[0].host: "https://mirror.example" is not a host: write it without scheme and path, as registry.example or registry.example:5000`,
		`line 25: registries[1].mirrors[1].host: "index.docker.io" is the registry itself`,
		`line 27: registries[1].mirrors[2].auth.keychain: "gcr" is none of ecr, google, acr`,
		`line 29: registries[1].mirrors[3].repository_prefix: "/hub/" is not a path of lower-case names, as docker-hub or proxy/hub`,
		"line 31: registries[1].mirrors[3].ca_file: plain_http is true, so there is no certificate to check",
		"line 31: registries[1].mirrors[3].ca_file: open /no/ca.pem: no such file or directory",
		`line 32: registries[1].mirrors[3].trusted_hosts[0]: "a b" is not a host: write it without scheme and path, as registry.example or registry.example:5000`,
		"line 33: registries[1].mirrors[3].auth: username and password belong together",
		`line 34: registries[1].mirrors[4].host: "mirror.example" is a mirror of this registry already`,
		`line 35: registries[1].mirrors[4].repository_prefix: "/hub/" is not a path of lower-case names, as docker-hub or proxy/hub`,
		"line 36: registries[1].mirrors[5].host: empty",
		"line 37: registries[1].mirrors[5].client_cert_file: unknown key; known here: host, repository_prefix, plain_http, ca_file, trusted_hosts, auth",
		"line 41: registries[2].client_cert_file: plain_http is true, so no certificate can be shown",
		"line 41: registries[2].client_cert_file: open /no/client.pem: no such file or directory",
		`line 43: registries[2].auth.keychain: Google has credentials for its own registries only, and "plain.example" is none of these; they are called REGION-docker.pkg.dev or gcr.io; for another name of one, use a credential helper in docker_config`,
	}
	_, problems := load([]byte(minimal+source), "", environment())
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
