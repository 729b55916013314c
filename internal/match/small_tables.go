package match

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
)

// maxSmallAnswers bounds how many answers of small tables are remembered; the
// memory starts anew when it is full.
const maxSmallAnswers = 1000

// smallTables remembers what a database answers from tables of a few hundred rows
// that grype reads again for every package: who provides records, and which
// distros there are. The file does not change while it is open.
type smallTables struct {
	mu    sync.Mutex
	known map[string]reflect.Value // slices of rows
}

// rememberSmallTables has a connection answer repeated questions to small tables
// from memory.
func rememberSmallTables(db *gorm.DB) error {
	s := &smallTables{known: map[string]reflect.Value{}}
	return db.Callback().Query().Replace("gorm:query", s.query)
}

// query stands in for the step of gorm that reads rows.
func (s *smallTables) query(db *gorm.DB) {
	if db.Error != nil || db.Statement == nil || !small(db.Statement.Table) || db.Statement.ReflectValue.Kind() != reflect.Slice {
		callbacks.Query(db)
		return
	}
	callbacks.BuildQuerySQL(db) // which leaves alone what is built already
	key := fmt.Sprintf("%s %q %q", db.Statement.ReflectValue.Type(), db.Statement.SQL.String(), db.Statement.Vars)
	if rows, ok := s.recall(key); ok {
		db.Statement.ReflectValue.Set(rows)
		db.RowsAffected = int64(rows.Len())
		return
	}
	callbacks.Query(db)
	if db.Error == nil {
		s.remember(key, db.Statement.ReflectValue)
	}
}

func small(table string) bool {
	return slices.Contains([]string{"providers", "operating_systems", "operating_system_specifier_overrides", "package_specifier_overrides"}, table)
}

func (s *smallTables) recall(key string) (reflect.Value, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows, ok := s.known[key]
	if !ok {
		return rows, false
	}
	return copyOf(rows), true
}

func (s *smallTables) remember(key string, rows reflect.Value) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxSmallAnswers {
		s.known = map[string]reflect.Value{}
	}
	s.known[key] = copyOf(rows)
}

// copyOf copies rows: the caller may sort and change its own.
func copyOf(rows reflect.Value) reflect.Value {
	out := reflect.MakeSlice(rows.Type(), rows.Len(), rows.Len())
	reflect.Copy(out, rows)
	return out
}

// exploited tells which CVEs KEV says anything about: few, and every record of
// every package is asked about.
type exploited struct {
	once sync.Once
	cves map[string]bool // nil when that cannot be told
}

func (e *exploited) mayHave(db *gorm.DB, cve string) bool {
	e.once.Do(func() {
		var all []string
		if err := db.Table("known_exploited_vulnerability_handles").Pluck("cve", &all).Error; err != nil {
			return // of an older schema; each is asked for, then
		}
		e.cves = make(map[string]bool, len(all))
		for _, c := range all {
			e.cves[strings.Map(lowerASCII, c)] = true
		}
	})
	return e.cves == nil || e.cves[strings.Map(lowerASCII, cve)]
}

// lowerASCII is how SQLite compares without regard to case (NOCASE).
func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
