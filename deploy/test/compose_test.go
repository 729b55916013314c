package deploytest

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// load reads compose files as docker compose config does.
func load(t *testing.T, files ...string) *types.Project {
	t.Helper()
	var paths []string
	for _, file := range files {
		paths = append(paths, filepath.Join(root, file))
	}
	options, err := cli.NewProjectOptions(paths, cli.WithWorkingDirectory(root), cli.WithInterpolation(true), cli.WithResolvedPaths(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// TestCompose has the compose files read by the library that docker compose is
// made of, and looks at what holds for every service.
func TestCompose(t *testing.T) {
	for name, files := range map[string][]string{
		"with the internet": {"docker-compose.yml"},
		"with the sample":   {"docker-compose.yml", "deploy/compose/sample.yml"},
	} {
		t.Run(name, func(t *testing.T) {
			project := load(t, files...)
			for _, service := range project.Services {
				checkService(t, project, service)
			}
		})
	}
}

func checkService(t *testing.T, project *types.Project, s types.ServiceConfig) {
	t.Helper()
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged {
		t.Errorf("%s is not confined", s.Name)
	}
	for _, port := range s.Ports {
		if port.HostIP != "127.0.0.1" {
			t.Errorf("%s publishes %s on %q", s.Name, port.Published, port.HostIP)
		}
	}
	for _, v := range s.Volumes {
		if v.Type == types.VolumeTypeBind {
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s (read-only %v): %v", s.Name, v.Source, v.ReadOnly, err)
			}
		} else if _, ok := project.Volumes[v.Source]; !ok {
			t.Errorf("%s mounts %s, which is no volume", s.Name, v.Source)
		}
	}
	for name, dependency := range s.DependsOn {
		other, err := project.GetService(name)
		if err != nil {
			t.Errorf("%s waits for %s: %v", s.Name, name, err)
		}
		if dependency.Condition == types.ServiceConditionHealthy && other.HealthCheck == nil {
			t.Errorf("%s waits until %s is healthy, which nobody checks", s.Name, name)
		}
	}
	if once := strings.HasPrefix(s.Name, "sample-"); !once && (s.MemLimit == 0 || s.CPUS == 0 || s.HealthCheck == nil || s.Restart == "") {
		t.Errorf("%s: memory %d, processors %v, health check %v, restart %q", s.Name, s.MemLimit, s.CPUS, s.HealthCheck, s.Restart)
	}
}

// TestComposeFitsTheImage: volumes where the image writes, the configuration where
// the program looks, time enough to stop.
func TestComposeFitsTheImage(t *testing.T) {
	project := load(t, "docker-compose.yml")
	s, err := project.GetService("tidewaiter")
	if err != nil {
		t.Fatal(err)
	}
	mounted := map[string]bool{}
	for _, v := range s.Volumes {
		mounted[v.Target] = true
	}
	for _, place := range append(imageVolumes(t), "/etc/tidewaiter/tidewaiter.yaml") {
		if !mounted[place] {
			t.Errorf("nothing is mounted at %s", place)
		}
	}
	if s.StopGracePeriod == nil || time.Duration(*s.StopGracePeriod) <= 30*time.Second {
		t.Errorf("it has %v to stop, which is not more than workers.shutdown_grace", s.StopGracePeriod)
	}
	registry, err := project.GetService("registry")
	if err != nil {
		t.Fatal(err)
	}
	if registry.DependsOn["tidewaiter"].Condition != types.ServiceConditionHealthy || s.DependsOn["postgres"].Condition != types.ServiceConditionHealthy {
		t.Error("the start is not in order of health: Postgres, Tidewaiter, registry")
	}
	env := []string{}
	for name, value := range s.Environment {
		if value != nil {
			env = append(env, name+"="+*value)
		}
	}
	if out, err := runTidewaiter(t, env, "config", "check", "--config", filepath.Join(absolute(t, root), "deploy/compose/tidewaiter.yaml")); err != nil {
		t.Errorf("its configuration is not accepted: %s", out)
	}
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// dockerfile is the text of the Dockerfile.
func dockerfile(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// imageVolumes are the places that the image declares as volumes.
func imageVolumes(t *testing.T) []string {
	t.Helper()
	_, list, ok := strings.Cut(dockerfile(t), "\nVOLUME [")
	list, _, ok2 := strings.Cut(list, "]")
	if !ok || !ok2 {
		t.Fatal("the Dockerfile declares no volumes")
	}
	return strings.Split(strings.ReplaceAll(list, `"`, ""), ", ")
}

// TestDockerfile holds it to the rest of the repository.
func TestDockerfile(t *testing.T) {
	text := dockerfile(t)
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(module)
	if version == nil || !strings.Contains(text, "ARG GO_VERSION="+string(version[1])+"\n") {
		t.Errorf("go.mod wants Go %s, the Dockerfile takes another", version)
	}
	if !regexp.MustCompile(`(?m)^USER [1-9][0-9]*:[1-9][0-9]*$`).MatchString(text) {
		t.Error("the user is no number but root's, so that Kubernetes cannot tell that it is not root")
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, copied := range []string{"cmd", "internal", "migrations", "go.mod", "go.sum"} {
		if !strings.Contains(string(ignored), "!"+copied+"\n") || !strings.Contains(text, copied) {
			t.Errorf("%s does not reach the build", copied)
		}
	}
}
