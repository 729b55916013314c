package deploytest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const (
	root  = "../.."
	chart = root + "/deploy/helm/tidewaiter"
)

// kubernetes is the version that charts are rendered for.
var kubernetes = chartutil.KubeVersion{Version: "v1.33.0", Major: "1", Minor: "33"}

// template renders the chart with values, as helm template does. notes is what
// is told after an install.
func template(t *testing.T, values map[string]any) (manifests []byte, notes string, err error) {
	t.Helper()
	c, err := loader.Load(chart)
	if err != nil {
		t.Fatal(err)
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = kubernetes
	release := chartutil.ReleaseOptions{Name: "tidewaiter", Namespace: "tidewaiter", IsInstall: true}
	rendered, err := chartutil.ToRenderValues(c, values, release, capabilities)
	if err != nil {
		return nil, "", err
	}
	files, err := engine.Render(c, rendered)
	if err != nil {
		return nil, "", err
	}
	var names []string
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var all strings.Builder
	for _, name := range names {
		switch {
		case strings.HasSuffix(name, "NOTES.txt"):
			notes = files[name]
		case strings.TrimSpace(files[name]) != "":
			all.WriteString("\n---\n" + files[name])
		}
	}
	return []byte(all.String()), notes, nil
}

// chartOf renders the chart with a file of values, which has to work.
func chartOf(t *testing.T, file string) []object {
	t.Helper()
	manifests, _, err := template(t, valuesOf(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, manifests)
}

func valuesOf(t *testing.T, file string) map[string]any {
	t.Helper()
	values, err := chartutil.ReadValuesFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// kustomization renders a directory below deploy/kubernetes.
func kustomization(t *testing.T, dir string) []object {
	t.Helper()
	return build(t, filesys.MakeFsOnDisk(), filepath.Join(root, "deploy/kubernetes", dir))
}

func build(t *testing.T, system filesys.FileSystem, dir string) []object {
	t.Helper()
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsRootOnly
	resources, err := krusty.MakeKustomizer(options).Run(system, dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := resources.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}

// sets are all that is rendered: name and objects.
func sets(t *testing.T) map[string][]object {
	t.Helper()
	all := map[string][]object{}
	files, err := filepath.Glob("values/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatalf("values: %v, %v", files, err)
	}
	for _, file := range files {
		all["chart with "+filepath.Base(file)] = chartOf(t, file)
	}
	for _, dir := range []string{"base", "overlays/single", "overlays/ha"} {
		all["kustomization "+dir] = kustomization(t, dir)
	}
	all["kustomization with all components"] = withComponents(t)
	return all
}

// withComponents renders an overlay as a user would write it, with every component.
func withComponents(t *testing.T) []object {
	t.Helper()
	base, err := filepath.Abs(filepath.Join(root, "deploy/kubernetes"))
	if err != nil {
		t.Fatal(err)
	}
	components, err := filepath.Glob(filepath.Join(base, "components/*"))
	if err != nil || len(components) < 5 {
		t.Fatalf("components: %v, %v", components, err)
	}
	dir := t.TempDir()
	rel := func(path string) string {
		r, err := filepath.Rel(dir, path)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	text := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: tidewaiter\nresources:\n  - " + rel(filepath.Join(base, "base")) + "\ncomponents:\n"
	for _, c := range components {
		text += "  - " + rel(c) + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return build(t, filesys.MakeFsOnDisk(), dir)
}
