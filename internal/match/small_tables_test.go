package match

import (
	"testing"

	v6 "github.com/anchore/grype/grype/db/v6"
	"github.com/google/go-cmp/cmp"
)

// What is answered from memory equals what the database says, and whoever got it
// may do with it what he likes.
func TestSmallTablesAreReadOnce(t *testing.T) {
	e := sampleEngine(t)
	plain, err := v6.NewReader(v6.Config{DBDirPath: e.current.installed.Dir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	for range 3 {
		want, err := plain.AllProviders()
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.current.reader.AllProviders()
		if err != nil || len(got) == 0 {
			t.Fatalf("%d providers, %v", len(got), err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("providers (-database +memory):\n%s", diff)
		}
		got[0].ID = "changed by the caller"
	}
	for _, version := range []string{"12", "11", "99"} {
		spec := v6.OSSpecifier{Name: "debian", MajorVersion: version}
		for range 2 {
			want, wantErr := plain.GetOperatingSystems(spec)
			got, gotErr := e.current.reader.GetOperatingSystems(spec)
			if diff := cmp.Diff(want, got); diff != "" || (wantErr == nil) != (gotErr == nil) {
				t.Errorf("debian %s: %v and %v, (-database +memory):\n%s", version, wantErr, gotErr, diff)
			}
		}
	}
}

// KEV is asked about the CVEs it has, however they are written, and no others.
func TestKnownExploitedIsFoundInAnyCase(t *testing.T) {
	reader := sampleEngine(t).current.reader
	all, err := reader.GetKnownExploitedVulnerabilities("CVE-2021-44228")
	if err != nil || len(all) == 0 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	lower, err := reader.GetKnownExploitedVulnerabilities("cve-2021-44228")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(all, lower); diff != "" {
		t.Error(diff)
	}
	if none, err := reader.GetKnownExploitedVulnerabilities("CVE-1999-0001"); err != nil || len(none) != 0 {
		t.Errorf("%d entries of a CVE that is not in KEV, %v", len(none), err)
	}
}
