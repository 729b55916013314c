// Package reconcile finds what was pushed to a registry, or deleted from it,
// while nobody told us: it compares what a registry lists with what is known
// and queues a scan for every difference.
//
// It is responsible for the order of a run, for what counts as a difference, for
// pauses and retries, and for what is kept so that a run goes on where it was
// cut off. It names the registry and the store as small interfaces. It must not
// pull anything, and must not decide that something is gone: it queues the
// question, and the scan asks the registry.
package reconcile
