package report

import "time"

// Registry is a configured registry.
type Registry struct {
	Name         string    `json:"name"`
	Host         string    `json:"host"`
	Repositories int       `json:"repositories"` // as far as the reader sees
	CreatedAt    time.Time `json:"created_at"`
}

// RepositoryFilter narrows a listing of repositories; empty fields match all.
type RepositoryFilter struct {
	Registry string // configured name
	Prefix   string // of "host/name"
}

// Repository is a repository with what its live tags amount to.
type Repository struct {
	Registry   string     `json:"registry"`   // the configured name
	Repository string     `json:"repository"` // "host/name"
	LastPushAt *time.Time `json:"last_push_at"`
	Tags       int        `json:"tags"`
	Images     Images     `json:"images"`
	Scans      ScanCounts `json:"scans"`
	// LastScan is the newest scan of anything in the repository; nil when there
	// was none.
	LastScan *ScanState `json:"last_scan"`
	Assessment
	// Stale is true while the counts are still those of the build before; they
	// follow within minutes of a switch.
	Stale bool `json:"stale"`
}

// Images counts the distinct images behind live tags by state.
type Images struct {
	Total    int `json:"total"`
	Done     int `json:"done"`
	Pending  int `json:"pending"` // queued or running
	Failed   int `json:"failed"`  // failed, canceled, too large or unsupported
	Complete int `json:"complete"`
}

// ScanCounts counts the scans of a repository that somebody has to know of.
type ScanCounts struct {
	Queued  int `json:"queued"`
	Running int `json:"running"`
	// Failed counts the tags, and digests without a tag, whose newest scan
	// failed. One that never succeeded is in no other count: nobody knows its
	// image.
	Failed int `json:"failed"`
}

// Summarise gives the repository the assessment its images amount to. counts is
// nil when nothing was judged; covered tells whether the build has data for
// anything in the images that are not complete.
func (r *Repository) Summarise(counts *Counts, noData []string, covered bool) {
	a := Assessment{Answer: None, NoData: sorted(noData), Counts: counts}
	a.Complete = r.Images.Total > 0 && r.Images.Complete == r.Images.Total && counts != nil
	switch {
	case r.Images.Pending > 0:
		a.Answer = Pending
	case a.Complete && counts.Total > 0:
		a.Answer = Findings
	case a.Complete:
		a.Answer = Clean
	case counts != nil && (counts.Total > 0 || r.Images.Complete > 0 || covered):
		a.Answer = Partial
	case counts != nil && r.Images.Done > 0:
		a.Answer = Unknown
	}
	r.Assessment = a
}
