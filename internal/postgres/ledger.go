package postgres

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tidewaiter/tidewaiter/internal/report"
)

// Coverage tells what is known and what became of it, registry by registry. The
// error is of kind NotFound when the filter names a registry that the reader does
// not see.
func (s *Store) Coverage(ctx context.Context, access report.Access, filter report.CoverageFilter) (report.Coverage, error) {
	made, err := s.ledgers(ctx, access)
	if err != nil {
		return report.Coverage{}, err
	}
	out := report.Coverage{AsOf: made.at.UTC(), WindowSeconds: int64(filter.Window.Seconds()), Items: []report.RegistryCoverage{}}
	var manifests, targets []report.LedgerEntry
	unread := 0
	for _, g := range made.registries {
		if filter.Registry == "" || g.name == filter.Registry {
			out.Items = append(out.Items, g.report())
			manifests, targets, unread = append(manifests, g.manifests...), append(targets, g.targets...), unread+g.unread
		}
	}
	if filter.Registry != "" && len(out.Items) == 0 {
		return out, noRegistry(filter.Registry)
	}
	out.Total = report.Tally(manifests, targets).WithUnread(unread)
	if !access.Limited() {
		err = s.addEndpoints(ctx, filter, &out)
	}
	return out, err
}

// ledgers are those of every registry a reader sees, as they were at one moment.
type ledgers struct {
	at         time.Time
	took       time.Duration
	registries []*registryLedger
}

// size counts what they count.
func (l ledgers) size() (n int) {
	for _, g := range l.registries {
		for _, e := range append(slices.Clone(g.manifests), g.targets...) {
			n += e.Count
		}
	}
	return n
}

// registryLedger is what a registry holds, as entries.
type registryLedger struct {
	id                     int64
	name, host             string
	repositories, excluded int
	manifests, targets     []report.LedgerEntry
	oldest, reconciled     *time.Time
	unread                 int // by the reconciliation that finished then
}

func (g *registryLedger) report() report.RegistryCoverage {
	return report.RegistryCoverage{
		Registry: g.name, Host: g.host, Repositories: g.repositories, RepositoriesExcluded: g.excluded,
		Ledger: report.Tally(g.manifests, g.targets).WithUnread(g.unread), OldestAnswerAt: utc(g.oldest), ReconciledAt: utc(g.reconciled),
	}
}

// ledgerCache keeps ledgers that take long to make. Counting grows with all that
// is known: up to freshLedger it is done for every answer, beyond an answer is
// kept for a hundred times the time it took, so that readers cannot keep the
// database busy with it.
type ledgerCache struct {
	making chan struct{} // one at a time; a second reader finds what the first made
	mu     sync.Mutex
	kept   map[string]ledgers // by the prefixes of the reader
}

func newLedgerCache() *ledgerCache {
	return &ledgerCache{making: make(chan struct{}, 1), kept: map[string]ledgers{}}
}

// clear forgets the ledgers of this process; others have theirs a little longer.
func (c *ledgerCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.kept)
}

const (
	freshLedger = 100_000 // manifests and targets; about a tenth of a second
	// keptLedger is a little more than the minute after which they are made anew
	// for the metrics: on a large installation no reader waits.
	keptLedger = 70 * time.Second
	maxLedgers = 32 // of readers with different prefixes
)

func (c *ledgerCache) find(key string, now time.Time) (ledgers, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.kept[key]
	return found, ok && now.Sub(found.at) < min(100*found.took, keptLedger)
}

func (c *ledgerCache) keep(key string, made ledgers) {
	if made.size() <= freshLedger {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kept) >= maxLedgers {
		clear(c.kept)
	}
	c.kept[key] = made
}

// ledgers returns those a reader sees, kept ones where that will do.
func (s *Store) ledgers(ctx context.Context, access report.Access) (ledgers, error) {
	key := strings.Join(access.Prefixes, "\n")
	if found, ok := s.ledger.find(key, time.Now()); ok {
		return found, nil
	}
	select {
	case s.ledger.making <- struct{}{}:
		defer func() { <-s.ledger.making }()
	case <-ctx.Done():
		return ledgers{}, wrap("wait for the ledger", ctx.Err())
	}
	if found, ok := s.ledger.find(key, time.Now()); ok {
		return found, nil
	}
	made, err := s.makeLedgers(ctx, access)
	if err == nil {
		s.ledger.keep(key, made)
	}
	return made, err
}

// RefreshLedgers makes the ledgers of unlimited readers anew and returns them,
// without what concerns endpoints.
func (s *Store) RefreshLedgers(ctx context.Context) ([]report.RegistryCoverage, error) {
	made, err := s.makeLedgers(ctx, report.Access{})
	if err != nil {
		return nil, err
	}
	s.ledger.keep("", made)
	out := make([]report.RegistryCoverage, len(made.registries))
	for i, g := range made.registries {
		out[i] = g.report()
	}
	return out, nil
}

func (s *Store) makeLedgers(ctx context.Context, access report.Access) (ledgers, error) {
	made := ledgers{at: time.Now()}
	args := pgx.NamedArgs{"prefixes": prefixes(access)}
	err := s.read(ctx, "make the ledger", func(at snapshot) error {
		var err error
		if args["ids"], err = seenRepositories(ctx, at, access); err != nil {
			return err
		}
		if made.registries, err = ledgerRegistries(ctx, at, args); err != nil {
			return err
		}
		for _, part := range []func(context.Context, snapshot, pgx.NamedArgs, map[int64]*registryLedger) error{
			countManifests, countTargets, findOldest,
		} {
			if err := part(ctx, at, args, made.byID()); err != nil {
				return err
			}
		}
		return nil
	})
	made.took = time.Since(made.at)
	return made, err
}

func (l ledgers) byID() map[int64]*registryLedger {
	out := make(map[int64]*registryLedger, len(l.registries))
	for _, g := range l.registries {
		out[g.id] = g
	}
	return out
}
