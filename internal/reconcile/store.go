package reconcile

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Store keeps runs and what they are compared with. What writes to a run or
// queues for it is refused with kind Canceled when the lease is no longer the
// run's own.
type Store interface {
	// RenewReconciliation prolongs the lease. note says what the run waits for;
	// empty when it does not wait.
	RenewReconciliation(ctx context.Context, run Run, note string) error
	// SaveReconciliation keeps position and counts.
	SaveReconciliation(ctx context.Context, run Run) error
	// FinishReconciliation ends the run: done for a nil cause, else failed.
	FinishReconciliation(ctx context.Context, run Run, cause error) error
	// ReleaseReconciliation gives the run back to whoever goes on with it.
	ReleaseReconciliation(ctx context.Context, run Run) error
	// SaveProblem keeps a problem, unless the run has very many.
	SaveProblem(ctx context.Context, run Run, p Problem) error

	// LookAt notes that the run looks at a repository, and which rule leaves it
	// out as a whole; one that is left out becomes known by that.
	LookAt(ctx context.Context, run Run, repository, rule string) (Repository, error)
	// KnownTags returns what is known of those tags of which something is.
	KnownTags(ctx context.Context, repositoryID int64, tags []string) (map[string]Known, error)
	// Seen notes that tags were listed since the run began, and that manifests,
	// with those an index holds, are there.
	Seen(ctx context.Context, run Run, repositoryID int64, tags []string, manifests []image.Digest) error
	// UnseenTags returns the tags of the repository that were not seen since the
	// run began and for which no scan waits or runs, by name.
	UnseenTags(ctx context.Context, run Run, repositoryID int64) (map[string]Known, error)
	// Untagged returns up to limit of the manifests behind after, by id, that are
	// present with neither a tag nor an index that holds them and were not seen
	// since the run began.
	Untagged(ctx context.Context, run Run, repositoryID, after int64, limit int) ([]Manifest, error)
	// Unresolved returns up to limit of the targets behind after, by id, whose
	// newest scan failed before the run began and did not find out what they are.
	Unresolved(ctx context.Context, run Run, repositoryID, after int64, limit int) ([]Unresolved, error)
	// Standing returns the tags and untagged manifests of the repository that are
	// not recorded as left out by the rule.
	Standing(ctx context.Context, repositoryID int64, rule string) ([]Target, error)
	// Unlisted returns up to limit names behind after of repositories that were
	// known when the run began, hold something, and were not looked at in it to the end.
	Unlisted(ctx context.Context, run Run, after string, limit int) ([]string, error)

	// Waiting counts the scans that runs queued for the registry and nobody took
	// yet.
	Waiting(ctx context.Context, run Run) (int, error)
	// QueueTargets queues a scan for each target for which none waits, at low
	// priority, and returns those.
	QueueTargets(ctx context.Context, run Run, repository string, targets []Target) ([]Target, error)
}
