package report

import "time"

// ForgetOptions say how to forget.
type ForgetOptions struct {
	// DryRun counts what would go, and changes nothing.
	DryRun bool
	// Budget is how long it may take before it stops in between, to be gone on with;
	// zero for as long as it takes.
	Budget time.Duration
	// Keep leaves the row of a registry, because the configuration has it.
	Keep bool
	// By is who asked, for the audit log. Action, Object and Detail are filled in.
	By Change
}

// Forgotten says what went, or would go, of a repository or a registry.
type Forgotten struct {
	Registry string `json:"registry"` // the configured name
	// Repository is "host/name"; empty when a registry is forgotten.
	Repository string `json:"repository,omitempty"`
	DryRun     bool   `json:"dry_run"`
	// Done is false when something is left: asking again goes on.
	Done bool `json:"done"`
	// Configured is set while the configuration has the registry: what it still holds
	// comes back with the next push or reconciliation.
	Configured bool `json:"configured"`
	// Note says that in words; empty otherwise.
	Note   string          `json:"note,omitempty"`
	Counts ForgottenCounts `json:"counts"`
}

// ForgottenCounts counts what went; of a request that did not come to the end, what
// it got to.
type ForgottenCounts struct {
	Repositories int64 `json:"repositories"`
	Tags         int64 `json:"tags"`
	// Manifests are those that a repository had. What they hold stays for as long as
	// another repository has them; Shared counts those.
	Manifests int64 `json:"manifests"`
	Shared    int64 `json:"shared"`
	Findings  int64 `json:"findings"` // open and closed
	Events    int64 `json:"events"`
	Moves     int64 `json:"moves"` // of tags, in their history
	Scans     int64 `json:"scans"`
	// Canceled is the part of Scans that waited or ran.
	Canceled int64 `json:"canceled"`
	// Deliveries of webhooks lose the names in them; with a registry they go.
	Deliveries int64 `json:"deliveries"`
}

// Add adds the counts of others.
func (c *ForgottenCounts) Add(o ForgottenCounts) {
	c.Repositories += o.Repositories
	c.Tags += o.Tags
	c.Manifests += o.Manifests
	c.Shared += o.Shared
	c.Findings += o.Findings
	c.Events += o.Events
	c.Moves += o.Moves
	c.Scans += o.Scans
	c.Canceled += o.Canceled
	c.Deliveries += o.Deliveries
}
