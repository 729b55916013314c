package api

import (
	"net/http"
	"os"
	"sort"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"
)

func documentedRoutes(t *testing.T) []string {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("the document is of OpenAPI %s, want 3.1", doc.OpenAPI)
	}
	var out []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			out = append(out, method+" "+path)
		}
	}
	sort.Strings(out)
	return out
}

func TestEveryRouteIsDocumentedAndTheReverse(t *testing.T) {
	h := &handler{}
	var served []string
	err := chi.Walk(h.router(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		served = append(served, method+" "+strings.TrimPrefix(route, Prefix))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(served)
	if diff := cmp.Diff(documentedRoutes(t), served); diff != "" {
		t.Errorf("routes (-openapi.yaml +router):\n%s", diff)
	}
}

// docs/api.md shows a curl line for each route.
func TestEveryRouteIsInTheGuide(t *testing.T) {
	guide, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, route := range documentedRoutes(t) {
		_, path, _ := strings.Cut(route, " ")
		path = strings.ReplaceAll(path, "/vulnerabilities/{id}", "/vulnerabilities/CVE-2021-44228")
		path = strings.ReplaceAll(path, "/scans/{id}", "/scans/42")
		path = strings.ReplaceAll(path, "/reconciliations/{id}", "/reconciliations/7")
		path = strings.ReplaceAll(path, "/tokens/{id}", "/tokens/3")
		path = strings.ReplaceAll(path, "/registries/{name}", "/registries/old")
		path = strings.ReplaceAll(path, "/notifications/{id}", "/notifications/12")
		path = strings.ReplaceAll(path, "/channels/{name}", "/channels/team-slack")
		path = strings.ReplaceAll(path, "/vulndb/{checksum}", "/vulndb/sha256:3f2a91c0")
		if !strings.Contains(string(guide), Prefix+path) {
			t.Errorf("docs/api.md does not mention %s", Prefix+path)
		}
	}
}
