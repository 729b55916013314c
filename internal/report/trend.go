package report

import "time"

// TrendScope says of what, and over which days, findings are counted.
type TrendScope struct {
	Registry   string         // configured name; empty for all
	Repository *RepositoryRef // nil for all
	// Since and Until are the first and the last day, UTC.
	Since, Until time.Time
}

// Bounds of a trend, in days.
const (
	DefaultTrendDays = 30
	MaxTrendDays     = 732
)

// Trend is what the live tags of a scope had at the end of each day. Counts of
// several repositories are added up: what two of them have counts twice.
type Trend struct {
	Items []TrendDay `json:"items"`
	// Complete is true when every image behind a live tag is judged, now;
	// UnjudgedImages counts those whose answer is pending, failed or partial.
	Complete       bool `json:"complete"`
	UnjudgedImages int  `json:"unjudged_images"`
}

// TrendDay is one day of a trend. The last may still go on.
type TrendDay struct {
	Day    string `json:"day"` // "2026-11-23", UTC
	Counts Counts `json:"counts"`
	// Opened counts findings that opened or came back on the day, Closed those that
	// closed.
	Opened int `json:"opened"`
	Closed int `json:"closed"`
}
