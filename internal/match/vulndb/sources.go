package vulndb

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/anchore/grype/grype/db/provider"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// maxAdvisoryBytes bounds one file of advisories.
const maxAdvisoryBytes = 64 << 20

// source is a file of advisories, or a workspace of the vunnel project.
type source struct {
	path  string // of the file, or of the workspace's directory
	state provider.State
	rank  int
	// workspace is true for a vunnel workspace; state then says whose it is.
	workspace bool
}

// The order in which grype's build library must see its input: NVD lends its
// severities to what follows, ends of life amend the distributions named before.
const (
	rankFirst = iota
	rankAdvisories
	rankSignals
	rankLast
)

// rankOf returns when a schema's items are to be added.
func rankOf(schema string) int {
	switch {
	case strings.Contains(schema, "/nvd/"):
		return rankFirst
	case strings.Contains(schema, "/known-exploited/"), strings.Contains(schema, "/epss/"):
		return rankSignals
	case strings.Contains(schema, "/eol/"):
		return rankLast
	}
	return rankAdvisories
}

// findSources walks a directory and returns where it really is, what it offers
// in the order in which it is to be added, and what it holds besides.
func findSources(dir string) (root string, found []source, skipped []Skipped, err error) {
	root, err = filepath.EvalSymlinks(dir)
	if err == nil {
		var info fs.FileInfo
		if info, err = os.Stat(root); err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", dir)
		}
	}
	if err != nil {
		return "", nil, nil, errs.Wrap(errs.Invalid, "vulndb: read advisories", err)
	}
	f := &finder{root: root}
	if err := filepath.WalkDir(root, f.visit); err != nil {
		return "", nil, nil, errs.Wrap(errs.Invalid, "vulndb: read advisories", err)
	}
	slices.SortStableFunc(f.found, func(a, b source) int { return a.rank - b.rank })
	return root, f.found, f.skipped, nil
}

type finder struct {
	root    string
	found   []source
	skipped []Skipped
}

func (f *finder) visit(path string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	hidden := strings.HasPrefix(d.Name(), ".") && path != f.root
	if d.IsDir() {
		if hidden {
			return fs.SkipDir
		}
		return f.directory(path)
	}
	switch {
	case hidden:
	case !d.Type().IsRegular():
		f.skip(path, "not a regular file")
	case filepath.Ext(path) != ".json":
		f.skip(path, "only .json files are read")
	default:
		f.file(path)
	}
	return nil
}

// directory takes a vunnel workspace as one source.
func (f *finder) directory(path string) error {
	raw, err := os.ReadFile(filepath.Join(path, "metadata.json"))
	info, missing := os.Stat(filepath.Join(path, "results"))
	if err == nil && missing == nil && info.IsDir() {
		f.workspace(path, raw)
		return fs.SkipDir
	}
	return nil
}

func (f *finder) workspace(path string, metadata []byte) {
	var state provider.State
	if err := json.Unmarshal(metadata, &state); err != nil {
		f.skip(path, "metadata.json: "+err.Error())
		return
	}
	if !providerName.MatchString(state.Provider) {
		f.skip(path, fmt.Sprintf("metadata.json: %q is not a provider's name", state.Provider))
		return
	}
	f.found = append(f.found, source{path: path, state: state, rank: rankOf("/" + rankHint(state) + "/"), workspace: true})
}

var providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// rankHint names the kind of a workspace's items by its provider, which for
// the kinds that have a rank is one and the same.
func rankHint(state provider.State) string {
	switch state.Provider {
	case "nvd", "epss", "eol":
		return state.Provider
	case "kev":
		return "known-exploited"
	}
	return ""
}

func (f *finder) file(path string) {
	docs, err := readDocuments(path)
	if err != nil {
		f.skip(path, err.Error())
		return
	}
	var e envelope
	_ = json.Unmarshal(docs[0], &e) // not an envelope: an OSV record, looked at when it is added
	f.found = append(f.found, source{path: path, rank: rankOf(e.Schema)})
}

func (f *finder) skip(path, reason string) {
	f.skipped = append(f.skipped, Skipped{File: relative(f.root, path), Reason: reason})
}

func relative(root, path string) string {
	if rel, err := filepath.Rel(root, path); err == nil {
		return rel
	}
	return path
}

// envelope is how the vunnel project wraps an item.
type envelope struct {
	Schema     string          `json:"schema"`
	Identifier string          `json:"identifier"`
	Item       json.RawMessage `json:"item"`
}

// readDocuments returns the JSON values of a file: the file itself, or what the
// array in it holds. There is at least one.
func readDocuments(path string) ([]json.RawMessage, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxAdvisoryBytes {
		return nil, fmt.Errorf("larger than %d bytes", maxAdvisoryBytes)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")))
	switch {
	case len(raw) == 0:
		return nil, fmt.Errorf("empty")
	case raw[0] == '[':
		var docs []json.RawMessage
		if err := json.Unmarshal(raw, &docs); err != nil {
			return nil, fmt.Errorf("not JSON: %w", err)
		}
		if len(docs) == 0 {
			return nil, fmt.Errorf("an empty list")
		}
		return docs, nil
	case !json.Valid(raw):
		return nil, fmt.Errorf("not JSON")
	}
	return []json.RawMessage{raw}, nil
}
