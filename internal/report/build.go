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
	State string `json:"state"` // candidate, active, held or retired
	// Reason says why a build is held; of a retired one that was never in force
	// "replaced" or "discarded", of one that was, "replaced".
	Reason      string     `json:"reason,omitempty"`
	Source      string     `json:"source,omitempty"`
	CreatedAt   time.Time  `json:"created_at"`
	HeldAt      *time.Time `json:"held_at,omitempty"`
	ReleasedAt  *time.Time `json:"released_at,omitempty"` // when a person let it go on
	ActivatedAt *time.Time `json:"activated_at,omitempty"`
	RetiredAt   *time.Time `json:"retired_at,omitempty"`
	// Shared is set while Postgres keeps the database for processes that lack it.
	Shared bool `json:"shared"`
	// Progress is that of a candidate.
	Progress *BuildProgress `json:"progress,omitempty"`
	// Changes are against the build that was in force; nil before they are known.
	Changes *BuildChanges `json:"changes,omitempty"`
}

// BuildProgress says how far a candidate is.
type BuildProgress struct {
	Phase    string `json:"phase"`    // waiting, judging or counting
	Judged   int64  `json:"judged"`   // packages
	Packages int64  `json:"packages"` // that are to be judged
	Percent  int    `json:"percent"`
}

// BuildChanges are what a build changes against the one that was in force before
// it.
type BuildChanges struct {
	// Everything says why every package was judged again; empty when only those
	// were that changed advisories may concern.
	Everything string       `json:"everything,omitempty"`
	Names      int          `json:"names"`    // names of packages with changed advisories
	Records    int          `json:"records"`  // described otherwise
	Packages   int          `json:"packages"` // judged
	Matches    MatchChange  `json:"matches"`
	Scopes     []BuildScope `json:"scopes,omitempty"` // of one build asked for alone, by name
}

// MatchChange counts matches of packages, each once whatever images hold it.
type MatchChange struct {
	Before int `json:"before"`
	Closed int `json:"closed"`
	Opened int `json:"opened"`
}

// BuildScope is what changes for one distro or ecosystem.
type BuildScope struct {
	Scope   string       `json:"scope"` // as "distro:debian:12" or "ecosystem:npm"
	Matches MatchChange  `json:"matches"`
	Records RecordChange `json:"records"`
}

// RecordChange counts what two databases know about a distro or ecosystem.
type RecordChange struct {
	Before int `json:"before"`
	After  int `json:"after"`
}

// BuildCheck is the last look for a newer database, on schedule or because
// somebody asked. It waits when RequestedAt is after StartedAt, and is under way
// when StartedAt is after EndedAt.
type BuildCheck struct {
	RequestedAt *time.Time `json:"requested_at,omitempty"`
	StartedAt   *time.Time `json:"started_at,omitempty"`
	EndedAt     *time.Time `json:"ended_at,omitempty"`
	Outcome     string     `json:"outcome,omitempty"` // unchanged, fetched or failed
	Detail      string     `json:"detail,omitempty"`  // the checksum, or what failed
}

// Over reports whether nothing that was asked for is open.
func (c BuildCheck) Over() bool {
	if c.RequestedAt == nil {
		return true
	}
	return c.StartedAt != nil && c.EndedAt != nil && !c.StartedAt.Before(*c.RequestedAt) && !c.EndedAt.Before(*c.StartedAt)
}

// Builds are the database builds: the active one, nil before the first, and the
// newest of all, newest first.
type Builds struct {
	Active *BuildState  `json:"active"`
	Recent []BuildState `json:"recent"`
	// Alarm is set when the active build is older than the configuration allows.
	Alarm bool       `json:"alarm"`
	Check BuildCheck `json:"check"`
}
