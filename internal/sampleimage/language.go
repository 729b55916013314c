package sampleimage

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

func writeNPM(t tree, packages []Package) {
	for _, p := range packages {
		manifest, err := json.MarshalIndent(map[string]any{
			"name": p.Name, "version": p.Version, "license": "MIT", "main": "index.js",
		}, "", "  ")
		if err != nil {
			panic(err) // strings always encode
		}
		dir := "/usr/lib/node_modules/" + p.Name
		t.add(dir+"/package.json", string(manifest)+"\n")
		t.add(dir+"/index.js", "module.exports = {}\n")
	}
}

func writePython(t tree, packages []Package) {
	const site = "/usr/local/lib/python3.11/site-packages/"
	for _, p := range packages {
		module := strings.ToLower(strings.ReplaceAll(p.Name, "-", "_"))
		info := module + "-" + p.Version + ".dist-info"
		files := []struct{ path, content string }{
			{module + "/__init__.py", fmt.Sprintf("__version__ = %q\n", p.Version)},
			{info + "/METADATA", fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\nSummary: sample package\nLicense: BSD-3-Clause\n\n", p.Name, p.Version)},
			{info + "/top_level.txt", module + "\n"},
			{info + "/INSTALLER", "pip\n"},
		}
		var record strings.Builder
		for _, f := range files {
			sum := sha256.Sum256([]byte(f.content))
			fmt.Fprintf(&record, "%s,sha256=%s,%d\n", f.path, base64.RawURLEncoding.EncodeToString(sum[:]), len(f.content))
			t.add(site+f.path, f.content)
		}
		t.add(site+info+"/RECORD", record.String()+info+"/RECORD,,\n")
	}
}

// Jar is a Java archive as Maven builds it.
type Jar struct {
	Group, Artifact, Version string
}

func (j Jar) write(t tree) error {
	maven := "META-INF/maven/" + j.Group + "/" + j.Artifact + "/"
	files := []struct{ path, content string }{
		{"META-INF/MANIFEST.MF", fmt.Sprintf("Manifest-Version: 1.0\r\nImplementation-Title: %s\r\nImplementation-Version: %s\r\n\r\n", j.Artifact, j.Version)},
		{maven + "pom.properties", fmt.Sprintf("groupId=%s\nartifactId=%s\nversion=%s\n", j.Group, j.Artifact, j.Version)},
		{maven + "pom.xml", fmt.Sprintf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>%s</groupId>\n  <artifactId>%s</artifactId>\n  <version>%s</version>\n</project>\n", j.Group, j.Artifact, j.Version)},
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		entry, err := w.CreateHeader(&zip.FileHeader{Name: f.path, Method: zip.Store, Modified: epoch})
		if err != nil {
			return fmt.Errorf("sampleimage: jar %s: %w", j.Artifact, err)
		}
		if _, err := io.WriteString(entry, f.content); err != nil {
			return fmt.Errorf("sampleimage: jar %s: %w", j.Artifact, err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("sampleimage: jar %s: %w", j.Artifact, err)
	}
	t.add("/opt/app/lib/"+j.Artifact+"-"+j.Version+".jar", b.String())
	return nil
}
