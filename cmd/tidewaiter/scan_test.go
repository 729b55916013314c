package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/config"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
)

// typed runs a command line.
func typed(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, messages bytes.Buffer
	code = run(ctx, args, &out, &messages)
	return code, out.String(), messages.String()
}

// sampleDB is a library with the sample database.
func sampleDB(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	library, err := vulndb.Open(vulndb.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := library.InstallSample(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func vulnerable(t *testing.T) v1.Image {
	t.Helper()
	img, err := sampleimage.Vulnerable()
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func ociDir(t *testing.T, images map[string]v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for ref, img := range images {
		if err := path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": ref})); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestScanFormats writes every report of one scan.
func TestScanFormats(t *testing.T) {
	c := &scanCmd{Image: "oci-dir:" + ociDir(t, map[string]v1.Image{"app": vulnerable(t)}) + ":app", DB: sampleDB(t)}
	loaded, steps := config.Default(), newProgress(people{io.Discard}, true)
	session, closeSession, err := c.session(t.Context(), loaded, steps)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSession()
	cataloger := catalog.New(catalog.Options{TempDir: t.TempDir()})
	result, err := c.scan(t.Context(), loaded, cataloger, session, steps)
	if err != nil {
		t.Fatal(err)
	}
	for format, has := range map[string]string{
		"table": "CVE-2021-44228", "json": `"answer": "findings"`, "grype-json": `"ignoredMatches"`, "sarif": `"version": "2.1.0"`,
		"cyclonedx-json": `"bomFormat": "CycloneDX"`, "spdx-json": `"spdxVersion":"SPDX-2.3"`, "syft-json": `"artifacts"`,
	} {
		t.Run(format, func(t *testing.T) {
			c.Output = format
			var b bytes.Buffer
			if err := c.write(t.Context(), &b, cataloger, session, result); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(b.String(), has) {
				t.Errorf("no %s in the report\n%.2000s", has, b.String())
			}
			if format != "table" && !json.Valid(b.Bytes()) {
				t.Error("not JSON")
			}
		})
	}
}

// TestScanGrypeJSON reads the report as programs do that know grype's.
func TestScanGrypeJSON(t *testing.T) {
	image := "oci-dir:" + ociDir(t, map[string]v1.Image{"app": vulnerable(t)})
	file := filepath.Join(t.TempDir(), "report.json")
	code, stdout, stderr := typed(t.Context(), "scan", image, "--db", sampleDB(t), "-o", "grype-json", "--file", file, "--quiet")
	if code != exitOK || stdout != "" || stderr != "" {
		t.Fatalf("exit code %d, output %q, messages %q", code, stdout, stderr)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Matches []struct {
			Vulnerability struct{ ID, Severity, Namespace string }
			Artifact      struct {
				Name      string
				Locations []struct{ Path, LayerID string }
			}
		}
		Source struct {
			Type   string
			Target struct{ UserInput, ManifestDigest string }
		}
		Distro     struct{ Name, Version string }
		Descriptor struct{ Name string }
	}
	if err := json.Unmarshal(raw, &report); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, m := range report.Matches {
		if m.Vulnerability.ID == "GHSA-jfh8-c2jp-5v3q" && m.Artifact.Name == "log4j-core" {
			found = m.Vulnerability.Severity == "Critical" && len(m.Artifact.Locations) == 1 && strings.HasPrefix(m.Artifact.Locations[0].LayerID, "sha256:")
		}
	}
	if !found || report.Source.Type != "image" || report.Distro.Name != "debian" || report.Descriptor.Name != "grype" {
		t.Errorf("report: log4shell %v, source %+v, distro %+v, descriptor %+v", found, report.Source, report.Distro, report.Descriptor)
	}
}

func TestScanSources(t *testing.T) {
	db, img := sampleDB(t), vulnerable(t)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "app.tar")
	tag, err := name.NewTag("registry.example/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(archive, tag, img); err != nil {
		t.Fatal(err)
	}
	for name, image := range map[string]string{"registry": ref.Name(), "docker-archive": "docker-archive:" + archive} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := typed(t.Context(), "scan", image, "--db", db, "-o", "json")
			var report struct {
				Reference string
				Image     struct{ Platform, Answer string }
				Findings  []struct {
					Locations []struct {
						LayerIndex *int   `json:"layer_index"`
						CreatedBy  string `json:"created_by"`
					}
				}
			}
			if err := json.Unmarshal([]byte(stdout), &report); code != exitOK || err != nil {
				t.Fatalf("exit code %d, %v\n%s", code, err, stderr)
			}
			if report.Reference != image || report.Image.Platform != "linux/amd64" || report.Image.Answer != "findings" || len(report.Findings) < 10 {
				t.Errorf("report of %s: %+v, %d findings", report.Reference, report.Image, len(report.Findings))
			}
			for _, f := range report.Findings {
				if len(f.Locations) == 0 || f.Locations[0].LayerIndex == nil {
					t.Errorf("a finding without a layer: %+v", f)
				}
			}
		})
	}
}

func TestScanExitCodes(t *testing.T) {
	db := sampleDB(t)
	quiet, err := sampleimage.Build(sampleimage.Content{Distro: sampleimage.Debian12(), Deb: []sampleimage.Deb{{Name: "tar", Version: "1.34+dfsg-1.2+deb12u1"}}})
	if err != nil {
		t.Fatal(err)
	}
	strange, err := sampleimage.Build(sampleimage.Content{Distro: &sampleimage.Distro{ID: "debian", VersionID: "99"}, Deb: []sampleimage.Deb{{Name: "openssl", Version: "1.0"}}})
	if err != nil {
		t.Fatal(err)
	}
	mixed, err := sampleimage.Build(sampleimage.Content{Distro: &sampleimage.Distro{ID: "debian", VersionID: "99"},
		Deb: []sampleimage.Deb{{Name: "openssl", Version: "1.0"}}, NPM: []sampleimage.Package{{Name: "lodash", Version: "4.17.15"}}})
	if err != nil {
		t.Fatal(err)
	}
	dir := ociDir(t, map[string]v1.Image{"quiet": quiet, "strange": strange, "mixed": mixed})
	file := filepath.Join(t.TempDir(), "tidewaiter.yaml")
	noDB := fmt.Sprintf("database: {url: postgres://localhost/x}\nvulndb: {dir: %s, url: http://127.0.0.1:1/}\n", t.TempDir())
	if err := os.WriteFile(file, []byte(noDB), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, tt := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"findings at the severity", []string{"oci-dir:" + dir + ":quiet", "--db", db, "--fail-on", "unknown"}, exitFindings, "1 vulnerability, counted once per package name, is at or above unknown"},
		{"findings below it", []string{"oci-dir:" + dir + ":quiet", "--db", db, "--fail-on", "negligible"}, exitOK, ""},
		{"no data", []string{"oci-dir:" + dir + ":strange", "--db", db, "--fail-on", "low"}, exitUnknown, "no findings mean nothing"},
		{"no data and --allow-partial", []string{"oci-dir:" + dir + ":strange", "--db", db, "--fail-on", "low", "--allow-partial"}, exitUnknown, "no data for distro:debian:99"},
		{"no data for a part", []string{"oci-dir:" + dir + ":mixed", "--db", db, "--fail-on", "critical", "-q"}, exitUnknown, "--allow-partial accepts that): no data for distro:debian:99"},
		{"no data for a part and --allow-partial", []string{"oci-dir:" + dir + ":mixed", "--db", db, "--fail-on", "critical", "--allow-partial"}, exitOK, ""},
		{"no data for a part and findings", []string{"oci-dir:" + dir + ":mixed", "--db", db, "--fail-on", "high"}, exitFindings, "vulnerabilities, counted once per package name, are at or above high"},
		{"no data without --fail-on", []string{"oci-dir:" + dir + ":strange", "--db", db, "-o", "sarif"}, exitOK, "no data for distro:debian:99"},
		{"no such layout", []string{"oci-dir:" + dir + "/none", "--db", db}, exitFailed, "does not exist"},
		{"which image", []string{"oci-dir:" + dir, "--db", db}, exitFailed, "the layout holds 3 images"},
		{"another platform", []string{"oci-dir:" + dir + ":quiet", "--db", db, "--platform", "linux/arm64"}, exitFailed, "choose a platform of linux/amd64"},
		{"a source of another tool", []string{"oci-archive:app.tar", "--db", filepath.Join(dir, "none")}, exitFailed, "docker-archive:PATH[:REF]"},
		{"no database in PATH", []string{"oci-dir:" + dir + ":quiet", "--db", t.TempDir()}, exitFailed, "vulnerability.db"},
		{"no database at all", []string{"oci-dir:" + dir + ":quiet", "--config", file}, exitFailed, "name one with --db"},
		{"no such format", []string{"oci-dir:" + dir + ":quiet", "-o", "xml"}, exitUsage, "xml"},
		{"no such severity", []string{"oci-dir:" + dir + ":quiet", "--fail-on", "bad"}, exitUsage, `must be one of critical, high, medium, low, negligible, unknown but is "bad"`},
		{"an empty severity", []string{"oci-dir:" + dir + ":quiet", "--fail-on="}, exitUsage, "must be one of critical"},
		{"no such platform", []string{"oci-dir:" + dir + ":quiet", "--db", db, "--platform", "amd64"}, exitUsage, "os/arch"},
		{"no image", nil, exitUsage, "image"},
		{"file in no directory", []string{"oci-dir:" + dir + ":quiet", "--db", db, "--file", filepath.Join(dir, "none", "report")}, exitFailed, "report"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, stdout, stderr := typed(t.Context(), append([]string{"scan"}, tt.args...)...)
			if code != tt.code || !strings.Contains(stderr, tt.says) {
				t.Errorf("exit code %d, want %d; messages lack %q\n%s\n%s", code, tt.code, tt.says, stderr, stdout)
			}
		})
	}
}
