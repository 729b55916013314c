package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/catalog"
	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/sampleimage"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

func TestEncodeAndConvert(t *testing.T) {
	original := catalogue(t, build(t, sampleimage.VulnerableContent()))
	for _, f := range []sbom.Format{sbom.SyftJSON, sbom.CycloneDXJSON, sbom.SPDXJSON} {
		t.Run(string(f), func(t *testing.T) {
			encoded, err := cataloger(t).Encode(t.Context(), original.JSON, f)
			if err != nil {
				t.Fatal(err)
			}
			back, err := cataloger(t).Convert(t.Context(), encoded)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(packages(t, original), packages(t, back)); diff != "" {
				t.Error(diff)
			}
			if back.Packages != original.Packages || back.Distro != original.Distro {
				t.Errorf("%d packages of %q, want %d of %q", back.Packages, back.Distro, original.Packages, original.Distro)
			}
		})
	}
}

func TestEncodeIsDeterministic(t *testing.T) {
	doc := catalogue(t, build(t, sampleimage.VulnerableContent()))
	for _, f := range []sbom.Format{sbom.CycloneDXJSON, sbom.SPDXJSON} {
		t.Run(string(f), func(t *testing.T) {
			var decoded [2]map[string]any
			for i := range decoded {
				encoded, err := cataloger(t).Encode(t.Context(), doc.JSON, f)
				if err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal(encoded, &decoded[i]); err != nil {
					t.Fatal(err)
				}
				if info, ok := decoded[i]["creationInfo"].(map[string]any); ok {
					delete(info, "created")
				}
			}
			if diff := cmp.Diff(decoded[0], decoded[1]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// other tools' documents, as short as they come.
const (
	cycloneDX = `{"bomFormat":"CycloneDX","specVersion":"1.5","components":[
		{"type":"library","name":"lodash","version":"4.17.15","purl":"pkg:npm/lodash@4.17.15"},
		{"type":"operating-system","name":"debian","version":"12"}]}`
	spdx = `{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"x","documentNamespace":"https://example.com/x",
		"creationInfo":{"created":"2026-01-01T00:00:00Z","creators":["Tool: other-1"]},
		"packages":[{"SPDXID":"SPDXRef-a","name":"lodash","versionInfo":"4.17.15","downloadLocation":"NOASSERTION",
		"externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:npm/lodash@4.17.15"}]}]}`
)

func TestConvertDocumentsOfOtherTools(t *testing.T) {
	for name, tt := range map[string]struct{ document, distro string }{
		"CycloneDX": {cycloneDX, "debian 12"},
		"SPDX":      {spdx, ""},
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := cataloger(t).Convert(t.Context(), []byte(tt.document))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"npm lodash 4.17.15"}, packages(t, doc)); diff != "" {
				t.Error(diff)
			}
			if doc.Distro != tt.distro {
				t.Errorf("distro is %q", doc.Distro)
			}
		})
	}
}

func TestConvertKeepsWhatPackageURLsSay(t *testing.T) {
	doc, err := cataloger(t).Convert(t.Context(), []byte(`{"bomFormat":"CycloneDX","specVersion":"1.5","components":[
		{"type":"library","name":"libssl3","version":"3.0.9-1","purl":"pkg:deb/debian/libssl3@3.0.9-1?arch=amd64&distro=debian-12&upstream=openssl"},
		{"type":"library","name":"libc6","version":"2.36-9","purl":"pkg:deb/debian/libc6@2.36-9?distro=debian-12&upstream=glibc%402.36-9"},
		{"type":"library","name":"curl","version":"1","purl":"pkg:deb/debian/curl@1?upstream=curl"},
		{"type":"library","name":"libcrypto3","version":"3.1.3-r0","purl":"pkg:apk/alpine/libcrypto3@3.1.3-r0?distro=alpine-3.18&upstream=openssl"},
		{"type":"library","name":"zlib","version":"1","purl":"pkg:rpm/centos/zlib@1?upstream=zlib-1-1.el7.src.rpm"},
		{"type":"library","name":"odd","version":"1","purl":"not a purl"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Artifacts []struct {
			Name     string
			Metadata struct{ Source, SourceVersion, OriginPackage, SourceRpm string }
		}
	}
	if err := json.Unmarshal(doc.JSON, &d); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, a := range d.Artifacts {
		got[a.Name] = strings.Trim(strings.Join([]string{a.Metadata.Source, a.Metadata.SourceVersion, a.Metadata.OriginPackage, a.Metadata.SourceRpm}, " "), " ")
	}
	want := map[string]string{"libssl3": "openssl", "libc6": "glibc 2.36-9", "curl": "", "libcrypto3": "openssl", "zlib": "zlib-1-1.el7.src.rpm", "odd": ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if doc.Distro != "debian 12" {
		t.Errorf("distro is %q", doc.Distro)
	}
}

func TestConvertRefuses(t *testing.T) {
	for name, document := range map[string]string{
		"nothing":          "",
		"text":             "pkg:npm/lodash@4.17.15",
		"a list of CPEs":   "cpe:2.3:a:lodash:lodash:4.17.15:*:*:*:*:*:*:*",
		"other JSON":       `{"name":"lodash"}`,
		"cut short":        cycloneDX[:100],
		"XML":              `<bom xmlns="http://cyclonedx.org/schema/bom/1.5"/>`,
		"deep nesting":     strings.Repeat("[", 100_000),
		"unknown version":  `{"bomFormat":"CycloneDX","specVersion":"9.9"}`,
		"wrong types":      `{"bomFormat":"CycloneDX","specVersion":"1.5","components":"many"}`,
		"syft, wrong type": `{"artifacts":7,"schema":{"version":"16.0.0","url":"https://raw.githubusercontent.com/anchore/syft/main/schema/json/schema-16.0.0.json"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			doc, err := cataloger(t).Convert(t.Context(), []byte(document))
			if !errs.Is(err, errs.Invalid) {
				t.Errorf("Convert returned %v of kind %s, with %d packages", err, errs.KindOf(err), doc.Packages)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
		})
	}
}

func TestConvertIsLimited(t *testing.T) {
	c := cataloger(t).With(catalog.Options{MaxDocumentBytes: 100}, 0)
	if _, err := c.Convert(t.Context(), []byte(cycloneDX)); !errs.Is(err, errs.TooLarge) {
		t.Errorf("Convert returned %v", err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	if _, err := cataloger(t).Encode(t.Context(), []byte("{}"), sbom.SPDXJSON); !errs.Is(err, errs.Invalid) {
		t.Errorf("no document: %v", err)
	}
	doc := catalogue(t, build(t, sampleimage.Content{}))
	if _, err := cataloger(t).Encode(t.Context(), doc.JSON, "pdf"); !errs.Is(err, errs.Invalid) {
		t.Errorf("no format: %v", err)
	}
}
