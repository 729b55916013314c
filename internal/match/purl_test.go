package match

import (
	"bytes"
	"testing"

	"github.com/anchore/syft/syft/format"
	"github.com/anchore/syft/syft/format/syftjson"
	"github.com/google/go-cmp/cmp"

	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// Documents as other tools write them: what grype needs stands in purls only.
const (
	cycloneDX = `{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[
{"type":"library","name":"libssl3","version":"3.0.9-1","purl":"pkg:deb/debian/libssl3@3.0.9-1?arch=amd64&upstream=openssl&distro=debian-12"},
{"type":"library","name":"zlib1g","version":"1:1.2.13.dfsg-1","purl":"pkg:deb/debian/zlib1g@1%3A1.2.13.dfsg-1?arch=amd64&upstream=zlib&distro=debian-12"},
{"type":"library","name":"curl","version":"7.88.1-10","purl":"pkg:deb/debian/curl@7.88.1-10?arch=amd64"},
{"type":"library","name":"lodash","version":"4.17.15","purl":"pkg:npm/lodash@4.17.15"},
{"type":"library","name":"nonsense","version":"1","purl":"pkg:?upstream=&distro=%%%"}]}`
	spdx = `{"spdxVersion":"SPDX-2.3","dataLicense":"CC0-1.0","SPDXID":"SPDXRef-DOCUMENT","name":"x","documentNamespace":"https://example.org/x",
"creationInfo":{"created":"2024-01-01T00:00:00Z","creators":["Tool: x"]},"packages":[
{"SPDXID":"SPDXRef-a","name":"libssl3","versionInfo":"3.1.0-r0","downloadLocation":"NOASSERTION",
 "externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:apk/alpine/libssl3@3.1.0-r0?arch=x86_64&upstream=openssl&distro=alpine-3.18.4"}]}]}`
	twoDistros = `{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[
{"type":"library","name":"libssl3","version":"3.0.9-1","purl":"pkg:deb/debian/libssl3@3.0.9-1?upstream=openssl&distro=debian-12"},
{"type":"library","name":"curl","version":"7.88.1-10","purl":"pkg:deb/debian/curl@7.88.1-10?distro=debian-11"}]}`
)

// TestConvertedDocuments compares with what grype makes of the original.
func TestConvertedDocuments(t *testing.T) {
	e := sampleEngine(t)
	for name, original := range map[string]string{"CycloneDX": cycloneDX, "SPDX": spdx, "two distros": twoDistros} {
		t.Run(name, func(t *testing.T) {
			theirs, err := provide([]byte(original))
			if err != nil {
				t.Fatal(err)
			}
			want := grypeLines(t, plainProvider(t, e.current.installed), theirs)
			if len(want) == 0 {
				t.Fatal("the sample no longer fits the test")
			}
			bill, _, _, err := format.Decode(bytes.NewReader([]byte(original)))
			if err != nil {
				t.Fatal(err)
			}
			var converted bytes.Buffer
			if err := syftjson.NewFormatEncoder().Encode(&converted, *bill); err != nil {
				t.Fatal(err)
			}
			inv, err := e.Inventory(t.Context(), sbom.Document{JSON: converted.Bytes()})
			if err != nil {
				t.Fatal(err)
			}
			judgements, err := pin(t, e).Judge(t.Context(), inv.Packages)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(withoutID(want), withoutID(ourLines(inv, judgements))); diff != "" {
				t.Errorf("(-grype on the original +ours on the converted):\n%s", diff)
			}
		})
	}
}

func withoutID(lines []line) []line {
	for i := range lines {
		lines[i].Package = ""
	}
	return sortLines(lines)
}
