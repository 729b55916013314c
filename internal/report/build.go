package report

import "time"

// Build names the vulnerability database an answer was taken from.
type Build struct {
	Checksum      string    `json:"checksum"`
	SchemaVersion string    `json:"schema_version"`
	Engine        string    `json:"engine"`
	EngineVersion string    `json:"engine_version"`
	Built         time.Time `json:"built"`
	// AgeSeconds is the time since it was built.
	AgeSeconds int64 `json:"age_seconds"`
	// Sample marks the database made from the advisory facts of the source
	// tree; it is never good for real decisions.
	Sample bool `json:"sample"`
}

// BuildState is a build with its life.
type BuildState struct {
	Build
	State       string     `json:"state"` // candidate, active, held or retired
	Source      string     `json:"source,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	ActivatedAt *time.Time `json:"activated_at,omitempty"`
	RetiredAt   *time.Time `json:"retired_at,omitempty"`
}

// Builds are the database builds: the active one, nil before the first, and the
// newest of all, newest first.
type Builds struct {
	Active *BuildState  `json:"active"`
	Recent []BuildState `json:"recent"`
}
