package deploytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// TestValuesThatCannotWork have an error that says what to change.
func TestValuesThatCannotWork(t *testing.T) {
	good := map[string]any{"database": map[string]any{"existingSecret": "tidewaiter"}}
	for _, test := range []struct {
		name   string
		values map[string]any
		says   string
	}{
		{"no database", map[string]any{}, "set database.existingSecret"},
		{"a name that does not exist", map[string]any{"workers": map[string]any{"replicas": 3}}, "workers"},
		{"a wrong type", map[string]any{"worker": map[string]any{"replicas": "three"}}, "replicas"},
		{"the chart's own key", map[string]any{"config": map[string]any{"listen": ":80"}}, "config.listen is set by the chart"},
		{"a claim for many", map[string]any{"storage": map[string]any{"data": map[string]any{"existingClaim": "x"}}}, "worker.separate"},
		{"an Ingress without a host", map[string]any{"ingress": map[string]any{"enabled": true}}, "ingress.host"},
		{"a Job without a secret", map[string]any{"migration": map[string]any{"job": true}}, "migration.existingSecret"},
		{"Prometheus without an address", map[string]any{"worker": map[string]any{"autoscaling": map[string]any{"kind": "keda", "keda": map[string]any{"trigger": "prometheus"}}}}, "prometheusAddress"},
		{"a digest that is none", map[string]any{"image": map[string]any{"digest": "latest"}}, "digest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			values := map[string]any{}
			if test.name != "no database" {
				values = mergeValues(good, test.values)
			}
			_, _, err := template(t, values)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want an error with %q", err, test.says)
			}
		})
	}
}

func mergeValues(a, b map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range a {
		out[k] = v
	}
	for k, v := range b {
		out[k] = v
	}
	return out
}

// TestConfigReplacesPods: a pod that runs with yesterday's configuration is found
// out only when it restarts.
func TestConfigReplacesPods(t *testing.T) {
	sum := func(config map[string]any) map[string]string {
		values := map[string]any{"database": map[string]any{"existingSecret": "tidewaiter"}, "config": config}
		manifests, _, err := template(t, values)
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, d := range all[appsv1.Deployment](decode(t, manifests)) {
			out[d.Name] = d.Spec.Template.Annotations["checksum/config"]
		}
		return out
	}
	before, after := sum(nil), sum(map[string]any{"vulndb": map[string]any{"keep": 2}})
	if len(before) != 2 {
		t.Fatalf("got %v", before)
	}
	for name := range before {
		if before[name] == "" || before[name] == after[name] {
			t.Errorf("%s is not replaced when the configuration changes: %q", name, before[name])
		}
	}
}

// TestAlertsAreThoseOfTheRepository: a chart can hold only files of its own.
func TestAlertsAreThoseOfTheRepository(t *testing.T) {
	ours, err := os.ReadFile(filepath.Join(chart, "files/alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(root, "deploy/grafana/alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if string(ours) != string(source) {
		t.Errorf("copy deploy/grafana/alerts.yaml to files/alerts.yaml of the chart: they differ")
	}
	rules := all[monitoring.PrometheusRule](chartOf(t, "values/production.yaml"))
	if len(rules) != 1 || len(rules[0].Spec.Groups) == 0 || len(rules[0].Spec.Groups[0].Rules) < 5 {
		t.Errorf("the rules did not get into the chart: %+v", rules)
	}
}

// TestNotes tell where to point registries at.
func TestNotes(t *testing.T) {
	_, notes, err := template(t, valuesOf(t, "values/production.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"https://tidewaiter.example/webhooks/prod", "token create NAME --scope admin"} {
		if !strings.Contains(notes, want) {
			t.Errorf("%q is missing in\n%s", want, notes)
		}
	}
}

// TestSecretsStayOutOfPods: no value of a secret is in a pod or a ConfigMap.
func TestSecretsStayOutOfPods(t *testing.T) {
	objects := chartOf(t, "values/tryout.yaml")
	for _, o := range objects {
		_, secret := o.typed.(*corev1.Secret)
		if got := strings.Contains(string(o.text), "pass-word"); got != secret {
			t.Errorf("%s: holds the password: %v", o.is(), got)
		}
	}
}

// TestValuesAreExplained holds the table of the chart's README to values.yaml.
func TestValuesAreExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(chart, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(readme), -1) {
		explained[row[1]] = strings.Trim(strings.TrimSpace(row[2]), "`")
	}
	for path, value := range leaves("", values, explained) {
		told, ok := explained[path]
		if !ok {
			t.Errorf("README.md has no row for %s", path)
			continue
		}
		delete(explained, path)
		switch value.(type) {
		case string, bool, float64, int64:
			if want := fmt.Sprint(value); told != want {
				t.Errorf("README.md says that %s is %q by default; it is %q", path, told, want)
			}
		}
	}
	for path := range explained {
		t.Errorf("README.md explains %s, which is no value", path)
	}
}

// leaves are the values by their paths. What has a row as a whole counts as one.
func leaves(prefix string, tree map[string]any, rows map[string]string) map[string]any {
	out := map[string]any{}
	for key, value := range tree {
		path := strings.TrimPrefix(prefix+"."+key, ".")
		inner, isMap := value.(map[string]any)
		if _, row := rows[path]; !isMap || row || len(inner) == 0 {
			out[path] = value
			continue
		}
		for p, v := range leaves(path, inner, rows) {
			out[p] = v
		}
	}
	return out
}

// TestReadmeExampleIsAccepted: the first values anybody copies.
func TestReadmeExampleIsAccepted(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(chart, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(readme), "```yaml\n")
	text, _, ok2 := strings.Cut(text, "```")
	if !ok || !ok2 {
		t.Fatal("README.md shows no values")
	}
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	checkConfig(t, chartOf(t, file))
}

// TestChartAndKustomizationAgree: whoever takes the one gets what the other has.
func TestChartAndKustomizationAgree(t *testing.T) {
	ours, theirs := chartOf(t, "values/minimal.yaml"), kustomization(t, "base")
	for _, name := range []string{"tidewaiter-server", "tidewaiter-worker"} {
		a, ok := named[appsv1.Deployment](ours, name)
		b, ok2 := named[appsv1.Deployment](theirs, name)
		if !ok || !ok2 {
			t.Fatalf("%s: in the chart %v, in the base %v", name, ok, ok2)
		}
		ca, cb := a.Spec.Template.Spec.Containers[0], b.Spec.Template.Spec.Containers[0]
		for what, pair := range map[string][2]any{
			"image": {ca.Image, cb.Image}, "args": {ca.Args, cb.Args}, "environment": {environmentNames(ca), environmentNames(cb)},
			"startup": {ca.StartupProbe, cb.StartupProbe}, "liveness": {ca.LivenessProbe, cb.LivenessProbe}, "readiness": {ca.ReadinessProbe, cb.ReadinessProbe},
			"lifecycle": {ca.Lifecycle, cb.Lifecycle}, "resources": {ca.Resources, cb.Resources}, "security": {ca.SecurityContext, cb.SecurityContext},
			"pod security": {a.Spec.Template.Spec.SecurityContext, b.Spec.Template.Spec.SecurityContext},
			"time to stop": {a.Spec.Template.Spec.TerminationGracePeriodSeconds, b.Spec.Template.Spec.TerminationGracePeriodSeconds},
			"sizes":        {sizes(a), sizes(b)},
		} {
			if x, y := withoutScheme(marshal(t, pair[0])), withoutScheme(marshal(t, pair[1])); x != y {
				t.Errorf("%s: %s differs: chart\n%s\nbase\n%s", name, what, x, y)
			}
		}
	}
}

// withoutScheme leaves out of probes what is the default.
func withoutScheme(text string) string {
	return regexp.MustCompile(`(?m)^\s*scheme: HTTP\n`).ReplaceAllString(text, "")
}

func environmentNames(c corev1.Container) (names []string) {
	for _, e := range c.Env {
		names = append(names, e.Name+"="+e.Value)
	}
	slices.Sort(names)
	return names
}

func sizes(d *appsv1.Deployment) map[string]string {
	out := map[string]string{}
	for _, v := range d.Spec.Template.Spec.Volumes {
		if v.EmptyDir != nil {
			out[v.Name] = v.EmptyDir.SizeLimit.String()
		}
	}
	return out
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// writeCertificate makes tls.crt and tls.key, as a Secret would bring them.
func writeCertificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"tidewaiter.example"}}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: certificate}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
