package api

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// maxParameter bounds the length of a parameter, in bytes.
const maxParameter = 4096

// query reads the parameters of a request. The first thing wrong stays and is
// told by done; until then the methods return zero values.
type query struct {
	values url.Values
	asked  map[string]bool
	err    error
}

func readQuery(r *http.Request) *query {
	values, err := url.ParseQuery(r.URL.RawQuery)
	q := &query{values: values, asked: map[string]bool{}}
	if err != nil {
		q.fail("", "the query cannot be read: a percent sign must begin an escape, ; is no separator")
	}
	return q
}

func (q *query) fail(field, format string, args ...any) {
	if q.err == nil {
		q.err = errs.New(errs.Invalid, format, args...).WithField(field)
	}
}

// keep takes the error of a parser, under the name of the parameter.
func (q *query) keep(field string, err error) {
	if err != nil && q.err == nil {
		q.err = (&errs.Error{Kind: errs.Invalid, Op: "parameter " + field, Err: err, Hint: errs.Hint(err)}).WithField(field)
	}
}

// done returns what was wrong. A parameter that nobody asked for is: a filter
// with a typo would silently let everything through.
func (q *query) done() error {
	if q.err != nil {
		return q.err
	}
	for name := range q.values {
		if !q.asked[name] {
			return errs.New(errs.Invalid, "there is no parameter %.100q here", name).WithField(shortField(name)).
				WithHint("%s", q.takes())
		}
	}
	return nil
}

// takes says which parameters there are.
func (q *query) takes() string {
	if len(q.asked) == 0 {
		return "it takes none"
	}
	return "the parameters are " + strings.Join(slices.Sorted(maps.Keys(q.asked)), ", ")
}

func shortField(name string) string {
	if len(name) > 100 || !utf8.ValidString(name) {
		return ""
	}
	return name
}

// text returns a parameter, "" when it is not given.
func (q *query) text(name string) string {
	q.asked[name] = true
	given := q.values[name]
	if len(given) == 0 {
		return ""
	}
	if len(given) > 1 {
		q.fail(name, "parameter %s is given %d times", name, len(given))
		return ""
	}
	return q.clean(name, given[0])
}

// clean refuses what the database cannot hold.
func (q *query) clean(name, value string) string {
	switch {
	case len(value) > maxParameter:
		q.fail(name, "parameter %s is longer than %d bytes", name, maxParameter)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		q.fail(name, "parameter %s is not valid UTF-8 text", name)
	default:
		return value
	}
	return ""
}

// list returns a parameter that may be repeated and hold several values with
// commas between.
func (q *query) list(name string) []string {
	q.asked[name] = true
	var out []string
	for _, given := range q.values[name] {
		for part := range strings.SplitSeq(q.clean(name, given), ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}

// flag returns nil when the parameter is not given.
func (q *query) flag(name string) *bool {
	switch given := q.text(name); given {
	case "":
	case "true", "false":
		value := given == "true"
		return &value
	default:
		q.fail(name, "parameter %s is %.40q, not true or false", name, given)
	}
	return nil
}

func (q *query) page() report.Page {
	p := report.Page{Cursor: q.text("cursor")}
	given := q.text("limit")
	if given == "" {
		return p
	}
	n, err := strconv.Atoi(given)
	if err != nil || n < 1 || n > report.MaxLimit {
		q.fail("limit", "parameter limit is %.40q, not a number from 1 to %d", given, report.MaxLimit)
	}
	p.Limit = n
	return p
}

// duration returns zero when the parameter is not given.
func (q *query) duration(name string, most time.Duration) time.Duration {
	given := q.text(name)
	if given == "" {
		return 0
	}
	d, err := time.ParseDuration(given)
	if err != nil || d < 0 || d > most {
		q.fail(name, "parameter %s is %.40q, not a time up to %s such as 60s", name, given, most)
		return 0
	}
	return d
}

func (q *query) platform() image.Platform {
	given := q.text("platform")
	if given == "" {
		return image.Platform{}
	}
	p, err := image.ParsePlatform(given)
	q.keep("platform", err)
	return p
}

func (q *query) severity(name, given string) vuln.Severity {
	s, ok := vuln.ParseSeverity(given)
	if !ok {
		q.fail(name, "parameter %s: %.40q is not critical, high, medium, low, negligible or unknown", name, given)
	}
	return s
}

// numberInPath reads the id of a request for one thing, which takes no
// parameters.
func numberInPath(r *http.Request, thing string) (int64, error) {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil || id < 1 {
		return 0, errs.New(errs.Invalid, "the path does not hold the number of a %s", thing).WithField("id")
	}
	return id, readQuery(r).done()
}
