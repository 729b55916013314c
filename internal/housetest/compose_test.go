package housetest

import (
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/goccy/go-yaml"

	"github.com/tidewaiter/tidewaiter/internal/config"
)

// compose is the part of a compose file that has to agree with other files.
type compose struct {
	Services map[string]struct {
		Build       string            `yaml:"build"`
		Command     []string          `yaml:"command"`
		Ports       []string          `yaml:"ports"`
		Volumes     []string          `yaml:"volumes"`
		Environment map[string]string `yaml:"environment"`
	} `yaml:"services"`
}

// unset is a variable of who starts compose, with what holds when it is not set.
var unset = regexp.MustCompile(`\$\{[A-Z_]+:-(.*?)\}`)

// The compose file, the registry's configuration and Tidewaiter's name each
// other; a wrong name would show only when somebody tries them.
func TestComposeFilesAgree(t *testing.T) {
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "docker-compose.yml")), &c); err != nil {
		t.Fatal(err)
	}
	for name, service := range c.Services {
		for _, volume := range service.Volumes {
			if source, _, _ := strings.Cut(volume, ":"); strings.HasPrefix(source, ".") && !exists(source) {
				t.Errorf("service %s mounts %s, which does not exist", name, source)
			}
		}
		for _, port := range service.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("service %s publishes %s beyond loopback, with secrets that everybody can read", name, port)
			}
		}
	}

	environment := c.Services["tidewaiter"].Environment
	ours, err := config.Load(filepath.Join(root, "deploy/compose/tidewaiter.yaml"), func(key string) (string, bool) {
		value, ok := environment[key]
		return unset.ReplaceAllString(value, "$1"), ok
	})
	if err != nil {
		t.Fatal(err)
	}
	database, err := url.Parse(ours.Database.URL.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Services[database.Hostname()]; !ok {
		t.Errorf("the database is on %s, which is no service", database.Hostname())
	}
	if password, _ := database.User.Password(); password != c.Services["postgres"].Environment["POSTGRES_PASSWORD"] {
		t.Error("Tidewaiter and Postgres have different passwords")
	}
	checkRegistry(t, ours, c)
}

func checkRegistry(t *testing.T, ours config.Config, c compose) {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "deploy/compose/registry.yml"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	theirs, err := configuration.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	endpoint, registry := theirs.Notifications.Endpoints[0], ours.Registries[0]
	target, err := url.Parse(endpoint.URL)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.Services[target.Hostname()]; !ok || ":"+target.Port() != ours.Listen || target.Path != "/webhooks/"+registry.Name {
		t.Errorf("the registry notifies %s; Tidewaiter listens on %s for /webhooks/%s", target, ours.Listen, registry.Name)
	}
	want := []string{"Bearer " + registry.Webhook.Auth.Secrets[0].Reveal()}
	if got := endpoint.Headers["Authorization"]; !slices.Equal(got, want) {
		t.Error("registry and Tidewaiter have different webhook secrets")
	}
	if host, _, _ := strings.Cut(registry.Endpoint, ":"); c.Services[host].Ports == nil {
		t.Errorf("Tidewaiter pulls from %s, which is no service with ports", registry.Endpoint)
	}
}

// The configuration in the README is the first one anybody copies.
func TestReadmeConfigurationIsAccepted(t *testing.T) {
	_, text, _ := strings.Cut(read(t, "README.md"), "```yaml\n")
	text, _, ok := strings.Cut(text, "```")
	if !ok {
		t.Fatal("README.md shows no configuration")
	}
	file := filepath.Join(t.TempDir(), "tidewaiter.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	environment := map[string]string{
		"TIDEWAITER_DATABASE_URL": "postgres://db/tidewaiter", "REGISTRY_PASSWORD": "secret", "WEBHOOK_SECRET": "secret",
	}
	got, err := config.Load(file, func(key string) (string, bool) { v, ok := environment[key]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	if endpoints, err := got.WebhookEndpoints(); len(endpoints) != 1 || err != nil {
		t.Errorf("endpoints: got %d, %v, want 1", len(endpoints), err)
	}
}
