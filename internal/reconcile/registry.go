package reconcile

import (
	"context"

	"github.com/tidewaiter/tidewaiter/internal/image"
)

// Registry tells what the configured registries hold. Cursors are the
// implementation's own: they are kept in the database and handed back, also by
// another process. Errors of all methods have the kinds Unauthorized, Forbidden,
// NotFound, RateLimited (with RetryAfter), Unavailable, Timeout, Unsupported,
// TooLarge or Malformed.
type Registry interface {
	// Repositories returns one page of the names a registry lists, in its order,
	// after the cursor; empty for the first page. next is empty at the end. The
	// error is of kind Unsupported when the registry offers no list.
	Repositories(ctx context.Context, registry, cursor string) (names []string, next string, err error)
	// Tags returns one page of the tags of a repository, in the registry's order.
	// The error is of kind NotFound when there is no such repository.
	Tags(ctx context.Context, registry, repository, cursor string) (tags []string, next string, err error)
	// Head asks, without a body, which manifest a reference points to: a tag's, or
	// whether a digest is there. The error is of kind NotFound when it is not. It
	// may be called concurrently.
	Head(ctx context.Context, ref image.Reference) (Head, error)
}

// Head is what a registry says of a manifest without sending it.
type Head struct {
	Digest    image.Digest
	MediaType string // empty when the registry does not say
	Size      int64  // in bytes; 0 when the registry does not say
}
