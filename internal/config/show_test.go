package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecretNeverPrints(t *testing.T) {
	c := Default()
	c.Database.URL = "hunter2"
	c.VulnDB.URL = "https://u:hunter2@mirror.example/"
	c.Registries = []Registry{{Auth: RegistryAuth{Password: "hunter2"}, Webhook: Webhook{Auth: WebhookAuth{Secrets: []Secret{"hunter2"}}}}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t"} {
		fmt.Fprintf(&out, verb+"\n", c)
		fmt.Fprintf(&out, verb+"\n", c.Database.URL)
		fmt.Fprintf(&out, verb+"\n", &c)
		fmt.Fprintf(&out, verb+"\n", c.VulnDB.URL)
		fmt.Fprintf(&out, verb+"\n", URL("://hunter2"))
	}
	for _, h := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(h).Info("x", "config", c, "secret", c.Database.URL, "url", c.VulnDB.URL)
	}
	if err := json.NewEncoder(&out).Encode(c); err != nil {
		t.Fatal(err)
	}
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	out.Write(shown)
	for _, leak := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), fmt.Sprintf("%X", "hunter2")} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("a secret was printed as %q", leak)
		}
	}
	if !strings.Contains(string(shown), "https://xxxxx@mirror.example/") {
		t.Error("the mirror is not shown")
	}
	if !strings.Contains(out.String(), redacted) {
		t.Error("nothing says that a secret was left out")
	}
}

func TestYAMLLoadsAgain(t *testing.T) {
	env := environment("TIDEWAITER_DATABASE_URL", "postgres://h/t", "REGISTRY_PASSWORD", "p", "WEBHOOK_SECRET", "s")
	c, problems := load([]byte(Example()), "/", env)
	if problems != nil {
		t.Fatal(problems)
	}
	shown, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	again, problems := load(shown, "/", env)
	if problems != nil {
		t.Fatal(problems)
	}
	c.Registries[0].Auth.Password, c.Registries[0].Webhook.Auth.Secrets = redacted, []Secret{redacted}
	if diff := cmp.Diff(c, again, cmp.Transformer("reveal", Secret.Reveal)); diff != "" {
		t.Errorf("what is shown does not load as what it shows (-shown +loaded):\n%s\n%s", diff, shown)
	}
}

func TestExampleNamesEveryKey(t *testing.T) {
	for _, k := range Keys() {
		name := k.Path[strings.LastIndex(k.Path, ".")+1:] + ":"
		if !strings.Contains(Example(), name) {
			t.Errorf("the example does not mention %s", k.Path)
		}
	}
}

func TestExampleShowsTheDefaults(t *testing.T) {
	c, problems := load([]byte(Example()), "/", environment("TIDEWAITER_DATABASE_URL", "postgres://h/t", "REGISTRY_PASSWORD", "p", "WEBHOOK_SECRET", "s"))
	if problems != nil {
		t.Fatal(problems)
	}
	want := Default()
	want.Database.URL, want.Registries = c.Database.URL, c.Registries
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("the example says otherwise than the defaults (-default +example):\n%s", diff)
	}
}

func TestParseSize(t *testing.T) {
	tests := []struct {
		text string
		want Size
		ok   bool
	}{
		{"0", 0, true}, {"17", 17, true}, {"17B", 17, true}, {"1KiB", 1 << 10, true}, {"20 GiB", 20 << 30, true}, {"8388607TiB", 8388607 << 40, true},
		{"", 0, false}, {"GiB", 0, false}, {"-1", 0, false}, {"+1", 0, false}, {"1.5GiB", 0, false}, {"20GB", 0, false}, {"1gib", 0, false},
		{"8388608TiB", 0, false}, {"9223372036854775808", 0, false}, {"1 2", 0, false}, {"0x10", 0, false},
	}
	for _, tt := range tests {
		got, err := ParseSize(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("ParseSize(%q) = %v, %v, want %v and ok %v", tt.text, got, err, tt.want, tt.ok)
		}
		if err != nil {
			continue
		}
		if back, err := ParseSize(got.String()); back != got || err != nil {
			t.Errorf("ParseSize(%q.String()) = %v, %v", tt.text, back, err)
		}
	}
}
