package report

import "time"

// Version says what answers: the program and what it stands on.
type Version struct {
	Version  string     `json:"version"`            // "v1.2.3", or "devel"
	Revision string     `json:"revision,omitempty"` // commit
	Time     *time.Time `json:"time,omitempty"`     // of the commit
	Go       string     `json:"go"`
	// Engine judges, Cataloger lists what is inside of images: a name and a version
	// each.
	Engine    ToolVersion `json:"engine"`
	Cataloger ToolVersion `json:"cataloger"`
	// Schema is the number of the newest migration that Postgres has.
	Schema int64 `json:"schema"`
	// Build is the vulnerability database in force; nil before the first.
	Build *Build `json:"build"`
}

// ToolVersion names a library and its version.
type ToolVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}
