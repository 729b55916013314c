package report

import (
	"encoding/json"
	"time"

	"github.com/tidewaiter/tidewaiter/internal/errs"
)

// NewsRule says which finding events somebody wants to be told of; all that it
// says has to hold.
type NewsRule struct {
	Name         string
	Registries   []string // configured names; empty for all
	Repositories []string // globs without the host, as scan.Glob has them; empty for all
	// Tags are globs of which one has to match the tag that was pushed or, where a
	// database build is the cause, one of the tags that hold the finding. Empty for
	// all, and images without a tag.
	Tags           []string
	SeverityRank   int      // the least, as vuln.Severity.Rank has it
	Fixable        bool     // only what has a fix
	KnownExploited bool     // only what is known to be exploited
	Kinds          []string // of events: opened, reopened, escalated, fix_available, closed; empty for none
	Causes         []string // push, request, upload, reconcile, delete, build, exception; empty for none
}

// NewsKind says what a message is about.
type NewsKind string

// The kinds of messages.
const (
	NewsPush    NewsKind = "push"          // what one scan of one image brought
	NewsGrouped NewsKind = "vulnerability" // one vulnerability in one package, wherever it is
	NewsDigest  NewsKind = "digest"        // several of these
	NewsTest    NewsKind = "test"          // nothing; somebody tries a channel
)

// News is a message: what is told through every channel.
type News struct {
	Kind  NewsKind `json:"kind"`
	Rule  string   `json:"rule"`
	Title string   `json:"title"` // one line; holds names that others chose
	// Since and Until are when the first and the last of the events were seen.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Counts are of everything, also of what is not listed.
	Counts NewsCounts `json:"counts"`
	// Groups are one, or of a digest the worst.
	Groups     []NewsGroup `json:"groups"`
	GroupCount int         `json:"group_count"` // all
	// Truncated says that Groups, or a list within, leaves something out.
	Truncated bool `json:"truncated"`
	// Sample says that the findings come from the sample database.
	Sample bool   `json:"sample,omitempty"`
	Link   string `json:"link,omitempty"` // where to read on
}

// NewsCounts counts findings: one is a vulnerability in a package of a repository.
type NewsCounts struct {
	Findings       int            `json:"findings"`
	Repositories   int            `json:"repositories"`
	Severities     map[string]int `json:"severities"` // by name, those that occur
	Kinds          map[string]int `json:"kinds"`      // by kind of event, those that occur
	Fixable        int            `json:"fixable"`
	KnownExploited int            `json:"known_exploited"`
}

// Add sums up. Repositories of two groups may be the same, so the sum is at most.
func (c *NewsCounts) Add(o NewsCounts) {
	if c.Severities == nil {
		c.Severities, c.Kinds = map[string]int{}, map[string]int{}
	}
	c.Findings += o.Findings
	c.Repositories += o.Repositories
	c.Fixable += o.Fixable
	c.KnownExploited += o.KnownExploited
	for name, n := range o.Severities {
		c.Severities[name] += n
	}
	for name, n := range o.Kinds {
		c.Kinds[name] += n
	}
}

// NewsGroup is what has one cause: the scan of an image, or what a database build
// says of one vulnerability in one package.
type NewsGroup struct {
	Cause          string             `json:"cause"`
	Severity       string             `json:"severity"` // the worst
	Fixable        bool               `json:"fixable"`
	KnownExploited bool               `json:"known_exploited"`
	Counts         NewsCounts         `json:"counts"`
	Image          *NewsImage         `json:"image,omitempty"`
	Vulnerability  *NewsVulnerability `json:"vulnerability,omitempty"`
	Reach          *NewsReach         `json:"reach,omitempty"`
	Link           string             `json:"link,omitempty"`
}

// NewsImage is an image that was scanned, with what is new in its repository.
type NewsImage struct {
	Repository string        `json:"repository"` // "host/name"
	Tag        string        `json:"tag,omitempty"`
	Digest     string        `json:"digest,omitempty"`
	ScanID     int64         `json:"scan_id"`
	Findings   []NewsFinding `json:"findings"` // the worst
	Truncated  bool          `json:"truncated"`
}

// NewsFinding is a vulnerability in a package of an image.
type NewsFinding struct {
	Vulnerability  string `json:"vulnerability"`
	PackageType    string `json:"package_type"`
	Package        string `json:"package"`
	Version        string `json:"version,omitempty"`
	FixVersion     string `json:"fix_version,omitempty"`
	Severity       string `json:"severity"`
	Event          string `json:"event"`
	Fixable        bool   `json:"fixable"`
	KnownExploited bool   `json:"known_exploited"`
}

// NewsVulnerability is a vulnerability in a package, with what is known of both.
type NewsVulnerability struct {
	ID          string   `json:"id"`
	PackageType string   `json:"package_type"`
	Package     string   `json:"package"`
	Versions    []string `json:"versions,omitempty"` // of the package in the images, some
	FixVersion  string   `json:"fix_version,omitempty"`
	Description string   `json:"description,omitempty"` // its beginning
	Advisory    string   `json:"advisory,omitempty"`    // https address
	EPSS        *float64 `json:"epss,omitempty"`
}

// NewsReach is how far a vulnerability reaches now.
type NewsReach struct {
	Repositories int         `json:"repositories"`
	Images       int         `json:"images"`
	Tags         int         `json:"tags"`
	Examples     []NewsPlace `json:"examples"` // the repositories with most tags
	Truncated    bool        `json:"truncated"`
	Shared       *NewsLayers `json:"shared,omitempty"` // nil when most images share nothing
}

// NewsPlace is a repository with one of its tags.
type NewsPlace struct {
	Repository string `json:"repository"` // "host/name"
	Tag        string `json:"tag"`
	Tags       int    `json:"tags"` // of the repository, that are affected
}

// NewsLayers are the lowest layers that images have in common.
type NewsLayers struct {
	Images int `json:"images"` // that have them
	Layers int `json:"layers"`
	// Top is the digest of the uppermost.
	Top       string `json:"top"`
	Size      int64  `json:"size"` // compressed bytes
	CreatedBy string `json:"created_by,omitempty"`
	// Base is a known image that consists of these layers, or of the lower ones of
	// them, as "host/name:tag"; empty when there is none.
	Base string `json:"base,omitempty"`
}

// WaitingNews is a group that no message holds yet.
type WaitingNews struct {
	Group      NewsGroup
	ScanID     int64 // 0 without
	BuildID    int64 // 0 without
	Events     int
	FirstEvent int64
	FirstAt    time.Time
	LastAt     time.Time
	Rows       string // what of it is stored, for the store alone
}

// NewsState says how far a notification is.
type NewsState string

// The states of a notification.
const (
	NewsQueued NewsState = "queued" // will be sent, or sent again
	NewsSent   NewsState = "sent"
	NewsFailed NewsState = "failed" // was given up
)

// ParseNewsState reads a state; the empty string stays empty. The error is of
// kind Invalid.
func ParseNewsState(s string) (NewsState, error) {
	switch state := NewsState(s); state {
	case "", NewsQueued, NewsSent, NewsFailed:
		return state, nil
	}
	return "", errs.New(errs.Invalid, "%.40q is not queued, sent or failed", s)
}

// NotificationFilter narrows the log; empty fields match all.
type NotificationFilter struct {
	Channel string
	Rule    string
	State   NewsState
}

// Notification is a message for one channel and how far it is.
type Notification struct {
	ID         int64      `json:"id"`
	MessageID  string     `json:"message_id"` // what receivers tell repetitions by
	Rule       string     `json:"rule"`
	Channel    string     `json:"channel"`
	Kind       NewsKind   `json:"kind"`
	Title      string     `json:"title"`
	State      NewsState  `json:"state"`
	Attempts   int        `json:"attempts"`             // since it was queued
	NextAt     *time.Time `json:"next_at,omitempty"`    // of the next attempt
	LastError  string     `json:"last_error,omitempty"` // of the last attempt, or why it was given up
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at,omitempty"`
}

// NotificationReport is a notification with all that was tried and what it says.
type NotificationReport struct {
	Notification
	Message json.RawMessage       `json:"message"`
	Tries   []NotificationAttempt `json:"tries"` // newest first, at most 50
}

// NotificationAttempt is one try to hand a message over.
type NotificationAttempt struct {
	At         time.Time `json:"at"`
	DurationMS int64     `json:"duration_ms"`
	Status     int       `json:"status,omitempty"` // HTTP's or SMTP's; left out without an answer
	Error      string    `json:"error,omitempty"`  // left out when it was delivered
	Answer     string    `json:"answer,omitempty"` // the first bytes
}

// NotificationTest is what came of a try of a channel.
type NotificationTest struct {
	Channel   string `json:"channel"`
	Type      string `json:"type"`
	MessageID string `json:"message_id"`
	Delivered bool   `json:"delivered"`
	NotificationAttempt
}

// OutgoingNews is a notification that is due, with the lease to send it under.
type OutgoingNews struct {
	ID        int64
	MessageID string
	Lease     string
	Attempt   int // 1 for the first since it was queued
	CreatedAt time.Time
	News      News
}

// NoNotification is the error for one that does not exist.
func NoNotification(id int64) error {
	return errs.New(errs.NotFound, "there is no notification %d", id)
}

// NotificationBacklog is what waits for a channel.
type NotificationBacklog struct {
	Waiting int
	Oldest  time.Duration // since the first of them was made
}
