// Package apitest holds answers of the API against its OpenAPI document.
//
// It is for tests only, of the API itself and of the whole service. It must not
// be imported by anything that ships.
package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/tidewaiter/tidewaiter/internal/api"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
)

// contract is the document as tests hold answers against it: no member may be
// missing in it.
type contract struct {
	document *openapi3.T
	router   routers.Router
}

var loadContract = sync.OnceValues(func() (contract, error) {
	for _, f := range []sbom.Format{sbom.SyftJSON, sbom.CycloneDXJSON, sbom.SPDXJSON} {
		openapi3filter.RegisterBodyDecoder(f.MediaType(), openapi3filter.JSONBodyDecoder)
	}
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
	document, err := openapi3.NewLoader().LoadFromData(api.Document())
	if err != nil {
		return contract{}, err
	}
	if err := document.Validate(context.Background()); err != nil {
		return contract{}, err
	}
	for _, schema := range document.Components.Schemas {
		closeSchema(schema.Value)
	}
	router, err := gorillamux.NewRouter(document)
	return contract{document, router}, err
})

// closeSchema forbids members that the document does not name, so that a test
// fails when an answer gains one. Callers of the API must expect new ones.
func closeSchema(s *openapi3.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 && s.AdditionalProperties.Has == nil {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, p := range s.Properties {
		if p.Ref == "" {
			closeSchema(p.Value)
		}
	}
	if s.Items != nil && s.Items.Ref == "" {
		closeSchema(s.Items.Value)
	}
	for _, o := range s.AnyOf {
		if o.Ref == "" {
			closeSchema(o.Value)
		}
	}
}

// Check fails the test when an answer of the API is not what the document says,
// or lacks the headers every answer has.
func Check(t testing.TB, request *http.Request, response *http.Response, body []byte) {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	asked := request.Clone(request.Context())
	asked.URL.Scheme, asked.URL.Host, asked.Host = "", "", ""
	route, parameters, err := c.router.FindRoute(asked)
	if err != nil {
		t.Fatalf("%s %s is not in openapi.yaml: %v", request.Method, request.URL.Path, err)
	}
	err = openapi3filter.ValidateResponse(request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: asked, PathParams: parameters, Route: route},
		Status:                 response.StatusCode, Header: response.Header, Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		t.Errorf("%s %s: the answer is not what openapi.yaml says: %v\n%s", request.Method, request.URL, err, body)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := response.Header.Get(name); got != want {
			t.Errorf("%s %s: header %s = %q, want %q", request.Method, request.URL.Path, name, got, want)
		}
	}
}

// CheckLine fails the test when a line of a stream is not as a schema says.
func CheckLine(t testing.TB, schema string, line []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(line, &v); err != nil {
		t.Fatalf("no JSON: %v: %s", err, line)
	}
	if err := Document(t).Components.Schemas[schema].Value.VisitJSON(v); err != nil {
		t.Errorf("the line is no %s: %v\n%s", schema, err, line)
	}
}

// Document returns the OpenAPI document as it is read.
func Document(t testing.TB) *openapi3.T {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	return c.document
}
