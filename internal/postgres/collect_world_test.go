package postgres_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/image"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/postgres"
	"github.com/tidewaiter/tidewaiter/internal/report"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

// randomWorld does what registries do to Tidewaiter, at random: images that share
// packages and inventories come under tags, in indexes and without a tag, are
// catalogued anew, lose their tags and go; builds follow each other.
type randomWorld struct {
	*fixture
	rand   *rand.Rand
	build  vuln.Build
	number int // of the build
	images int
	known  []string // images that were scanned, by name
	tags   map[string]bool
}

func newRandomWorld(t *testing.T, seed uint64) *randomWorld {
	return &randomWorld{fixture: newFixture(t), rand: rand.New(rand.NewPCG(seed, 1)), build: build1, tags: map[string]bool{}}
}

// matches is what the build says of each package.
func (w *randomWorld) matches() map[string][]vuln.Match {
	out := map[string][]vuln.Match{}
	for p := range 40 {
		name := fmt.Sprint("p", p)
		if (p+w.number)%4 != 0 {
			out[name] = append(out[name], finding(fmt.Sprint("CVE-", p/2)))
		}
		if p%7 == 0 {
			out[name] = append(out[name], finding(fmt.Sprint("CVE-", w.number, "-", p)))
		}
	}
	for n, name := range w.known {
		out["only-"+name] = []vuln.Match{finding(fmt.Sprint("CVE-only-", n))}
	}
	return out
}

// answer is of one of some sets of packages.
func (w *randomWorld) answer(name string, set int) scan.Answer {
	var packages []inventory.Package
	for p := range 40 {
		if (p*7+set)%9 == 0 || p == set%40 {
			packages = append(packages, npm(fmt.Sprint("p", p), fmt.Sprint(1+set/13)))
		}
	}
	if set%4 == 0 {
		packages = append(packages, npm("only-"+name, "1"))
	}
	a := answer(name, w.matches(), packages...)
	a.Build = w.build
	return a
}

func (w *randomWorld) repository() string { return fmt.Sprint("team/app", w.rand.IntN(3)) }
func (w *randomWorld) tag() string        { return fmt.Sprint("v", w.rand.IntN(6)) }

// image names a new image or one that was there before.
func (w *randomWorld) image() string {
	if len(w.known) > 0 && w.rand.IntN(4) == 0 {
		return w.known[w.rand.IntN(len(w.known))]
	}
	w.images++
	w.known = append(w.known, fmt.Sprint("image", w.images))
	return w.known[len(w.known)-1]
}

// begin takes the scan of an event.
func (w *randomWorld) begin(action, repository, tag string, digest image.Digest) scan.Job {
	_, err := w.store.Accept(w.t.Context(), "prod", []postgres.Delivery{{
		DedupeKey: fmt.Sprint(w.rand.Uint64()), Action: action, Repository: repository, Tag: tag, Digest: digest,
	}}, noPermits)
	w.ok(err)
	if tag != "" {
		w.tags[repository+":"+tag] = true
	}
	return w.claim()
}

// store puts images under a root, as a scan does.
func (w *randomWorld) put(job scan.Job, root scan.Manifest, images ...string) {
	w.ok(w.store.SaveManifest(w.t.Context(), job, root))
	for _, name := range images {
		w.ok(w.store.Reserve(w.t.Context(), job, digestOf(name)))
		if w.rand.IntN(12) == 0 {
			w.ok(w.store.SaveFailure(w.t.Context(), job, digestOf(name), fmt.Errorf("cannot be read")))
			continue
		}
		w.ok(w.store.SaveAnswer(w.t.Context(), job, w.answer(name, w.rand.IntN(26))))
	}
	w.end(job, root.Digest)
}

func (w *randomWorld) end(job scan.Job, digest image.Digest) {
	w.ok(w.store.SaveFindings(w.t.Context(), job))
	w.ok(w.store.FinishScan(w.t.Context(), job, scan.Result{Digest: digest}, nil))
}

// happen is one thing that happens.
func (w *randomWorld) happen() {
	switch n := w.rand.IntN(20); {
	case n < 9:
		name := w.image()
		w.put(w.begin("push", w.repository(), w.tag(), ""), imageManifest(name), name)
	case n < 12:
		a, b := w.image(), w.image()
		if a == b {
			return
		}
		root := scan.Manifest{Digest: digestOf("index " + a + b), Kind: image.KindIndex, MediaType: image.MediaTypeOCIIndex,
			Children: []scan.Manifest{imageManifest(a), imageManifest(b)}}
		tag := w.tag()
		if n == 11 {
			tag = ""
		}
		w.put(w.begin("push", w.repository(), tag, root.Digest), root, a, b)
	case n < 14:
		name := w.image()
		w.put(w.begin("push", w.repository(), "", digestOf(name)), imageManifest(name), name)
	case n < 18 && len(w.known) > 0:
		tag, digest := w.tag(), image.Digest("")
		if n == 17 {
			tag, digest = "", digestOf(w.known[w.rand.IntN(len(w.known))])
		}
		job := w.begin("delete", w.repository(), tag, digest)
		w.ok(w.store.SaveGone(w.t.Context(), job))
		w.end(job, "")
	case n == 18:
		digest := image.Digest(fmt.Sprint("sha256:", strings.Repeat("0", 56), fmt.Sprintf("%08d", w.rand.IntN(1e8))))
		_, err := w.store.SaveUpload(w.t.Context(), "sboms", "ci", w.tag(), digest, []byte(`{}`), noPermits)
		w.ok(err)
		w.put(w.claim(), scan.Manifest{Digest: digest, Kind: image.KindSBOM})
	case n == 19:
		w.number++
		w.build.Checksum = fmt.Sprint("sha256:build", w.number)
		_, err := (&scan.Rejudger{Store: w.store}).Rejudge(w.t.Context(), judge{build: w.build, matches: w.matches()})
		w.ok(err)
	}
}

// age makes everything there is older.
func (w *randomWorld) age(d time.Duration) { w.fixture.age(d) }

// age makes everything there is in the database older.
func (f *fixture) age(d time.Duration) {
	f.t.Helper()
	found, err := f.pool.Query(f.t.Context(), `
		SELECT c.table_name, string_agg(format('%1$I = %1$I - make_interval(secs => $1)', c.column_name), ', ')
		  FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
		 WHERE c.table_schema = 'public' AND c.data_type LIKE 'timestamp%' AND t.table_type = 'BASE TABLE'
		   AND c.table_name !~ '^(river|goose|finding_event_)' GROUP BY 1`)
	f.ok(err)
	updates := []string{}
	for found.Next() {
		var table, set string
		f.ok(found.Scan(&table, &set))
		updates = append(updates, `UPDATE `+table+` SET `+set)
	}
	f.ok(found.Err())
	for _, update := range updates {
		f.exec(update, d.Seconds())
	}
}

// answers is what readers are told of every tag there ever was, now and at moments
// of the past, without what changes by itself.
func (w *randomWorld) answers(moments []time.Time) map[string]string {
	out := map[string]string{}
	for at := range w.tags {
		repository, tag, _ := strings.Cut(at, ":")
		target := report.Target{RepositoryRef: report.RepositoryRef{Registry: "prod", Name: repository}, Tag: tag}
		img, err := w.store.Image(w.t.Context(), all, target)
		out[at] = told(img, err)
		if err == nil && img.Presence != "" {
			found, err := w.store.Findings(w.t.Context(), all, report.FindingScope{Target: target}, report.FindingFilter{}, report.Page{Limit: report.MaxLimit})
			out[at+" findings"] = told(found, err)
			doc, err := w.store.SBOM(w.t.Context(), all, target, image.Platform{})
			out[at+" sbom"] = told(doc, err)
		}
		for _, moment := range moments {
			past, err := w.store.Findings(w.t.Context(), all, report.FindingScope{Target: target, AsOf: moment}, report.FindingFilter{}, report.Page{Limit: report.MaxLimit})
			for i := range past.Items {
				past.Items[i].Locations, past.Items[i].LocationsTotal = nil, 0 // of an SBOM that may have gone
			}
			out[at+" "+moment.Format(time.RFC3339)] = told(past, err)
		}
	}
	return out
}

var ages = regexp.MustCompile(`"age_seconds":\d+`)

// told is an answer as text, or the kind of the error: a tag that stood for
// nothing may have been deleted or not been seen.
func told(answer any, err error) string {
	if err != nil {
		return string(errs.KindOf(err))
	}
	text, err := json.Marshal(answer)
	return ages.ReplaceAllString(string(text), "") + fmt.Sprint(err)
}

// left are the rows of a table, as text.
func (f *fixture) left(query string) []string {
	f.t.Helper()
	found, err := f.pool.Query(f.t.Context(), query)
	f.ok(err)
	out := []string{}
	for found.Next() {
		var row string
		f.ok(found.Scan(&row))
		out = append(out, row)
	}
	f.ok(found.Err())
	slices.Sort(out)
	return out
}
