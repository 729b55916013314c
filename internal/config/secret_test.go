package config

import (
	"strings"
	"testing"
)

func TestURLShowsNoSecret(t *testing.T) {
	tests := []struct{ name, url, want string }{
		{"nothing to hide", "https://m.example:8443/db/latest.json", "https://m.example:8443/db/latest.json"},
		{"password", "https://u:SECRET@m/db", "https://xxxxx@m/db"},
		{"token for a user", "https://SECRET@m/db", "https://xxxxx@m/db"},
		{"password in the query", "postgres://h/db?user=u&password=SECRET", "postgres://h/db?user=xxxxx&password=xxxxx"},
		{"signature", "https://m/db?sig=SECRET", "https://m/db?sig=xxxxx"},
		{"parameter without a value", "https://m/db?SECRET", "https://m/db?xxxxx"},
		{"semicolons and escapes", "https://m/db?a=1;sig=SECRET&b=%zzSECRET", "https://m/db?a=xxxxx&b=xxxxx"},
		{"equals sign in a value", "https://m/db?sig=a=SECRET", "https://m/db?sig=xxxxx"},
		{"fragment", "https://m/db#SECRET", "https://m/db#xxxxx"},
		{"keywords", "host=h password=SECRET", "[redacted]"},
		{"no host", "https:///db?sig=SECRET", "[redacted]"},
		{"opaque", "token:SECRET", "[redacted]"},
		{"no scheme", "//m/SECRET", "[redacted]"},
		{"not to be parsed", "https://u:SECRET@m:port/", "[redacted]"},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := URL(tt.url).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			c := Default()
			c.Database.URL, c.VulnDB.URL = Secret(tt.url), URL(tt.url)
			shown, err := c.YAML()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(shown), "SECRET") {
				t.Errorf("the configuration shows the secret:\n%s", shown)
			}
			if !strings.Contains(string(shown), tt.want) {
				t.Errorf("the configuration does not hold %q:\n%s", tt.want, shown)
			}
		})
	}
}
