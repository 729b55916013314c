package vulndb

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// The names inside a library; the package comment shows the whole.
const (
	buildsDir    = "builds"
	stagingDir   = "staging"
	downloadsDir = "downloads"
	currentFile  = "current"
	buildFile    = "build.json"
)

const algorithm = "sha256:"

// Installed describes a build in the library.
type Installed struct {
	// Dir holds vulnerability.db; it can be given to grype as it is.
	Dir string `json:"-"`
	// Checksum names the build: "sha256:" and 64 hexadecimal digits.
	Checksum string `json:"checksum"`
	// SchemaVersion is the database's own, such as "v6.1.10".
	SchemaVersion string    `json:"schema_version"`
	Built         time.Time `json:"built"`
	// Source says where the build came from: an address or a file's name.
	Source string `json:"source"`
	// Sample is true for a database built from the facts in this package. It
	// knows a handful of vulnerabilities and must be labelled wherever it shows.
	Sample      bool      `json:"sample"`
	InstalledAt time.Time `json:"installed_at"`
	// Archive is the checksum of the archive the build was unpacked from; empty
	// when it came as a bare file or a directory.
	Archive string `json:"archive,omitempty"`
	// Database is the checksum of the file in that archive, where another library
	// packed it and so it is not the build's name.
	Database string `json:"database,omitempty"`
	// Bytes is the size of the indexed database file.
	Bytes int64 `json:"bytes"`
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// errNone is the answer when the library is empty.
func errNone() error {
	return errs.New(errs.NotFound, "vulndb: no vulnerability database is installed").
		WithHint("run `tidewaiter vulndb update`, or `tidewaiter vulndb import FILE` where there is no internet")
}

// Current returns the current build. Without one it fails with errs.NotFound
// and a hint that names the commands to run.
func (l *Library) Current() (Installed, error) {
	raw, err := os.ReadFile(l.path(currentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Installed{}, errNone()
	}
	if err != nil {
		return Installed{}, errs.Wrap(errs.Internal, "vulndb: read the current build", err)
	}
	return l.Get(strings.TrimSpace(string(raw)))
}

// Get returns the build with the checksum, or errs.NotFound.
func (l *Library) Get(checksum string) (Installed, error) {
	hex, ok := strings.CutPrefix(checksum, algorithm)
	if !ok || !hexDigest.MatchString(hex) {
		return Installed{}, errs.New(errs.Invalid, "vulndb: %q is not a checksum", checksum)
	}
	in, err := readInstalled(l.path(buildsDir, hex))
	if errors.Is(err, fs.ErrNotExist) {
		return Installed{}, errs.New(errs.NotFound, "vulndb: build %s is not in the library", checksum).
			WithHint("run `tidewaiter vulndb update` or `tidewaiter vulndb import FILE`")
	}
	return in, err
}

// List returns every installed build, newest data first. An empty library
// gives an empty list.
func (l *Library) List() ([]Installed, error) {
	entries, err := os.ReadDir(l.path(buildsDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, errs.Wrap(errs.Internal, "vulndb: list", err)
	}
	var all []Installed
	for _, e := range entries {
		if !e.IsDir() || !hexDigest.MatchString(e.Name()) {
			continue
		}
		in, err := readInstalled(l.path(buildsDir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by another process since ReadDir
		}
		if err != nil {
			return nil, err
		}
		all = append(all, in)
	}
	slices.SortFunc(all, newestFirst)
	return all, nil
}

func newestFirst(a, b Installed) int {
	if c := b.Built.Compare(a.Built); c != 0 {
		return c
	}
	return strings.Compare(a.Checksum, b.Checksum)
}

// readInstalled reads the description of the build in dir.
func readInstalled(dir string) (Installed, error) {
	raw, err := os.ReadFile(filepath.Join(dir, buildFile))
	if err != nil {
		return Installed{}, err
	}
	var in Installed
	if err := json.Unmarshal(raw, &in); err != nil {
		return Installed{}, errs.Wrap(errs.Malformed, "vulndb: read "+filepath.Join(dir, buildFile), err)
	}
	in.Dir = dir
	return in, nil
}

func writeInstalled(dir string, in Installed) error {
	raw, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return errs.Wrap(errs.Internal, "vulndb: describe the build", err)
	}
	return writeFile(filepath.Join(dir, buildFile), append(raw, '\n'))
}

// hex returns the directory name of a checksum.
func (in Installed) hex() string { return strings.TrimPrefix(in.Checksum, algorithm) }
