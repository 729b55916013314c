package api

import (
	_ "embed"
	"net/http"
)

// document describes the API to programs (OpenAPI 3.1). Tests hold it and the
// routes together.
//
//go:embed openapi.yaml
var document []byte

func serveDocument(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(document)
}

// Document returns the OpenAPI document of the API, as it is served. The caller
// must not change it.
func Document() []byte { return document }
