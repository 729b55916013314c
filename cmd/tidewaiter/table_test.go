package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTable(t *testing.T) {
	list := table{head: []string{"REPOSITORY", "TAGS", "NOTES"}, gives: []int{0, 2}}
	list.add("registry.example/team/app", "1", "")
	list.add("registry.example/evil\x1b[2J\nREPOSITORY", "20", "no data for distro:centos:7, ecosystem:npm")
	var out bytes.Buffer
	if err := list.write(&out); err != nil {
		t.Fatal(err)
	}
	want := `REPOSITORY                                 TAGS  NOTES
registry.example/team/app                  1
registry.example/evil\x1b[2J\nREPOSITORY  20    no data for distro:centos:7, ecosystem:npm
`
	if got := out.String(); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") || strings.Count(got, "\n") != 3 || strings.Contains(got, "\x1b") {
		t.Errorf("got:\n%s", got)
	}
}

// A row fits into the terminal as long as the columns that may give way can.
func TestTableFits(t *testing.T) {
	list := table{head: []string{"NAME", "N", "WHY"}, gives: []int{0, 2}}
	list.add(strings.Repeat("ä", 80), "12345", strings.Repeat("w", 60))
	all := append([][]string{list.head}, list.rows...)
	for most, want := range map[int][]int{0: {80, 5, 60}, 200: {80, 5, 60}, 100: {45, 5, 46}, 60: {25, 5, 26}, 20: {16, 5, 16}} {
		if got := list.widths(all, most); !slices.Equal(got, want) {
			t.Errorf("in %d characters: %v, want %v", most, got, want)
		}
	}
	if got := cut(strings.Repeat("ä", 80), 10); utf8.RuneCountInString(got) != 10 || !strings.HasSuffix(got, "…") {
		t.Errorf("cut: %q", got)
	}
}

func TestServerFlagsBeforeTheCommand(t *testing.T) {
	for given, want := range map[string]string{
		"repos":            "repos",
		"--server u repos": "repos --server u",
		"--server=u --token t notify log -o json":   "notify log -o json --server=u --token t",
		"--server u where -- --x":                   "where --server u -- --x",
		"--server u repos --server v":               "repos --server v",
		"--server u repos --server=v --token t":     "repos --server=v --token t",
		"--config c --server u repos":               "--config c --server u repos",
		"--server u":                                "--server u",
		"--ca-file f --help":                        "--help --ca-file f",
		"--token tw_x --server u findings a/b:1 -o": "findings a/b:1 -o --token tw_x --server u",
	} {
		if got := strings.Join(behindCommand(strings.Fields(given)), " "); got != want {
			t.Errorf("%s: got %s, want %s", given, got, want)
		}
	}
}
