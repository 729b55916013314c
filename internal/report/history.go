package report

import "context"

// History answers questions about what changed, what was, and what to do. It is
// part of Reader, whose rules hold for it.
type History interface {
	// Events lists what became of findings, newest first. It returns NotFound for a
	// repository or registry that is not there.
	Events(ctx context.Context, access Access, filter EventFilter, page Page) (List[FindingEvent], error)
	// Trend returns NotFound for a repository or registry that is not there.
	Trend(ctx context.Context, access Access, scope TrendScope) (Trend, error)
	// Compare returns NotFound when one of the two is not known.
	Compare(ctx context.Context, access Access, from, to FindingScope) (Comparison, error)
	// Fixes lists the findings that count with what closes them. It returns NotFound
	// when no image of the scope is known.
	Fixes(ctx context.Context, access Access, scope FindingScope) (Fixes, error)
	// Export hands over the findings of the images behind live tags, one by one:
	// start is called first, then row for each. An error of theirs is returned.
	Export(ctx context.Context, access Access, filter ExportFilter, start func(ExportStart) error, row func(ExportRow) error) (ExportEnd, error)
}
