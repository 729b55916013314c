// Package match judges packages with grype.
//
// It is responsible for turning an SBOM into an inventory, for judging distinct
// packages exactly as the grype CLI would at its defaults, for describing
// vulnerabilities, for saying what the database has no data about, and for
// writing reports of one image. It holds a database open across scans and swaps
// it without cutting a session. Besides match/vulndb it is the only package
// that may import grype. It must not fetch databases (vulndb does), catalogue
// images or know the store.
package match

import (
	"context"
	"runtime"
	"sync"

	"github.com/tidewaiter/tidewaiter/internal/errs"
	"github.com/tidewaiter/tidewaiter/internal/inventory"
	"github.com/tidewaiter/tidewaiter/internal/match/vulndb"
	"github.com/tidewaiter/tidewaiter/internal/sbom"
	"github.com/tidewaiter/tidewaiter/internal/scan"
	"github.com/tidewaiter/tidewaiter/internal/vuln"
)

var _ scan.Matcher = (*Engine)(nil)

// Options adjust an Engine. The zero value is good.
type Options struct {
	// Parallel is how many packages one session judges at once; zero means as
	// many as there are processors.
	Parallel int
}

// Engine holds the vulnerability database that sessions judge with. It is safe
// for concurrent use.
type Engine struct {
	parallel int
	matchers matcherIndex
	names    cpeNames

	mu      sync.Mutex
	current *database
}

// NewEngine returns an engine without a database; see Use.
func NewEngine(o Options) *Engine {
	if o.Parallel <= 0 {
		o.Parallel = runtime.GOMAXPROCS(0)
	}
	return &Engine{parallel: o.Parallel, matchers: newMatcherIndex()}
}

// Use opens a database and makes it the one for new sessions. Sessions that run
// keep theirs; it is closed when the last of them is. The error is of kind
// Malformed when the database cannot be opened; the engine then keeps what it
// had.
func (e *Engine) Use(ctx context.Context, in vulndb.Installed) error {
	if err := ctx.Err(); err != nil {
		return errs.Op("match: use database", err)
	}
	db, err := openDatabase(in)
	if err != nil {
		return err
	}
	e.swap(db)
	return nil
}

func (e *Engine) swap(db *database) {
	e.mu.Lock()
	old := e.current
	e.current = db
	e.mu.Unlock()
	if old != nil {
		old.release()
	}
}

// Current returns the build that new sessions use; ok is false when there is
// none.
func (e *Engine) Current() (build vuln.Build, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return vuln.Build{}, false
	}
	return e.current.build, true
}

// Open pins the present database (scan.Matcher).
func (e *Engine) Open(ctx context.Context) (scan.Session, error) {
	s, err := e.Pin(ctx)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Pin is Open for those who want reports of the session, too.
func (e *Engine) Pin(ctx context.Context) (*Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, errs.Op("match: open session", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.current == nil {
		return nil, errs.New(errs.Unavailable, "match: there is no vulnerability database yet").
			WithHint("run `tidewaiter vulndb update`, or `tidewaiter vulndb import FILE` where there is no network")
	}
	e.current.retain()
	return newSession(e.current, e.matchers, e.parallel), nil
}

// Inventory reads what there is to match from an SBOM (scan.Matcher); see
// TakeInventory. A document whose Value is an inventory brings its own: another
// process took it.
func (e *Engine) Inventory(ctx context.Context, doc sbom.Document) (*inventory.Inventory, error) {
	if taken, ok := doc.Value.(*inventory.Inventory); ok {
		return taken, nil
	}
	return takeInventory(ctx, doc, &e.names)
}

// Close lets go of the database. Sessions that run are not cut.
func (e *Engine) Close() error {
	e.swap(nil)
	return nil
}
