package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/webhook"
)

// signers are registries whose senders sign with private keys.
const signers = minimal + `registries:
  - name: ecr
    host: 444455556666.dkr.ecr.eu-west-1.amazonaws.com
    webhook:
      format: ecr-sns
      auth:
        kind: sns
        topics: ["arn:aws:sns:eu-west-1:444455556666:ecr"]
        certificate_file: sns.pem
  - name: azure
    host: acme.azurecr.io
    webhook:
      format: eventgrid
      auth:
        kind: oidc
        issuer: https://login.microsoftonline.com/0b1c/v2.0
        audience: api://scanner
        app_id: 4962773b-9cdb-44cf-a8bf-237846a00ab7
        jwks_file: issuer.jwks
`

// keyFiles makes a directory with the files the configuration names.
func keyFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, sample := range map[string]string{"sns.pem": "ecr-sns/certificate.pem", "issuer.jwks": "gar-pubsub/issuer.jwks"} {
		content, err := os.ReadFile(filepath.Join("..", "webhook", "testdata", sample))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(content))
	}
	return dir
}

func TestWebhookKeysComeFromFiles(t *testing.T) {
	dir := keyFiles(t)
	c, problems := load([]byte(signers), dir, environment())
	if problems != nil {
		t.Fatal(problems)
	}
	endpoints, err := c.WebhookEndpoints()
	if err != nil {
		t.Fatal(err)
	}
	content := func(name string) string { return string(must(os.ReadFile(filepath.Join(dir, name)))) }
	want := []webhook.Auth{
		{Kind: "sns", Secrets: []string{}, Topics: []string{"arn:aws:sns:eu-west-1:444455556666:ecr"}, Certificate: content("sns.pem")},
		{Kind: "oidc", Secrets: []string{}, Issuer: "https://login.microsoftonline.com/0b1c/v2.0", Audience: "api://scanner",
			AppID: "4962773b-9cdb-44cf-a8bf-237846a00ab7", JWKS: content("issuer.jwks")},
	}
	if diff := cmp.Diff(want, []webhook.Auth{endpoints[0].Auth, endpoints[1].Auth}); diff != "" {
		t.Errorf("auth (-want +got):\n%s", diff)
	}
	if err := os.Remove(filepath.Join(dir, "sns.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WebhookEndpoints(); !errs.Is(err, errs.Invalid) || !strings.Contains(err.Error(), "registry ecr") {
		t.Errorf("without the file: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestWebhookKeysThatAreNone: nothing is fetched in place of a file that is
// wrong.
func TestWebhookKeysThatAreNone(t *testing.T) {
	tests := []struct {
		name, file, content, change string
		want                        string
	}{
		{"empty", "sns.pem", "", "", "line 10: registries[0].webhook.auth.certificate_file: DIR/sns.pem is empty"},
		{"no certificate", "sns.pem", "hello", "", "line 10: registries[0].webhook.auth.certificate_file: holds no certificate in PEM form"},
		{"large", "sns.pem", strings.Repeat("x", maxKeyFile+1), "", "line 10: registries[0].webhook.auth.certificate_file: DIR/sns.pem is larger than 256KiB"},
		{"no keys", "issuer.jwks", "{}", "", "line 20: registries[1].webhook.auth.jwks_file: holds no public key for signatures"},
		{"missing", "", "", "certificate_file: sns.pem -> certificate_file: none.pem", "line 10: registries[0].webhook.auth.certificate_file: open DIR/none.pem: no such file or directory"},
		{"no topic", "", "", "topics: -> # topics:", "line 7: registries[0].webhook.auth.topics: is empty; name the ARN of the topic: Amazon signs the messages of everybody's topics"},
		{"no topic's name", "", "", "arn:aws:sns:eu-west-1:444455556666:ecr -> ecr", `line 9: registries[0].webhook.auth.topics[0]: "ecr" is not the ARN of a topic; write it as arn:aws:sns:eu-west-1:444455556666:name`},
		{"no application", "", "", "app_id: -> # app_id:", "line 15: registries[1].webhook.auth.app_id: is empty, and so is email; name the application that calls, or tokens of any other one would pass"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, source := keyFiles(t), signers
			if tt.file != "" {
				write(t, filepath.Join(dir, tt.file), tt.content)
			}
			if before, after, ok := strings.Cut(tt.change, " -> "); ok {
				source = strings.Replace(source, before, after, 1)
			}
			_, problems := load([]byte(source), dir, environment())
			var got []string
			for _, p := range problems {
				got = append(got, strings.ReplaceAll(p.String(), dir, "DIR"))
			}
			if diff := cmp.Diff([]string{tt.want}, got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
