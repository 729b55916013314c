package vulndb

import (
	"testing"
	"time"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/google/go-cmp/cmp"
)

func TestSampleHasOneName(t *testing.T) {
	a, err := BuildSample(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lib := openLibrary(t, Config{})
	b, err := lib.InstallSample(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Checksum != b.Checksum {
		t.Errorf("two builds have checksums %s and %s", a.Checksum, b.Checksum)
	}
	if !a.Sample || !b.Sample {
		t.Error("the sample is not marked as one")
	}
	if !a.Built.Equal(sampleDate) {
		t.Errorf("built %v, want the date of the facts %v", a.Built, sampleDate)
	}
	current, err := lib.Current()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, current); diff != "" {
		t.Errorf("current differs from what was installed (-want +got):\n%s", diff)
	}
	if age := time.Since(current.InstalledAt); age < 0 || age > time.Hour {
		t.Errorf("installed at %v", current.InstalledAt)
	}
}

// openLibrary opens a library in a fresh directory.
func openLibrary(t *testing.T, cfg Config) *Library {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	lib, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

// openReader opens a build as the matcher does.
func openReader(t *testing.T, in Installed) v6.Reader {
	t.Helper()
	r, err := v6.NewReader(v6.Config{DBDirPath: in.Dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}
