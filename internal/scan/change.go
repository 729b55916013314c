package scan

import "github.com/tidewaiter/tidewaiter/internal/vuln"

// Change is what differs between two builds.
type Change struct {
	// Everything is why every package must be judged again; empty when Names say
	// enough.
	Everything string `json:"everything,omitempty"`
	// Names are those of packages that changed advisories may concern, sorted, as
	// the matchers compare them.
	Names []string `json:"names,omitempty"`
	// Records are described otherwise and match as before.
	Records []vuln.Ref `json:"records,omitempty"`
	// Before and After are the volumes of the two databases.
	Before Volume `json:"before,omitempty"`
	After  Volume `json:"after,omitempty"`
}

// Volume counts the records of a database by what they cover:
// "distro:debian:12", "ecosystem:npm".
type Volume map[string]int
