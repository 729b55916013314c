package report

import (
	"slices"
	"sort"
)

// Counts are unique vulnerabilities per package: distinct (package type,
// package name, canonical vulnerability). What is ignored counts only in
// Ignored, which is nil where it is not counted: for repositories.
type Counts struct {
	Total          int  `json:"total"`
	Critical       int  `json:"critical"`
	High           int  `json:"high"`
	Medium         int  `json:"medium"`
	Low            int  `json:"low"`
	Negligible     int  `json:"negligible"`
	Unknown        int  `json:"unknown"`
	Fixable        int  `json:"fixable"`
	KnownExploited int  `json:"known_exploited"`
	Ignored        *int `json:"ignored"`
}

// Answer is what can be said of an image in one word.
type Answer string

// The answers. Clean and Findings are only given when every class of package in
// the image is covered by the active build.
const (
	Clean    Answer = "clean"
	Findings Answer = "findings"
	// Partial: judged, but some distro or ecosystem has no data, an image is
	// missing, or the catalogue cannot be whole.
	Partial Answer = "partial"
	// Unknown: judged, but the build has data for nothing in it.
	Unknown Answer = "unknown"
	// Pending: an answer is being made.
	Pending Answer = "pending"
	// None: there is no answer and none is coming; the state says why.
	None Answer = "none"
)

// Assessment is an answer with its counts and what they leave out. Counts are
// never shown without it.
type Assessment struct {
	Answer Answer `json:"answer"`
	// Complete is true when the counts leave nothing out.
	Complete bool `json:"complete"`
	// NoData lists what nothing can be said about, as "distro:centos:7" or
	// "ecosystem:npm" when the build has no data for it, or "version:npm" when
	// packages of the type have no version.
	NoData []string `json:"no_data"`
	// Counts is nil when nothing was judged.
	Counts *Counts `json:"counts"`
}

// Judgement is what is stored of one judged image.
type Judgement struct {
	Counts Counts
	NoData []string
	// Covered is true when the build has data for at least one class of package
	// in the image.
	Covered bool
	// Partial is why the catalogue cannot be whole; empty otherwise.
	Partial string
}

// Assess says what one image's state and judgement amount to. An image without
// a judgement, nil, is pending while its state may still change.
func Assess(state State, j *Judgement) Assessment {
	if j == nil {
		answer := None
		if !state.Final() {
			answer = Pending
		}
		return Assessment{Answer: answer, NoData: []string{}}
	}
	a := Assessment{Complete: len(j.NoData) == 0 && j.Partial == "", NoData: sorted(j.NoData), Counts: &j.Counts}
	switch {
	case a.Complete && j.Counts.Total > 0:
		a.Answer = Findings
	case a.Complete:
		a.Answer = Clean
	case j.Covered || j.Counts.Total > 0:
		a.Answer = Partial
	default:
		a.Answer = Unknown
	}
	return a
}

// AssessAll says what the images of an index, or of a repository, amount to
// together. union counts over all of them, nil when nothing was judged. It is
// complete only when every part is.
func AssessAll(parts []Assessment, union *Counts) Assessment {
	all := Assessment{Answer: None, NoData: []string{}, Counts: union, Complete: len(parts) > 0 && union != nil}
	has := map[Answer]bool{}
	for _, p := range parts {
		has[p.Answer] = true
		all.Complete = all.Complete && p.Complete
		all.NoData = append(all.NoData, p.NoData...)
	}
	all.NoData = sorted(all.NoData)
	switch {
	case has[Pending]:
		all.Answer = Pending
	case all.Complete && union.Total > 0:
		all.Answer = Findings
	case all.Complete:
		all.Answer = Clean
	case has[Clean], has[Findings], has[Partial], union != nil && union.Total > 0:
		all.Answer = Partial
	case has[Unknown]:
		all.Answer = Unknown
	}
	return all
}

// sorted returns the distinct strings in order, never nil.
func sorted(list []string) []string {
	out := append([]string{}, list...)
	sort.Strings(out)
	return slices.Compact(out)
}
