package scan

// BuildReport is what a candidate would change, for a person or a threshold to
// judge.
type BuildReport struct {
	// Everything is why all packages were judged; empty when by change.
	Everything string `json:"everything,omitempty"`
	Names      int    `json:"names"`    // names of packages whose advisories changed
	Records    int    `json:"records"`  // records that are described otherwise
	Packages   int    `json:"packages"` // packages the candidate judged
	// Before and After are the volumes of the two databases, if known.
	Before Volume `json:"before,omitempty"`
	After  Volume `json:"after,omitempty"`
	// Matches are counted by what covers them, as in Volume; of language packages
	// by the type of the package.
	Matches map[string]MatchChange `json:"matches"`
}

// MatchChange counts pairs of a package and a record: each once, whatever images
// hold the package.
type MatchChange struct {
	Before int `json:"before"` // open under the active build
	Closed int `json:"closed"` // of those, not open under the candidate
	Opened int `json:"opened"` // open under the candidate only
}
