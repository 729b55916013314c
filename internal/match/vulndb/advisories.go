package vulndb

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/anchore/grype/grype/db/provider"
	"github.com/anchore/grype/grype/db/provider/entry"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// Skipped is an advisory, or a part of one, that did not get into a database.
type Skipped struct {
	File   string `json:"file"`             // relative to the directory that was read
	Record string `json:"record,omitempty"` // id within the file, where there is one
	Reason string `json:"reason"`
}

// String returns "file: record: reason".
func (s Skipped) String() string {
	if s.Record == "" {
		return s.File + ": " + s.Reason
	}
	return s.File + ": " + s.Record + ": " + s.Reason
}

// adder reads sources into a builder and keeps account of both.
type adder struct {
	builder   *builder
	converter converter
	root      string
	built     time.Time
	providers map[string]int
	skipped   []Skipped
}

// add reads one source. An error ends the build; what is wrong with single
// advisories is noted instead.
func (a *adder) add(ctx context.Context, s source) error {
	if s.workspace {
		return a.addWorkspace(ctx, s)
	}
	docs, err := readDocuments(s.path)
	if err != nil { // it could be read a moment ago
		return errs.Wrap(errs.Internal, "vulndb: read advisories", err)
	}
	for _, doc := range docs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := a.addDocument(s.path, doc, nil); err != nil {
			return err
		}
	}
	return nil
}

// addWorkspace reads the results of a vunnel workspace, which lie in files or
// in an SQLite database.
func (a *adder) addWorkspace(ctx context.Context, s source) error {
	results := filepath.Join(s.path, "results")
	if s.state.Store == "sqlite" {
		return a.addResultsDB(ctx, s, filepath.Join(results, "results.db"))
	}
	return filepath.WalkDir(results, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" || !d.Type().IsRegular() {
			return err
		}
		docs, err := readDocuments(path)
		if err != nil {
			a.skip(path, "", err.Error())
		}
		for _, doc := range docs {
			if err := a.addDocument(path, doc, &s.state); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *adder) addResultsDB(ctx context.Context, s source, file string) error {
	openers, _, err := entry.Openers("sqlite", []string{file})
	if err == nil {
		return a.addResults(ctx, s, file, openers)
	}
	a.skip(file, "", err.Error())
	return nil
}

func (a *adder) addResults(ctx context.Context, s source, file string, openers <-chan entry.Opener) error {
	var failed error
	for o := range openers { // to the end even after a failure, or its sender would stay
		if failed = errors.Join(failed, ctx.Err()); failed != nil {
			continue
		}
		doc, err := readAll(o)
		if err != nil {
			a.skip(file, o.String(), err.Error())
			continue
		}
		failed = a.addDocument(file, doc, &s.state)
	}
	return failed
}

func readAll(o entry.Opener) ([]byte, error) {
	r, err := o.Open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxAdvisoryBytes))
}

// addDocument adds one JSON value: an envelope or a bare OSV record. State is
// that of the workspace it lies in, nil outside of one.
func (a *adder) addDocument(path string, doc json.RawMessage, state *provider.State) error {
	var e envelope
	var bare struct {
		ID string `json:"id"`
	}
	unread := errors.Join(json.Unmarshal(doc, &e), json.Unmarshal(doc, &bare))
	switch {
	case unread != nil:
		a.skip(path, "", "not an object with the fields of an advisory: "+unread.Error())
	case e.Schema != "" && len(e.Item) > 0 && strings.Contains(e.Schema, "/osv/"):
		return a.addOSV(path, e.Item, state)
	case e.Schema != "" && len(e.Item) > 0:
		return a.addItem(path, e.Identifier, a.state(cmp.Or(providerOfItem(e), a.converter.provider), state), e.Schema, e.Item)
	case bare.ID != "":
		return a.addOSV(path, doc, state)
	default:
		a.skip(path, "", "neither an OSV record nor a vunnel envelope")
	}
	return nil
}

// addOSV adds an OSV record in whatever forms it needs.
func (a *adder) addOSV(path string, raw json.RawMessage, state *provider.State) error {
	var id struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(raw, &id) // convert says what is wrong
	items, problems := a.converter.convert(raw)
	for _, p := range problems {
		a.skip(path, id.ID, p)
	}
	for _, it := range items {
		body, err := json.Marshal(it.body)
		if err != nil {
			return errs.Wrap(errs.Internal, "vulndb: encode an advisory", err)
		}
		if err := a.addItem(path, id.ID, a.state(it.provider, state), it.schema, body); err != nil {
			return err
		}
	}
	return nil
}

// addItem gives an item to the builder and notes what came of it.
func (a *adder) addItem(path, record string, state provider.State, schema string, body []byte) error {
	err := a.builder.add(state, schema, body)
	var fatal *errs.Error
	switch {
	case errors.As(err, &fatal):
		return err
	case err != nil:
		a.skip(path, record, err.Error())
	default:
		a.providers[state.Provider]++
	}
	return nil
}

// state returns the workspace's own, or one made up for loose files.
func (a *adder) state(name string, workspace *provider.State) provider.State {
	if workspace != nil {
		return *workspace
	}
	return provider.State{Provider: name, Version: 1, Processor: "tidewaiter", Timestamp: a.built}
}

func (a *adder) skip(path, record, reason string) {
	a.skipped = append(a.skipped, Skipped{File: relative(a.root, path), Record: record, Reason: reason})
}

// providerOfItem returns whose database of grype's an item outside a workspace
// belongs to; "" when that cannot be told.
func providerOfItem(e envelope) string {
	for _, known := range []struct{ segment, provider string }{
		{"/nvd/", "nvd"}, {"/github-security-advisory/", "github"}, {"/known-exploited/", "kev"},
		{"/epss/", "epss"}, {"/eol/", "eol"}, {"/msrc/", "msrc"},
	} {
		if strings.Contains(e.Schema, known.segment) {
			return known.provider
		}
	}
	var os osItem
	if !strings.Contains(e.Schema, "/os/") || json.Unmarshal(e.Item, &os) != nil {
		return ""
	}
	id, _, _ := strings.Cut(os.Vulnerability.Namespace, ":")
	switch id {
	case "amzn":
		return "amazon"
	case "ol":
		return "oracle"
	case "azurelinux":
		return "mariner"
	}
	if !providerName.MatchString(id) {
		return ""
	}
	return id
}
