package housetest

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// sectionOf is what stands under a heading of a page, up to the next one.
func sectionOf(t *testing.T, page, heading string) string {
	t.Helper()
	_, section, ok := strings.Cut(read(t, page), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", page, heading)
	}
	section, _, _ = regexpCut(section, `\n#+ `)
	return section
}

// regexpCut is strings.Cut at the first match.
func regexpCut(text, pattern string) (before, after string, found bool) {
	at := regexp.MustCompile(pattern).FindStringIndex(text)
	if at == nil {
		return text, "", false
	}
	return text[:at[0]], text[at[1]:], true
}

// TestOperationsExplainEveryState holds the tables of docs/operations.md to the
// states that the schema allows.
func TestOperationsExplainEveryState(t *testing.T) {
	for heading, table := range map[string]string{
		"States of images": "manifest", "States of scans": "scan", "States of comparisons": "reconciliation",
		"States of builds": "vuln_build", "States of messages": "notification",
	} {
		var told []string
		for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|").FindAllStringSubmatch(sectionOf(t, "docs/operations.md", heading), -1) {
			told = append(told, m[1])
		}
		allowed := statesOf(t, table)
		slices.Sort(told)
		slices.Sort(allowed)
		if !slices.Equal(told, allowed) {
			t.Errorf("docs/operations.md, %s: explains %v, the schema has %v", heading, told, allowed)
		}
	}
}

// statesOf are the states that a table's newest CHECK allows.
func statesOf(t *testing.T, table string) (states []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "migrations", "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		_, text, found := strings.Cut(read(t, "migrations/"+filepath.Base(file)), "CREATE TABLE "+table+" (")
		if !found {
			continue
		}
		text, _, _ = strings.Cut(text, "\n);")
		if m := regexp.MustCompile(`CHECK \(state IN \(([^)]*)\)\)`).FindStringSubmatch(text); m != nil {
			states = strings.Split(strings.ReplaceAll(m[1], "'", ""), ", ")
		}
	}
	if len(states) < 3 {
		t.Fatalf("found the states %v of %s", states, table)
	}
	return states
}

// TestOperationsExplainEveryKindOfError holds the table of kinds to the one in
// internal/errs.
func TestOperationsExplainEveryKindOfError(t *testing.T) {
	section := sectionOf(t, "docs/operations.md", "Kinds of errors")
	for _, kind := range errs.Kinds() {
		again := "no"
		if kind.Meaning().Outcome == errs.Retry {
			again = "yes"
		}
		if row := fmt.Sprintf("\n| `%s` | %d | %s |", kind, kind.Meaning().Status, again); !strings.Contains(section, row) {
			t.Errorf("docs/operations.md lacks the row %s", row[1:])
		}
	}
	if rows, kinds := strings.Count(section, "\n| `"), len(errs.Kinds()); rows != kinds {
		t.Errorf("docs/operations.md has %d kinds of errors, there are %d", rows, kinds)
	}
}

// symptoms are the sections that alerts link to.
var symptoms = []string{
	"queue-is-old", "scans-fail", "database-is-old", "build-is-held", "endpoint-is-silent", "coverage-falls", "answers-are-old",
	"pulls-fail", "webhooks-are-refused", "collection-does-not-run", "instance-is-down",
}

func TestOperationsHaveASectionForEverySymptom(t *testing.T) {
	anchors := anchorsOf(read(t, "docs/operations.md"))
	for _, symptom := range symptoms {
		if !slices.Contains(anchors, symptom) {
			t.Errorf("docs/operations.md has no section #%s", symptom)
		}
	}
}
