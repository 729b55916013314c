package catalog

import "testing"

func TestRelease(t *testing.T) {
	for in, want := range map[string][3]string{
		"debian-12":          {"debian", "12", ""},
		"alpine:3.18.4":      {"alpine", "3.18.4", ""},
		"ubuntu@22.04":       {"ubuntu", "22.04", ""},
		"debian-bookworm":    {"debian", "", "bookworm"},
		"opensuse-leap-15.5": {"opensuse-leap", "15.5", ""},
		"wolfi":              {"wolfi", "", ""},
	} {
		r := release(in)
		if got := [3]string{r.ID, r.VersionID, r.VersionCodename}; got != want {
			t.Errorf("release(%q) is %q, want %q", in, got, want)
		}
	}
}
