package config

import (
	"strings"
	"testing"
)

func TestProxiesTokensAndIssuersAreChecked(t *testing.T) {
	strong := strings.Repeat("aB3$eF6+", 4) + "vwxyz"
	for _, tt := range []struct{ name, text, path, want string }{
		{"good", "trusted_proxies: [10.0.0.0/8, \"fd00::1\"]\nforwarded_header: forwarded\nmetrics_token: 0123456789abcdef\napi: {admin_token: '" + strong + "'}", "", ""},
		{"no network", "trusted_proxies: [proxy.example]", "trusted_proxies[0]", "neither"},
		{"everybody", "trusted_proxies: [10.0.0.1, 0.0.0.0/0]", "trusted_proxies[1]", "everybody"},
		{"everybody of IPv6", "trusted_proxies: ['::/0']", "trusted_proxies[0]", "everybody"},
		{"another header", "forwarded_header: X-Real-IP", "forwarded_header", "neither"},
		{"a short metrics token", "metrics_token: short", "metrics_token", "16 characters"},
		{"a short admin token", "api: {admin_token: letmein}", "api.admin_token", "7 characters"},
		{"a dull admin token", "api: {admin_token: " + strings.Repeat("ab", 20) + "}", "api.admin_token", "2 different"},
		{"a good issuer", issuer(`issuer: https://login.example`, `audience: tw`, `rules: [{groups: [a], scope: admin, prefixes: [r.example/x]}]`), "", ""},
		{"no https", issuer(`issuer: http://login.example`, `audience: tw`, `rules: [{groups: [a], scope: admin}]`), "api.oidc[0].issuer", "https"},
		{"no audience", issuer(`issuer: https://login.example`, `rules: [{groups: [a], scope: admin}]`), "api.oidc[0].audience", "empty"},
		{"no rules", issuer(`issuer: https://login.example`, `audience: tw`), "api.oidc[0].rules", "empty"},
		{"no groups", issuer(`issuer: https://login.example`, `audience: tw`, `rules: [{scope: admin}]`), "api.oidc[0].rules[0].groups", "everybody"},
		{"no scope", issuer(`issuer: https://login.example`, `audience: tw`, `rules: [{groups: [a], scope: root}]`), "api.oidc[0].rules[0].scope", "root"},
		{"a wildcard", issuer(`issuer: https://login.example`, `audience: tw`, `rules: [{groups: [a], scope: read, prefixes: ["r/*"]}]`), "api.oidc[0].rules[0].prefixes", "wildcards"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "database: {url: postgres://db/x}\n" + tt.text
			c, problems := load([]byte(text), "/etc", func(string) (string, bool) { return "", false })
			if tt.path == "" {
				if len(problems) > 0 {
					t.Fatal(problems)
				}
				for _, i := range c.OIDCIssuers() {
					if i.UsernameClaim != "sub" || i.GroupsClaim != "groups" || i.Rules[0].Prefixes[0] != "r.example/x/" {
						t.Errorf("%+v", i)
					}
				}
				return
			}
			if len(problems) != 1 || problems[0].Path != tt.path || !strings.Contains(problems[0].Text, tt.want) {
				t.Errorf("%v, want %s: %s", problems, tt.path, tt.want)
			}
			if strings.Contains(problems.Error(), "letmein") {
				t.Error("the token is told")
			}
		})
	}
}

// issuer is a configuration with one issuer.
func issuer(lines ...string) string {
	return "api:\n  oidc:\n    - name: corp\n      " + strings.Join(lines, "\n      ")
}
