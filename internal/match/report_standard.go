package match

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/anchore/clio"
	grypecyclonedx "github.com/anchore/grype/grype/presenter/cyclonedx"
	"github.com/anchore/grype/grype/presenter/models"
	grypesarif "github.com/anchore/grype/grype/presenter/sarif"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// homepage is where people find out about Tidewaiter.
const homepage = "https://github.com/tidewaiter/tidewaiter"

// writeSARIF writes SARIF 2.1.0 (OASIS) as grype does. What the answer leaves
// out goes with it as notifications of the run.
func (s *Session) writeSARIF(ctx context.Context, w io.Writer, r Result) error {
	config, err := s.presenter(ctx, r)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := grypesarif.NewPresenter(config).Present(&b); err != nil {
		return errs.Wrap(errs.Internal, "match: write SARIF", err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		return errs.Wrap(errs.Internal, "match: write SARIF", err)
	}
	ours(doc)
	notify(doc, s.Caveats(r))
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(doc)
}

// ours puts our address in the place of grype's and the paths of images right:
// SARIF wants them relative, and grype writes them with two slashes.
func ours(doc map[string]any) {
	slashes := regexp.MustCompile("/{2,}")
	run := child(child(doc, "runs"), 0)
	if driver := child(child(run, "tool"), "driver"); driver != nil {
		driver.(map[string]any)["informationUri"] = homepage
	}
	results, _ := child(run, "results").([]any)
	for _, result := range results {
		locations, _ := child(result, "locations").([]any)
		for _, l := range locations {
			if at, ok := child(child(l, "physicalLocation"), "artifactLocation").(map[string]any); ok {
				uri, _ := at["uri"].(string)
				at["uri"] = strings.TrimLeft(slashes.ReplaceAllString(uri, "/"), "/")
			}
		}
	}
}

// child is a member of a JSON object or an element of an array; nil when there
// is none.
func child(v, key any) any {
	switch v := v.(type) {
	case map[string]any:
		name, _ := key.(string)
		return v[name]
	case []any:
		if n, ok := key.(int); ok && n < len(v) {
			return v[n]
		}
	}
	return nil
}

// notify adds warnings to the only run of a SARIF document.
func notify(doc map[string]any, warnings []string) {
	run, ok := child(child(doc, "runs"), 0).(map[string]any)
	if !ok || len(warnings) == 0 {
		return
	}
	notes := make([]any, len(warnings))
	for i, text := range warnings {
		notes[i] = map[string]any{"level": "warning", "message": map[string]any{"text": text}}
	}
	run["invocations"] = []any{map[string]any{"executionSuccessful": true, "toolExecutionNotifications": notes}}
}

// writeCycloneDX writes the SBOM with its vulnerabilities, as grype does.
func (s *Session) writeCycloneDX(ctx context.Context, w io.Writer, r Result) error {
	config, err := s.presenter(ctx, r)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := grypecyclonedx.NewJSONPresenter(config).Present(&b); err != nil {
		return errs.Wrap(errs.Internal, "match: write CycloneDX", err)
	}
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(&b, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		return errs.Wrap(errs.Internal, "match: write CycloneDX", err)
	}
	s.sign(&bom, r)
	e := cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON)
	e.SetPretty(true)
	e.SetEscapeHTML(false)
	return e.EncodeVersion(&bom, bom.SpecVersion)
}

// sign names the tools behind a document, and what the answer leaves out.
func (s *Session) sign(bom *cyclonedx.BOM, r Result) {
	bom.Metadata.Tools = &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{
		{Type: cyclonedx.ComponentTypeApplication, Name: "tidewaiter", Version: r.Tool},
		{Type: cyclonedx.ComponentTypeApplication, Author: "anchore", Name: engineName, Version: engineVersion[1:]},
	}}
	var properties []cyclonedx.Property
	if bom.Metadata.Properties != nil {
		properties = *bom.Metadata.Properties
	}
	for _, text := range s.Caveats(r) {
		properties = append(properties, cyclonedx.Property{Name: "tidewaiter:caveat", Value: text})
	}
	if len(properties) > 0 {
		bom.Metadata.Properties = &properties
	}
}

func (s *Session) presenter(ctx context.Context, r Result) (models.PresenterConfig, error) {
	doc, bill, err := s.grypeDocument(ctx, r)
	return models.PresenterConfig{
		ID:       clio.Identification{Name: "tidewaiter", Version: r.Tool},
		Document: doc,
		SBOM:     bill,
	}, err
}
