package deploytest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"
)

// tidewaiter is the program of the repository: TIDEWAITER_BINARY, or built here.
var tidewaiter = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("TIDEWAITER_BINARY"); path != "" {
		return path, nil
	}
	path := filepath.Join(os.TempDir(), "tidewaiter-deploytest")
	cmd := exec.CommandContext(context.Background(), "go", "build", "-buildvcs=false", "-o", path, "./cmd/tidewaiter")
	cmd.Dir, cmd.Stderr = root, os.Stderr
	return path, cmd.Run()
})

// runTidewaiter runs the program with nothing in its environment but what is given.
func runTidewaiter(t *testing.T, env []string, args ...string) (string, error) {
	t.Helper()
	program, err := tidewaiter()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append([]string{"HOME=" + t.TempDir()}, env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// checkConfig has the program itself read the configuration that each pod gets,
// in the environment that it gets.
func checkConfig(t *testing.T, objects []object) {
	t.Helper()
	for _, p := range pods(objects) {
		if !p.serve {
			continue
		}
		file, text := configOf(t, objects, p)
		out, err := runTidewaiter(t, environment(p), "config", "check", "--config", file)
		if err != nil {
			t.Errorf("%s: its configuration is not accepted: %s\n%s", p.owner, out, text)
			continue
		}
		for _, want := range rolesOf(p) {
			if !strings.Contains(out, want) {
				t.Errorf("%s does not run %q:\n%s", p.owner, want, out)
			}
		}
		checkRoom(t, p, text)
	}
}

// rolesOf are the words that config check uses for what a pod should do.
func rolesOf(p pod) []string {
	if p.meta.Labels["app.kubernetes.io/component"] == "worker" {
		return []string{"runs:       2 workers\n", "listens on: :8080"}
	}
	roles := "runs:       receiver, api\n"
	for _, e := range p.spec.Containers[0].Env {
		if e.Name == "TIDEWAITER_WORKERS_ENABLED" && e.Value == "true" {
			roles = "runs:       receiver, 2 workers, api\n"
		}
	}
	return []string{roles, "listens on: :8080"}
}

// configOf writes the file that the pod finds at the place the program looks at.
func configOf(t *testing.T, objects []object, p pod) (file, text string) {
	t.Helper()
	const place = "/etc/tidewaiter/tidewaiter.yaml"
	for _, m := range p.spec.Containers[0].VolumeMounts {
		if m.MountPath != place && m.MountPath != filepath.Dir(place) {
			continue
		}
		for _, v := range p.spec.Volumes {
			if v.Name != m.Name || v.ConfigMap == nil {
				continue
			}
			c, ok := named[corev1.ConfigMap](objects, v.ConfigMap.Name)
			if !ok || c.Data["tidewaiter.yaml"] == "" {
				t.Fatalf("%s: ConfigMap %s has no tidewaiter.yaml", p.owner, v.ConfigMap.Name)
			}
			file = filepath.Join(t.TempDir(), "tidewaiter.yaml")
			text = strings.ReplaceAll(c.Data["tidewaiter.yaml"], "/etc/tidewaiter/tls/", filepath.Dir(file)+"/")
			writeCertificate(t, filepath.Dir(file))
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return file, text
		}
	}
	t.Fatalf("%s mounts nothing at %s", p.owner, place)
	return "", ""
}

// environment is that of a pod, with made-up secrets.
func environment(p pod) (env []string) {
	for _, e := range p.spec.Containers[0].Env {
		value := e.Value
		switch {
		case e.Name == "TIDEWAITER_DATABASE_URL":
			value = "postgres://tidewaiter:secret@db:5432/tidewaiter"
		case e.Name == "TIDEWAITER_ADMIN_TOKEN":
			value = "tw_MadeUpForATestAndForNothingElse0123456789abcd"
		case e.ValueFrom != nil:
			value = "made-up-secret-of-some-length"
		}
		env = append(env, e.Name+"="+value)
	}
	return env
}

// checkRoom wants the volumes of a pod that scans to hold what the configuration
// lets it keep there.
func checkRoom(t *testing.T, p pod, config string) {
	t.Helper()
	var c struct {
		Cache struct {
			MaxBytes string `json:"max_bytes"`
		} `json:"cache"`
	}
	if err := yaml.Unmarshal([]byte(config), &c); err != nil {
		t.Fatal(err)
	}
	most := resource.MustParse(strings.TrimSuffix(c.Cache.MaxBytes, "B"))
	for _, v := range p.spec.Volumes {
		if v.EmptyDir == nil || p.spec.Containers[0].Resources.Limits.Memory().Cmp(resource.MustParse("2Gi")) < 0 {
			continue // or it does not scan
		}
		if v.Name == "cache" && v.EmptyDir.SizeLimit.Cmp(most) <= 0 {
			t.Errorf("%s: the cache may grow to %s in a volume of %s", p.owner, &most, v.EmptyDir.SizeLimit)
		}
		// workers.count times limits.temp_bytes
		if least := resource.MustParse("8Gi"); v.Name == "tmp" && v.EmptyDir.SizeLimit.Cmp(least) < 0 {
			t.Errorf("%s: %s for two scans' temporary files", p.owner, v.EmptyDir.SizeLimit)
		}
	}
}
