package webhook

import "testing"

func TestManaged(t *testing.T) {
	tests := []struct {
		name, source, prefix string // of the endpoint
		from, usual          string
		want, reason         string
	}{
		{"usual none", "", "", "docker-hosted", PrefixNone, "a/b", ""},
		{"usual source", "", "", "docker-local", PrefixSource, "docker-local/a/b", ""},
		{"none instead of source", "", PrefixNone, "docker-local", PrefixSource, "a/b", ""},
		{"source instead of none", "", PrefixSource, "docker-hosted", PrefixNone, "docker-hosted/a/b", ""},
		{"virtual repository", "docker-local", "docker", "docker-local", PrefixSource, "docker/a/b", ""},
		{"path of several parts", "", "mirror/docker", "docker-local", PrefixSource, "mirror/docker/a/b", ""},
		{"event without a source", "", PrefixSource, "", PrefixSource, "a/b", ""},
		{"its own source", "docker-hosted", "", "docker-hosted", PrefixNone, "a/b", ""},
		{"another source", "docker-hosted", "", "docker-proxy", PrefixNone, "docker-proxy/a/b", ReasonOtherRegistry},
		{"no source where one is wanted", "docker-hosted", "", "", PrefixNone, "/a/b", ReasonOtherRegistry},
		{"source in another case", "docker-hosted", "", "Docker-Hosted", PrefixNone, "Docker-Hosted/a/b", ReasonOtherRegistry},
	}
	for _, tt := range tests {
		e := Endpoint{Source: tt.source, RepositoryPrefix: tt.prefix}
		if got, reason := e.managed(tt.from, "a/b", tt.usual); got != tt.want || reason != tt.reason {
			t.Errorf("%s: %q, %q, want %q, %q", tt.name, got, reason, tt.want, tt.reason)
		}
	}
}
