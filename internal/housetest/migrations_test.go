package housetest

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// During an update the version before runs on the schema of the version after.
// These are the ways in which a migration may break it or stop it; a statement
// that goes one of them has to be in harmless, with the reason why it may.
var harms = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`(?i)\bDROP (?:TABLE|VIEW|FUNCTION|COLUMN|TRIGGER|TYPE|CONSTRAINT|DEFAULT|NOT NULL)\b`), "the version before may use it"},
	{regexp.MustCompile(`(?i)\bDROP INDEX (?:CONCURRENTLY )?(?:IF EXISTS )?(\w+)`), "the version before may need it to be fast"},
	{regexp.MustCompile(`(?i)\bRENAME\b`), "the version before knows the old name"},
	{regexp.MustCompile(`(?i)\bALTER COLUMN \w+ (?:SET DATA )?TYPE\b`), "it writes the table anew while nobody can use it"},
	{regexp.MustCompile(`(?i)\bSET NOT NULL\b`), "the version before may leave it out, and the whole table is read while nobody can use it"},
	{regexp.MustCompile(`(?i)\bADD (?:CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY)\b`), "the whole table is read while nobody can write it, and what the version before writes may not hold it"},
	{regexp.MustCompile(`(?i)^CREATE (?:UNIQUE )?INDEX (?:IF NOT EXISTS )?\w+ ON (\w+)`), "nobody can write the table while it is built"},
	{regexp.MustCompile(`(?i)^(?:UPDATE|DELETE|INSERT|TRUNCATE)\b`), "it may take long, and holds what it changed until it is over"},
	{regexp.MustCompile(`(?i)^CREATE (?:OR REPLACE )?TRIGGER\b`), "it changes what statements of the version before do"},
	{regexp.MustCompile(`(?i)^CREATE OR REPLACE\b`), "the version before goes by it from then on"},
	{regexp.MustCompile(`(?i)^(?:CLUSTER|VACUUM|LOCK|REINDEX)\b`), "nobody can use the table meanwhile"},
}

// harmless are statements that look harmful and are not, by migration and how they
// begin.
var harmless = map[string]string{
	"00002 ALTER TABLE registry ADD COLUMN max_running":                  "there are a few registries",
	"00005 CREATE OR REPLACE VIEW ledger_manifest":                       "the same columns; a state more, which only what the new version writes is in",
	"00005 CREATE OR REPLACE VIEW ledger_target":                         "the same columns; rows more, for what only the new version cancels",
	"00009 CREATE OR REPLACE FUNCTION verdicts":                          "the same answer, found by another way",
	"00009 CREATE OR REPLACE FUNCTION package_verdicts":                  "the same answer, found by another way",
	"00007 DROP INDEX CONCURRENTLY IF EXISTS scan_due":                   "claims of the version before sort what waits instead: slower, for the minutes of the update",
	"00011 CREATE TRIGGER finding_event_outbox":                          "it does nothing before a process of the new version keeps a rule",
	"00018 DROP INDEX CONCURRENTLY IF EXISTS inventory_package_package":  "the new one answers the same questions",
	"00013 CREATE INDEX finding_event_vulnerability ON finding_event":    "a partitioned table takes no concurrent index; it holds at most a year of events and is built in seconds",
	"00013 CREATE INDEX repository_finding_likely ON repository_finding": "partial, on a column that is false everywhere: it is empty, and the table is read once",
	"00013 CREATE INDEX vulnerability_epss ON vulnerability":             "a row per record of what was matched, some ten thousands",
	"00013 UPDATE repository_finding f SET likely":                       "only findings over the threshold, a few in a hundred",
	"00013 CREATE TRIGGER keep_coverage":                                 "it only writes a table of its own",
	"00013 INSERT INTO repository_day":                                   "one read of the findings into a table that nobody uses yet",
	"00013 CREATE TRIGGER count_day_insert":                              "it only writes a table of its own",
	"00013 CREATE TRIGGER count_day_update":                              "it only writes a table of its own",
	"00013 CREATE TRIGGER count_day_delete":                              "it only writes a table of its own",
	"00014 INSERT INTO vuln_check DEFAULT VALUES":                        "one row of a table of its own",
	"00015 DROP INDEX CONCURRENTLY IF EXISTS package_match_package;":     "package_match_package_canonical begins with the same column and was built before",
}

// statement is one of a migration, without comments, on one line.
type statement struct {
	file, text string
}

// begins reports the key of harmless under which the statement may stand.
func (s statement) begins() string { return s.file[:5] + " " + s.text }

func migrationStatements(t *testing.T, file string) []statement {
	t.Helper()
	text := regexp.MustCompile(`--[^\n]*`).ReplaceAllStringFunc(read(t, "migrations/"+file), func(comment string) string {
		if strings.HasPrefix(comment, "-- +goose Statement") {
			return comment
		}
		return ""
	})
	var out []statement
	for part := range strings.SplitSeq(text, "-- +goose StatementBegin") {
		whole, rest, found := strings.Cut(part, "-- +goose StatementEnd")
		if !found {
			whole, rest = "", part
		}
		for _, s := range append([]string{whole}, strings.SplitAfter(rest, ";")...) {
			if s = strings.Join(strings.Fields(s), " "); s != "" {
				out = append(out, statement{file, s})
			}
		}
	}
	return out
}

// head cuts off what a function does: it runs later.
func (s statement) head() string {
	head, _, _ := strings.Cut(s.text, "$$")
	return head
}

func TestMigrationsLeaveTheVersionBeforeAlone(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "migrations", "*.sql"))
	if err != nil || len(files) < 10 {
		t.Fatalf("found %d migrations, %v", len(files), err)
	}
	used := map[string]bool{}
	for _, file := range files[1:] { // before the first there is no version
		statements := migrationStatements(t, filepath.Base(file))
		for i, s := range statements {
			if harm := harmOf(s, statements[:i], statements[i+1:]); harm != "" && !excused(s, used) {
				t.Errorf("%s: %.120s\n\t%s. If it is harmless all the same, say why in harmless", s.file, s.text, harm)
			}
		}
	}
	for key := range harmless {
		if !used[key] {
			t.Errorf("no statement that needs an excuse begins with %q", key)
		}
	}
}

func excused(s statement, used map[string]bool) bool {
	for key := range harmless {
		if strings.HasPrefix(s.begins(), key) {
			used[key] = true
			return true
		}
	}
	return false
}

// newColumn says what is wrong with a column that a statement adds, or nothing.
func newColumn(s statement) string {
	for _, column := range strings.Split(s.head(), "ADD COLUMN ")[1:] {
		has := func(words string) bool { return regexp.MustCompile(`(?i)\b` + words).MatchString(column) }
		switch {
		case has(`NOT NULL`) && !has(`DEFAULT`):
			return "the version before leaves the column out: it needs a default"
		case has(`DEFAULT\s+(?:now|clock_timestamp|random|gen_random_uuid|nextval)`):
			return "a default that differs by row writes the table anew"
		case has(`(?:CHECK|REFERENCES|UNIQUE|GENERATED)`):
			return "the whole table is read, or written anew, while nobody can write it"
		}
	}
	return ""
}

// harmOf says what a statement may do to the version before, or nothing.
func harmOf(s statement, before, after []statement) string {
	if harm := newColumn(s); harm != "" {
		return harm
	}
	for _, harm := range harms {
		m := harm.pattern.FindStringSubmatch(s.head())
		if m == nil {
			continue
		}
		if len(m) > 1 && (made(before, m[1]) || strings.Contains(strings.ToUpper(s.text), "DROP INDEX") && madeAgain(after, m[1])) {
			continue
		}
		return harm.why
	}
	return ""
}

// made reports whether the migration made the table itself: nobody has rows in it.
func made(before []statement, table string) bool {
	for _, s := range before {
		if regexp.MustCompile(`^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?` + table + `\b`).MatchString(s.text) {
			return true
		}
	}
	return false
}

// madeAgain reports whether the index is built by the statement that follows: it
// was dropped only because a run that was cut off may have left half of it.
func madeAgain(after []statement, index string) bool {
	return len(after) > 0 && regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX CONCURRENTLY `+index+`\b`).MatchString(after[0].text)
}

// Indexes are built concurrently only outside of a transaction, and what is not in
// one has to be fit to run again from the start.
func TestMigrationsOutsideOfATransactionCanBeginAgain(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "migrations", "*.sql"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, path := range files {
		file := filepath.Base(path)
		if !strings.Contains(read(t, "migrations/"+file), "-- +goose NO TRANSACTION\n") {
			continue
		}
		seen++
		statements := migrationStatements(t, file)
		for i, s := range statements {
			again := regexp.MustCompile(`\bIF (?:NOT )?EXISTS\b|\bOR REPLACE\b`).MatchString(s.text)
			if m := regexp.MustCompile(`^CREATE (?:UNIQUE )?INDEX CONCURRENTLY (\w+)`).FindStringSubmatch(s.text); m != nil {
				again = i > 0 && strings.HasPrefix(statements[i-1].text, "DROP INDEX CONCURRENTLY IF EXISTS "+m[1]+";")
			}
			if !again {
				t.Errorf("%s: %.100s\n\tcannot run twice: when the migration is cut off behind it, it never ends", file, s.text)
			}
		}
	}
	if seen == 0 {
		t.Error("no migration builds an index concurrently")
	}
}
